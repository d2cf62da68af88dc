-- Projection of the ledger: one row for each event a coding client told, whether it asked for a decision or reported what
-- happened. What was said in it is in `ledger_content`, for as long as that is kept.
CREATE TABLE IF NOT EXISTS hook_events (
    id                UUID PRIMARY KEY, -- the action
    event             TEXT NOT NULL,    -- PreToolUse, PostToolUse, …, as the client wrote it
    user_id           UUID,
    session_id        UUID,
    trace_id          UUID NOT NULL,
    client_session_id TEXT,             -- the client's own id of the session
    plugin_id         TEXT,
    agent_id          TEXT,             -- as the client says; nothing is decided by it
    agent_type        TEXT,
    tool_name         TEXT,
    tool_use_id       TEXT,
    permission_mode   TEXT,
    cwd               TEXT,
    detail            TEXT,             -- the source, reason, trigger or type the event has
    decision          TEXT NOT NULL,    -- allow, deny, warn
    policy            TEXT NOT NULL,
    reason            TEXT,
    created_at        TIMESTAMPTZ NOT NULL,
    api_key_id        UUID
);

CREATE INDEX IF NOT EXISTS hook_events_by_session ON hook_events (session_id, created_at);
CREATE INDEX IF NOT EXISTS hook_events_by_time ON hook_events (created_at);
