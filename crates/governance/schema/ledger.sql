-- The ledger: an append-only log of everything that was decided and done, and the hash chains that make later changes
-- visible. It is the only table with a promise; what people query is derived from it (projections).
-- One writer per server process appends, many entries in one statement (src/ledger/write.rs).
-- There are no foreign keys, no checks and few indexes on purpose: every one would be paid for on every request.

-- One entry. `body` is canonical JSON (RFC 8785), exactly the bytes that were hashed;
-- `hash` = SHA-256(hash of the entry before ‖ seq ‖ at in microseconds ‖ SHA-256(body)).
-- `kind` and `action_id` repeat what the body says, for indexes and partitions only.
-- Segments are months of `at`, which never decreases within a chain, so that dropping a segment drops the beginning of
-- chains and nothing else. They are made ahead of time (src/ledger/segments.rs); `ledger_unsorted` catches what has none.
CREATE TABLE IF NOT EXISTS ledger (
    chain_id  UUID NOT NULL,
    seq       BIGINT NOT NULL,
    at        TIMESTAMPTZ NOT NULL,
    kind      TEXT NOT NULL, -- decided, attempted, ended, abandoned, checkpoint
    action_id UUID NOT NULL,
    body      TEXT NOT NULL,
    hash      BYTEA NOT NULL,
    PRIMARY KEY (chain_id, seq, at)
) PARTITION BY RANGE (at);

CREATE INDEX IF NOT EXISTS ledger_by_action ON ledger (action_id);

CREATE TABLE IF NOT EXISTS ledger_unsorted PARTITION OF ledger DEFAULT;

-- Who writes: one chain for each installation, continued by every run of it. A server moves the end of its own chain by
-- compare-and-swap, so replicas never wait for each other. `oldest_open` is a lower bound of the entries of actions that
-- have not ended; closing what a dead server left behind begins to read there. `dropped_*` is the end of what retention
-- has dropped: where verification begins.
CREATE TABLE IF NOT EXISTS ledger_chains (
    chain_id     UUID PRIMARY KEY,
    name         TEXT NOT NULL,
    seq          BIGINT NOT NULL,
    hash         BYTEA NOT NULL,
    at           TIMESTAMPTZ NOT NULL,
    oldest_open  BIGINT NOT NULL,
    started_at   TIMESTAMPTZ NOT NULL,
    heartbeat_at TIMESTAMPTZ NOT NULL,
    ended_at     TIMESTAMPTZ,
    generation   BIGINT NOT NULL DEFAULT 0,
    dropped_seq  BIGINT NOT NULL DEFAULT 0,
    dropped_hash BYTEA
) WITH (fillfactor = 10);

-- What was said, for as long as the retention setting keeps it: `request`, `answer`, and parts a feature names. `body` is
-- the whole of it; when it was too long, or only excerpts are kept, `head` and `tail` are its ends. Its digest stays
-- behind in the log, so it can expire, be redacted and be erased.
CREATE TABLE IF NOT EXISTS ledger_content (
    action_id  UUID NOT NULL,
    part       TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    bytes      BIGINT NOT NULL,
    body       TEXT,
    head       TEXT,
    tail       TEXT,
    PRIMARY KEY (action_id, part)
);

-- What is deleted is found by its time.
CREATE INDEX IF NOT EXISTS ledger_content_by_time ON ledger_content (created_at, action_id);

-- Content that was erased before its time. Who did it is an action of the log, whose end has the digest of its rows here
-- (src/ledger/erasure.rs).
CREATE TABLE IF NOT EXISTS ledger_erasures (
    action_id UUID NOT NULL,
    part      TEXT NOT NULL,
    erased_at TIMESTAMPTZ NOT NULL,
    change_id UUID,
    PRIMARY KEY (action_id, part)
);

CREATE INDEX IF NOT EXISTS ledger_erasures_by_change ON ledger_erasures (change_id, action_id, part);

-- The time by which content was deleted last (src/ledger/retention_clock.rs).
CREATE TABLE IF NOT EXISTS ledger_retention_clock (
    id         BOOLEAN PRIMARY KEY,
    trusted_at TIMESTAMPTZ NOT NULL
);

-- How far each projection has applied each chain. Moved in the transaction that writes its rows.
CREATE TABLE IF NOT EXISTS projection_cursors (
    projection TEXT NOT NULL,
    chain_id   UUID NOT NULL,
    seq        BIGINT NOT NULL,
    PRIMARY KEY (projection, chain_id)
) WITH (fillfactor = 20);

-- Projections that stand still, and why. Kept by whoever applies, for everybody who asks; goes away when it goes on.
CREATE TABLE IF NOT EXISTS projection_failures (
    projection TEXT PRIMARY KEY,
    message    TEXT NOT NULL,
    since      TIMESTAMPTZ NOT NULL
);

-- Entries stay as they are. Retention, which drops whole old segments, says so for its own transaction:
--     SET LOCAL systemprompt.ledger_retention = 'on';
CREATE OR REPLACE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'retention removes old segments under systemprompt.ledger_retention = on';
END
$$;

CREATE OR REPLACE TRIGGER ledger_unchanged
    BEFORE UPDATE ON ledger FOR EACH ROW
    EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER ledger_kept
    BEFORE DELETE ON ledger FOR EACH ROW
    WHEN (current_setting('systemprompt.ledger_retention', TRUE) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER ledger_not_emptied
    BEFORE TRUNCATE ON ledger FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER ledger_chains_kept
    BEFORE DELETE ON ledger_chains FOR EACH ROW
    EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER ledger_chains_not_emptied
    BEFORE TRUNCATE ON ledger_chains FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
