-- Who decides about an event that was sent to several servers at once, for as long as it is not in the table of decisions.
-- Not logged: after a crash of PostgreSQL nobody decides any more, and what was decided is found there.
CREATE UNLOGGED TABLE IF NOT EXISTS hook_claims (
    id         UUID PRIMARY KEY, -- the action
    server     UUID NOT NULL,
    claimed_at TIMESTAMPTZ NOT NULL
);
