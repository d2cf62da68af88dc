-- Calls that wait for a second person, or did.
CREATE TABLE IF NOT EXISTS governance_approvals (
    id           UUID PRIMARY KEY,
    digest       BYTEA NOT NULL,       -- of who asks, in which session, for which tool, with which input
    state        TEXT NOT NULL CHECK (state IN ('pending', 'approved', 'denied', 'used', 'expired')),
    tool_name    TEXT NOT NULL,
    rule         TEXT NOT NULL,        -- why it waits
    user_id      UUID,                 -- who asked; absent for somebody without an account
    user_name    TEXT NOT NULL,
    session_id   UUID,
    action_id    UUID NOT NULL,        -- what was refused because of it; its record has the details
    requested_at TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL,
    decided_by   TEXT,
    decided_at   TIMESTAMPTZ,
    note         TEXT,                 -- why it was decided so
    proposed_at  TIMESTAMPTZ,          -- when a model's answer with the call was given under an approval for one call
    approvers    TEXT[] NOT NULL DEFAULT '{}' -- roles whose holders may decide; none: administrators
);

-- One call waits once.
CREATE UNIQUE INDEX IF NOT EXISTS governance_approvals_open
    ON governance_approvals (digest) WHERE state IN ('pending', 'approved', 'denied');
CREATE INDEX IF NOT EXISTS governance_approvals_by_time ON governance_approvals (requested_at);

-- Whoever shows what waits is told when that changes.
CREATE OR REPLACE FUNCTION governance_approval_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('governance_approvals', NEW.id::text || ' ' || NEW.state);
    RETURN NULL;
END
$$;

CREATE OR REPLACE TRIGGER governance_approvals_changed
    AFTER INSERT OR UPDATE OF state ON governance_approvals FOR EACH ROW
    EXECUTE FUNCTION governance_approval_changed();
