-- What each user has used of the rate limits in each session and in all of them, in slots of a tenth of the window.
--
-- UNLOGGED: the rows live for a window or two and are written often; without a log a write costs no flush to disk. A crash
-- of PostgreSQL forgets the running windows, a clean restart does not.
CREATE UNLOGGED TABLE IF NOT EXISTS governance_rate_windows (
    -- The nil UUID stands for all sessions of the user together.
    session_id uuid NOT NULL,
    user_id uuid NOT NULL,
    -- Starts of the slots in milliseconds since 1970, ascending, and the permits given out in each.
    slots bigint[] NOT NULL,
    used bigint[] NOT NULL,
    -- What the latest statement was given, for its RETURNING clause.
    granted bigint NOT NULL,
    -- When nothing in the row counts any more.
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (session_id, user_id)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);

CREATE INDEX IF NOT EXISTS governance_rate_windows_expires_at ON governance_rate_windows (expires_at);
