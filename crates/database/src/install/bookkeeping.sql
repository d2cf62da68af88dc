-- Which migrations have run, one row each, written in the migration's own transaction.
CREATE TABLE IF NOT EXISTS public.extension_migrations (
    -- '<extension>_<NNN>'
    id text PRIMARY KEY,
    extension_id text NOT NULL,
    version integer NOT NULL,
    name text NOT NULL,
    -- 'sha256:<hex>' of the text that ran
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    duration_ms bigint NOT NULL DEFAULT 0,
    -- the version of the binary that ran it
    applied_by text NOT NULL DEFAULT '',
    -- recorded without running: the schema of a fresh database already contains it
    stamped boolean NOT NULL DEFAULT false,
    -- older binaries may run against it
    compatible boolean NOT NULL DEFAULT false,
    UNIQUE (extension_id, version)
);

-- How far a migration outside a transaction got.
CREATE TABLE IF NOT EXISTS public.extension_migration_progress (
    extension_id text NOT NULL,
    version integer NOT NULL,
    checksum text NOT NULL,
    statements_done integer NOT NULL,
    PRIMARY KEY (extension_id, version)
);

-- Which text of each module's declarative schema was applied last.
CREATE TABLE IF NOT EXISTS public.extension_schemas (
    extension_id text PRIMARY KEY,
    digest text NOT NULL,
    -- a first installation has begun and its history is not written yet
    fresh boolean NOT NULL DEFAULT false,
    applied_at timestamptz NOT NULL DEFAULT now(),
    applied_by text NOT NULL DEFAULT ''
);

-- For modules: keeps `updated_at` current.
CREATE OR REPLACE FUNCTION public.update_timestamp_trigger() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at = now();
    RETURN NEW;
END;
$$;
