-- The ledger: what was asked, what was decided, what came of it, and the chain that makes later changes visible.
-- One writer per server process writes all of it, many records in one statement (src/ledger/write.rs).
-- There are no foreign keys, no checks and few indexes on purpose: every one would be paid for on every request.

-- One governed request. The first group of columns is written with the decision and never changes; the second group is
-- written once, by the outcome. No outcome column is indexed and pages keep room for it, so the update touches no index.
CREATE TABLE IF NOT EXISTS ai_requests (
    id                      UUID PRIMARY KEY,
    request_id              UUID GENERATED ALWAYS AS (id) STORED,
    decision_id             UUID NOT NULL,
    instance_id             UUID NOT NULL,
    user_id                 UUID NOT NULL,
    session_id              UUID NOT NULL,
    trace_id                UUID NOT NULL,
    context_id              UUID,
    task_id                 UUID,
    mcp_execution_id        UUID,
    gateway_conversation_id TEXT,
    actor_kind              TEXT NOT NULL,
    actor_id                TEXT NOT NULL,
    client                  TEXT,
    client_trace_id         TEXT,
    dialect                 TEXT NOT NULL,
    provider                TEXT,
    upstream_model          TEXT,
    requested_model         TEXT,
    route_match             TEXT,
    system_prompt_override  TEXT,
    temperature             DOUBLE PRECISION,
    top_p                   DOUBLE PRECISION,
    max_tokens              BIGINT,
    stop_sequences          JSONB,
    tools_offered           INTEGER NOT NULL,
    is_streaming            BOOLEAN NOT NULL,
    synthetic               BOOLEAN NOT NULL DEFAULT FALSE,
    content_bytes           BIGINT NOT NULL,
    prepared_sha256         BYTEA NOT NULL,
    created_at              TIMESTAMPTZ NOT NULL,

    status                  TEXT NOT NULL, -- pending, completed, failed, abandoned, rejected
    error_message           TEXT,
    served_provider         TEXT,
    model                   TEXT,
    provider_request_id     TEXT,
    http_status             SMALLINT,
    stop_reason             TEXT,
    input_tokens            BIGINT,
    output_tokens           BIGINT,
    cache_read_tokens       BIGINT,
    cache_creation_tokens   BIGINT,
    tokens_used             BIGINT GENERATED ALWAYS AS (input_tokens + output_tokens) STORED,
    cost_microdollars       BIGINT,
    cache_hit               BOOLEAN,
    latency_ms              BIGINT,
    ttft_ms                 BIGINT,
    response_bytes          BIGINT,
    response_sha256         BYTEA,
    updated_at              TIMESTAMPTZ NOT NULL,
    completed_at            TIMESTAMPTZ
) WITH (fillfactor = 50);

CREATE INDEX IF NOT EXISTS ai_requests_by_trace ON ai_requests (trace_id);

-- One decision of the Gate, with the whole chain of rules that were looked at.
CREATE TABLE IF NOT EXISTS governance_decisions (
    id              UUID PRIMARY KEY,
    request_id      UUID NOT NULL,
    user_id         UUID NOT NULL,
    session_id      UUID NOT NULL,
    trace_id        UUID NOT NULL,
    context_id      UUID,
    task_id         UUID,
    entity_type     TEXT NOT NULL,
    entity_id       TEXT NOT NULL,
    tool_name       TEXT,
    agent_id        TEXT,
    agent_scope     TEXT,
    plugin_id       TEXT,
    decision        TEXT NOT NULL, -- allow, deny, warn
    policy          TEXT NOT NULL,
    reason          TEXT,
    evaluated_rules JSONB NOT NULL,
    policy_version  TEXT NOT NULL,
    actor_kind      TEXT NOT NULL,
    actor_id        TEXT NOT NULL,
    act_chain       JSONB,
    created_at      TIMESTAMPTZ NOT NULL
);

-- What was said, for as long as the retention setting keeps it. `*_body` is the whole of it; when it was too long, or
-- only excerpts are kept, `*_head` and `*_tail` are its ends. Digests stay behind in `ai_requests`.
CREATE TABLE IF NOT EXISTS ai_request_payloads (
    request_id         UUID PRIMARY KEY,
    created_at         TIMESTAMPTZ NOT NULL,
    request_bytes      BIGINT NOT NULL,
    request_truncated  BOOLEAN NOT NULL,
    request_body       TEXT,
    request_head       TEXT,
    request_tail       TEXT,
    response_bytes     BIGINT,
    response_truncated BOOLEAN NOT NULL,
    response_body      TEXT,
    response_head      TEXT,
    response_tail      TEXT
);

-- The tools a model asked for. `input` follows the retention setting, the name stays.
CREATE TABLE IF NOT EXISTS ai_request_tool_calls (
    request_id   UUID NOT NULL,
    sequence     INTEGER NOT NULL,
    tool_call_id TEXT NOT NULL,
    name         TEXT NOT NULL,
    input        TEXT,
    result       TEXT,
    created_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (request_id, sequence)
);

-- The chain. `entry_sha256` covers the immutable part of a request and its decision (kind `decision`), of its outcome
-- (`outcome`), or the fact that it was found open after its server died (`abandoned`). Signing fills the last columns.
CREATE TABLE IF NOT EXISTS audit_chain (
    seq          BIGINT PRIMARY KEY,
    at           TIMESTAMPTZ NOT NULL,
    kind         TEXT NOT NULL, -- decision, outcome, abandoned
    ref_id       UUID NOT NULL,
    entry_sha256 BYTEA NOT NULL,
    prev_hash    BYTEA NOT NULL,
    chain_hash   BYTEA NOT NULL,
    key_id       TEXT,
    signature    BYTEA
);

-- The last link. Writers of all replicas advance it by compare-and-swap, which is what keeps the chain one line.
CREATE TABLE IF NOT EXISTS audit_chain_head (
    id         SMALLINT PRIMARY KEY CHECK (id = 1),
    seq        BIGINT NOT NULL,
    chain_hash BYTEA NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 10);

-- Who writes. An open request belongs to the instance that admitted it; `oldest_open` is a lower bound of the ids of its
-- open requests, so closing what a dead instance left behind reads a short stretch of the primary key.
CREATE TABLE IF NOT EXISTS ledger_instances (
    instance_id  UUID PRIMARY KEY,
    name         TEXT NOT NULL,
    started_at   TIMESTAMPTZ NOT NULL,
    heartbeat_at TIMESTAMPTZ NOT NULL,
    oldest_open  UUID NOT NULL,
    ended_at     TIMESTAMPTZ
) WITH (fillfactor = 50);

-- Finished records stay as they are. Retention, which removes whole old segments, says so for its own transaction:
--     SET LOCAL systemprompt.ledger_retention = 'on';
-- The conditions stand in the triggers and not in the function, so an ordinary outcome never calls it.
CREATE OR REPLACE FUNCTION ledger_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger is append-only: % on % is refused', TG_OP, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation',
              HINT = 'retention removes old segments under systemprompt.ledger_retention = on';
END
$$;

-- An abandoned request may still get its outcome: the server that was thought dead may only have been slow.
CREATE OR REPLACE TRIGGER ai_requests_finished
    BEFORE UPDATE ON ai_requests FOR EACH ROW
    WHEN (OLD.status NOT IN ('pending', 'abandoned'))
    EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER ai_requests_kept
    BEFORE DELETE ON ai_requests FOR EACH ROW
    WHEN (current_setting('systemprompt.ledger_retention', TRUE) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER governance_decisions_unchanged
    BEFORE UPDATE ON governance_decisions FOR EACH ROW
    EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER governance_decisions_kept
    BEFORE DELETE ON governance_decisions FOR EACH ROW
    WHEN (current_setting('systemprompt.ledger_retention', TRUE) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER audit_chain_unchanged
    BEFORE UPDATE ON audit_chain FOR EACH ROW
    EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER audit_chain_kept
    BEFORE DELETE ON audit_chain FOR EACH ROW
    WHEN (current_setting('systemprompt.ledger_retention', TRUE) IS DISTINCT FROM 'on')
    EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER ai_requests_not_emptied
    BEFORE TRUNCATE ON ai_requests FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER governance_decisions_not_emptied
    BEFORE TRUNCATE ON governance_decisions FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();

CREATE OR REPLACE TRIGGER audit_chain_not_emptied
    BEFORE TRUNCATE ON audit_chain FOR EACH STATEMENT EXECUTE FUNCTION ledger_is_append_only();
