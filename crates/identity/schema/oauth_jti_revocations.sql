-- Tokens that must not be accepted although their signature is good. A row is kept until the token would have expired.
CREATE TABLE IF NOT EXISTS oauth_jti_revocations (
    jti        UUID PRIMARY KEY,
    user_id    UUID NOT NULL REFERENCES users (id) ON DELETE CASCADE,
    revoked_at TIMESTAMPTZ NOT NULL,
    expires_at TIMESTAMPTZ NOT NULL
);

CREATE INDEX IF NOT EXISTS oauth_jti_revocations_by_expiry ON oauth_jti_revocations (expires_at);
