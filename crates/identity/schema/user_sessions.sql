-- A stretch of work by one user with one client. The text form of an id is `sess_<session_id>`.
CREATE TABLE IF NOT EXISTS user_sessions (
    session_id        UUID PRIMARY KEY,
    user_id           UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    started_at        TIMESTAMPTZ NOT NULL,
    last_activity_at  TIMESTAMPTZ NOT NULL,
    ended_at          TIMESTAMPTZ,
    expires_at        TIMESTAMPTZ NOT NULL,
    revoked_at        TIMESTAMPTZ,
    user_type         TEXT NOT NULL DEFAULT 'registered',
    client_id         TEXT,
    client_type       TEXT,
    -- The session id the client keeps for itself, e.g. of a coding assistant; correlation only. `sha256:…` if it looked
    -- like a credential.
    client_session_id TEXT,
    -- The API key the session was derived for or opened with.
    api_key_id        UUID,
    -- What a derived session follows from: a digest of key, client, and the client's session or the conversation. Of all
    -- sessions with the same one only the newest goes on; it begins when the one before had rested for some time.
    derived_from      BYTEA,
    session_source    TEXT NOT NULL DEFAULT 'unknown',
    request_count     BIGINT NOT NULL DEFAULT 0,
    input_tokens      BIGINT NOT NULL DEFAULT 0,
    output_tokens     BIGINT NOT NULL DEFAULT 0,
    cost_microdollars BIGINT NOT NULL DEFAULT 0,
    ip_address        TEXT,
    user_agent        TEXT,
    device            TEXT,
    country           TEXT,
    region            TEXT,
    city              TEXT,
    referrer          TEXT,
    utm_source        TEXT,
    utm_medium        TEXT,
    utm_campaign      TEXT,
    utm_term          TEXT,
    utm_content       TEXT,
    fingerprint_hash  TEXT,
    is_bot            BOOLEAN NOT NULL DEFAULT FALSE,
    is_ai_crawler     BOOLEAN NOT NULL DEFAULT FALSE,
    is_scanner        BOOLEAN NOT NULL DEFAULT FALSE,
    is_behavioral_bot BOOLEAN NOT NULL DEFAULT FALSE,
    CONSTRAINT user_sessions_user_type_is_known
        CHECK (user_type IN ('anon', 'registered')),
    CONSTRAINT user_sessions_source_is_known
        CHECK (session_source IN ('web', 'api', 'cli', 'oauth', 'mcp', 'bridge', 'unknown'))
)
-- Counters of a busy session change every few seconds; the free space keeps those updates on the same page.
WITH (fillfactor = 80);

CREATE INDEX IF NOT EXISTS user_sessions_by_user ON user_sessions (user_id, started_at);
CREATE INDEX IF NOT EXISTS user_sessions_by_expiry ON user_sessions (expires_at);
CREATE INDEX IF NOT EXISTS user_sessions_by_origin ON user_sessions (derived_from, started_at)
    WHERE derived_from IS NOT NULL;
