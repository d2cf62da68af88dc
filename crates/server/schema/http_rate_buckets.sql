-- Token buckets that replicas share (rate_limits.backend: postgres). Not logged: after a crash everybody starts with a full
-- bucket, which is what a missing row means. No index on full_at, so that taking tokens rewrites no index.
CREATE UNLOGGED TABLE IF NOT EXISTS http_rate_buckets (
    rate_group TEXT   NOT NULL,
    tier       TEXT   NOT NULL,
    -- A user's id, or the address of a caller without an account as 128 bits.
    caller     UUID   NOT NULL,
    -- When the bucket will be full, in nanoseconds since 1970.
    full_at    BIGINT NOT NULL,
    -- What the latest statement was given, for its RETURNING clause.
    granted    BIGINT NOT NULL,
    PRIMARY KEY (rate_group, tier, caller)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
