-- Projection of the ledger: one row for each change to the installation itself, by whom, allowed or not.
CREATE TABLE IF NOT EXISTS governance_changes (
    id            UUID PRIMARY KEY, -- the action
    operation     TEXT NOT NULL,    -- user.create, api_key.revoke, …
    about_kind    TEXT NOT NULL,
    about_id      TEXT NOT NULL,
    user_id       UUID,
    actor_kind    TEXT NOT NULL,
    actor_id      TEXT NOT NULL,
    trace_id      UUID NOT NULL,
    decision      TEXT NOT NULL,    -- allow, deny, warn
    policy        TEXT NOT NULL,
    status        TEXT NOT NULL,    -- pending, completed, failed, abandoned, rejected
    reason        TEXT,
    before_sha256 TEXT,
    after_sha256  TEXT,
    created_at    TIMESTAMPTZ NOT NULL,
    completed_at  TIMESTAMPTZ,
    session_id    UUID,
    api_key_id    UUID
);
