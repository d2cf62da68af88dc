-- Projection of the ledger: one row for each governed model request. The first group of columns comes from the decision,
-- the second from the end.
CREATE TABLE IF NOT EXISTS ai_requests (
    id                      UUID PRIMARY KEY,
    request_id              UUID GENERATED ALWAYS AS (id) STORED,
    decision_id             UUID NOT NULL,
    instance_id             UUID NOT NULL,
    user_id                 UUID,
    session_id              UUID,
    trace_id                UUID NOT NULL,
    context_id              UUID,
    task_id                 UUID,
    mcp_execution_id        UUID,
    gateway_conversation_id TEXT,
    actor_kind              TEXT NOT NULL,
    actor_id                TEXT NOT NULL,
    client                  TEXT,
    client_agent_id         TEXT,
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
    losses                  JSONB,         -- of a translated request: [{feature, field, treatment}]
    tools_offered           INTEGER NOT NULL,
    is_streaming            BOOLEAN NOT NULL,
    synthetic               BOOLEAN NOT NULL DEFAULT FALSE,
    content_bytes           BIGINT NOT NULL,
    prepared_sha256         BYTEA NOT NULL,
    created_at              TIMESTAMPTZ NOT NULL,

    status                  TEXT NOT NULL, -- pending, completed, failed, abandoned, rejected
    error_message           TEXT,
    attempts                INTEGER NOT NULL DEFAULT 1,
    served_provider         TEXT,
    model                   TEXT,
    provider_request_id     TEXT,
    http_status             SMALLINT,
    stop_reason             TEXT,
    input_tokens            BIGINT,
    output_tokens           BIGINT,
    cache_read_tokens       BIGINT,
    cache_creation_tokens   BIGINT,
    cache_creation_1h_tokens BIGINT,       -- of cache_creation_tokens
    reasoning_tokens        BIGINT,        -- of output_tokens, where the provider tells
    web_searches            BIGINT,
    service_tier            TEXT,
    usage_source            TEXT,          -- provider, estimated, bounded, none
    answer_partial          BOOLEAN,       -- something of the answer could not be read
    tokens_used             BIGINT GENERATED ALWAYS AS (input_tokens + output_tokens) STORED,
    cost_microdollars       BIGINT,
    cost_source             TEXT,          -- provider, estimated, unpriced, none
    price_version           TEXT,          -- the version of the price table
    cache_hit               BOOLEAN,
    latency_ms              BIGINT,
    ttft_ms                 BIGINT,
    response_bytes          BIGINT,
    response_sha256         BYTEA,
    updated_at              TIMESTAMPTZ NOT NULL,
    completed_at            TIMESTAMPTZ,
    api_key_id              UUID
) WITH (fillfactor = 70);

CREATE INDEX IF NOT EXISTS ai_requests_by_trace ON ai_requests (trace_id);

-- Each index is paid for with every request, so there are only those that questions about one of many need. Time needs none:
-- ids contain it. The columns never change, so that an end is written without touching them.
CREATE INDEX IF NOT EXISTS ai_requests_by_user ON ai_requests (user_id, id);
CREATE INDEX IF NOT EXISTS ai_requests_by_session ON ai_requests (session_id, id);
CREATE INDEX IF NOT EXISTS ai_requests_by_key ON ai_requests (api_key_id, id);

-- The tools a model asked for. What each was to be called with is content: `ledger_content`, part `tool_call.<sequence>`.
CREATE TABLE IF NOT EXISTS ai_request_tool_calls (
    request_id   UUID NOT NULL,
    sequence     INTEGER NOT NULL,
    tool_call_id TEXT NOT NULL,
    name         TEXT NOT NULL,
    result       TEXT,
    created_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (request_id, sequence)
);

-- What safety scanners found in a request and in its answer. What stands around it, with everything sensitive masked, is
-- content: `ledger_content`, part `finding.<sequence>`.
CREATE TABLE IF NOT EXISTS ai_safety_findings (
    request_id UUID NOT NULL,
    sequence   INTEGER NOT NULL,
    phase      TEXT NOT NULL, -- request, request_history, response
    severity   TEXT NOT NULL, -- low, medium, high
    category   TEXT NOT NULL,
    scanner    TEXT NOT NULL,
    blocked    BOOLEAN NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (request_id, sequence)
);
