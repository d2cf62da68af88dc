-- Departments had a table of their own. They are groups now, with the same ids.
INSERT INTO access_groups (id, kind, name, description, source, created_at, updated_at)
SELECT id, 'department', name, description, 'yaml', created_at, updated_at
FROM departments
ON CONFLICT DO NOTHING;

DROP TABLE departments;
