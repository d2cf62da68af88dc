-- Everyone and everything that acts has a row here; every audited row of the installation names one.
CREATE TABLE IF NOT EXISTS users (
    id                  UUID PRIMARY KEY,
    name                TEXT NOT NULL,
    email               TEXT NOT NULL,
    full_name           TEXT,
    display_name        TEXT,
    status              TEXT NOT NULL DEFAULT 'active',
    email_verified      BOOLEAN NOT NULL DEFAULT FALSE,
    roles               TEXT[] NOT NULL DEFAULT '{user}',
    attributes          JSONB NOT NULL DEFAULT '{}',
    is_bot              BOOLEAN NOT NULL DEFAULT FALSE,
    is_scanner          BOOLEAN NOT NULL DEFAULT FALSE,
    avatar_url          TEXT,
    share_token_version INTEGER NOT NULL DEFAULT 0,
    created_at          TIMESTAMPTZ NOT NULL,
    updated_at          TIMESTAMPTZ NOT NULL,
    last_login_at       TIMESTAMPTZ,
    CONSTRAINT users_status_is_known
        CHECK (status IN ('active', 'inactive', 'suspended', 'pending', 'deleted', 'temporary')),
    CONSTRAINT users_email_is_normal
        CHECK (email = lower(btrim(email)))
);

-- A deleted user keeps the row, because the ledger refers to it, but gives the name and the address back.
CREATE UNIQUE INDEX IF NOT EXISTS users_name_is_unique ON users (lower(name)) WHERE status <> 'deleted';
CREATE UNIQUE INDEX IF NOT EXISTS users_email_is_unique ON users (email) WHERE status <> 'deleted';
CREATE INDEX IF NOT EXISTS users_by_age ON users (created_at, id);
CREATE INDEX IF NOT EXISTS users_by_role ON users USING gin (roles);
