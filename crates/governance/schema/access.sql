-- What access rules speak about. An entity without a row is unknown, and nobody may use it.
CREATE TABLE IF NOT EXISTS access_control_entities (
    entity_type text NOT NULL,
    entity_id text NOT NULL CHECK (length(entity_id) BETWEEN 1 AND 256),
    -- Whether everybody may use it as long as it has no rules.
    default_included boolean NOT NULL DEFAULT FALSE,
    -- Who made the row: the id of a feature, `yaml`, or `api` for an edit by hand, which start-up leaves alone.
    source text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    PRIMARY KEY (entity_type, entity_id)
);

-- Who may use an entity, and who may not.
CREATE TABLE IF NOT EXISTS access_control_rules (
    id uuid PRIMARY KEY,
    entity_type text NOT NULL,
    entity_id text NOT NULL,
    -- `user`, `role`, or a dimension such as `department`.
    rule_type text NOT NULL CHECK (rule_type ~ '^[a-z][a-z0-9_]*$'),
    rule_value text NOT NULL CHECK (rule_value <> ''),
    access text NOT NULL CHECK (access IN ('allow', 'deny')),
    justification text,
    source text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    UNIQUE (entity_type, entity_id, rule_type, rule_value),
    FOREIGN KEY (entity_type, entity_id)
        REFERENCES access_control_entities (entity_type, entity_id) ON UPDATE CASCADE ON DELETE CASCADE
);

-- Groups of people. A department is one that is written down with the account; `Default` always exists and holds whoever has
-- no other.
CREATE TABLE IF NOT EXISTS access_groups (
    id uuid PRIMARY KEY,
    kind text NOT NULL CHECK (kind IN ('department', 'group')),
    name text NOT NULL UNIQUE CHECK (length(name) BETWEEN 1 AND 200),
    description text NOT NULL DEFAULT '',
    -- What it is a part of.
    parent_id uuid REFERENCES access_groups (id) ON DELETE SET NULL,
    source text NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL
);

-- Who is in which group. Accounts are kept when they are deleted, so what is said of one here harms nobody.
CREATE TABLE IF NOT EXISTS access_group_members (
    group_id uuid NOT NULL REFERENCES access_groups (id) ON DELETE CASCADE,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL,
    PRIMARY KEY (group_id, user_id)
);

CREATE INDEX IF NOT EXISTS access_group_members_by_user ON access_group_members (user_id);

-- Every replica decides from memory, so every change is announced, whoever makes it: `type:id` for each entity concerned,
-- or nothing when there are many.
CREATE OR REPLACE FUNCTION access_control_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'TRUNCATE' THEN
        PERFORM pg_notify('access_control', '');
        RETURN NULL;
    END IF;
    IF TG_OP = 'UPDATE' THEN
        PERFORM pg_notify('access_control', '')
        WHERE EXISTS (
            SELECT entity_type, entity_id FROM changed_from
            EXCEPT
            SELECT entity_type, entity_id FROM changed
        );
    END IF;
    IF (SELECT count(*) FROM (SELECT DISTINCT entity_type, entity_id FROM changed LIMIT 33) AS entities) > 32 THEN
        PERFORM pg_notify('access_control', '');
    ELSE
        PERFORM pg_notify('access_control', entities.entity_type || ':' || entities.entity_id)
        FROM (SELECT DISTINCT entity_type, entity_id FROM changed) AS entities;
    END IF;
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER access_control_entities_inserted
    AFTER INSERT ON access_control_entities
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION access_control_changed();
CREATE OR REPLACE TRIGGER access_control_entities_updated
    AFTER UPDATE ON access_control_entities
    REFERENCING OLD TABLE AS changed_from NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION access_control_changed();
CREATE OR REPLACE TRIGGER access_control_entities_deleted
    AFTER DELETE ON access_control_entities
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION access_control_changed();
CREATE OR REPLACE TRIGGER access_control_entities_truncated
    AFTER TRUNCATE ON access_control_entities
    FOR EACH STATEMENT EXECUTE FUNCTION access_control_changed();

CREATE OR REPLACE TRIGGER access_control_rules_inserted
    AFTER INSERT ON access_control_rules
    REFERENCING NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION access_control_changed();
CREATE OR REPLACE TRIGGER access_control_rules_updated
    AFTER UPDATE ON access_control_rules
    REFERENCING OLD TABLE AS changed_from NEW TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION access_control_changed();
CREATE OR REPLACE TRIGGER access_control_rules_deleted
    AFTER DELETE ON access_control_rules
    REFERENCING OLD TABLE AS changed
    FOR EACH STATEMENT EXECUTE FUNCTION access_control_changed();
CREATE OR REPLACE TRIGGER access_control_rules_truncated
    AFTER TRUNCATE ON access_control_rules
    FOR EACH STATEMENT EXECUTE FUNCTION access_control_changed();

-- Of groups there are few and of changes to them fewer: everything is read anew.
CREATE OR REPLACE FUNCTION access_groups_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('access_control', '');
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER access_groups_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access_groups
    FOR EACH STATEMENT EXECUTE FUNCTION access_groups_changed();
CREATE OR REPLACE TRIGGER access_group_members_changed
    AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON access_group_members
    FOR EACH STATEMENT EXECUTE FUNCTION access_groups_changed();
