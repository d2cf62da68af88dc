-- Answers that routes with a cache give once more. It is lost when PostgreSQL crashes, and not on its replicas: nothing
-- depends on it, and writing it costs little so.
CREATE UNLOGGED TABLE IF NOT EXISTS gateway_answers (
    key          BYTEA PRIMARY KEY, -- SHA-256 of who asks, which way, and all that would be sent
    route_id     TEXT NOT NULL,
    user_id      UUID,              -- who asked first, if it is an account
    provider     TEXT NOT NULL,
    model        TEXT NOT NULL,     -- by its name at the provider
    content_type TEXT,
    answer       BYTEA NOT NULL,    -- as the provider gave it
    bytes        BIGINT NOT NULL,
    stored_at    TIMESTAMPTZ NOT NULL,
    expires_at   TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS gateway_answers_by_expiry ON gateway_answers (expires_at);
