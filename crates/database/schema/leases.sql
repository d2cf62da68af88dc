-- What every limit has used, over all replicas: requests of callers, rate limits, sessions, quotas, budgets.
--
-- No index but the key, so that taking a lease rewrites none. Rows of short windows are committed without waiting for the
-- disk: a crash of PostgreSQL forgets their last moments, and those of no window of an hour or more.
CREATE TABLE IF NOT EXISTS leases (
    -- What is limited, e.g. `rate_limit.session`.
    name       text NOT NULL,
    -- Whose it is: a user's id, an API key's, an address as 128 bits.
    subject    uuid NOT NULL,
    -- A part of it, e.g. one session of a user; the nil UUID if it has none.
    part       uuid NOT NULL,
    -- What is counted: requests, tokens, microdollars, sessions.
    unit       text NOT NULL,
    -- Sliding limits: starts of slots in nanoseconds since 1970, ascending, and the units given out in each.
    slots      bigint[] NOT NULL,
    used       bigint[] NOT NULL,
    -- Refilling limits: when all units will be there again, in nanoseconds since 1970.
    full_at    bigint NOT NULL,
    -- What the latest statement was given, for its RETURNING clause.
    granted    bigint NOT NULL,
    -- When nothing in the row counts any more.
    expires_at timestamptz NOT NULL,
    PRIMARY KEY (name, subject, part, unit)
) WITH (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05);
