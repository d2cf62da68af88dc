-- Notes could not be pinned before 0.1. A fresh database has the column from the schema and only records this step.
ALTER TABLE notes ADD COLUMN IF NOT EXISTS pinned BOOLEAN NOT NULL DEFAULT false;
