-- Personal access tokens, `sp-live-<12 hex>.<52 hex>`. Only the visible prefix and the digest of the whole are kept.
CREATE TABLE IF NOT EXISTS user_api_keys (
    id           UUID PRIMARY KEY,
    user_id      UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    name         TEXT NOT NULL,
    key_prefix   TEXT NOT NULL,
    key_sha256   BYTEA NOT NULL,
    created_at   TIMESTAMPTZ NOT NULL,
    last_used_at TIMESTAMPTZ,
    expires_at   TIMESTAMPTZ,
    revoked_at   TIMESTAMPTZ,
    CONSTRAINT user_api_keys_digest_is_whole
        CHECK (octet_length(key_sha256) = 32)
);

CREATE UNIQUE INDEX IF NOT EXISTS user_api_keys_prefix_is_unique ON user_api_keys (key_prefix);
CREATE INDEX IF NOT EXISTS user_api_keys_by_user ON user_api_keys (user_id, created_at);
