-- What clients report of their own work, under the name of who sent it (`POST /v1/otel`). It is theirs and unverified: what
-- was asked of models is in the ledger. Written in batches; retention deletes by the time of arrival.

CREATE TABLE IF NOT EXISTS telemetry_spans (
    id             BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at    TIMESTAMPTZ NOT NULL,
    user_id        UUID        NOT NULL,
    session_id     TEXT,       -- the client's own
    trace_id       UUID        NOT NULL, -- 16 bytes like ours
    span_id        TEXT        NOT NULL,
    parent_span_id TEXT,
    name           TEXT        NOT NULL,
    kind           TEXT        NOT NULL,
    started_at     TIMESTAMPTZ NOT NULL,
    duration_us    BIGINT      NOT NULL,
    status         TEXT        NOT NULL, -- unset, ok, error
    status_message TEXT,
    service        TEXT,
    scope          TEXT,
    attributes     JSONB       NOT NULL,
    events         JSONB       NOT NULL,
    links          JSONB       NOT NULL,
    resource       JSONB       NOT NULL
);

-- An exporter that got no answer sends again. Nobody can take the place of somebody else's span.
CREATE UNIQUE INDEX IF NOT EXISTS telemetry_spans_once ON telemetry_spans (trace_id, span_id, user_id);

CREATE INDEX IF NOT EXISTS telemetry_spans_received ON telemetry_spans (received_at);

CREATE TABLE IF NOT EXISTS telemetry_logs (
    id              BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at     TIMESTAMPTZ NOT NULL,
    user_id         UUID        NOT NULL,
    session_id      TEXT,
    at              TIMESTAMPTZ NOT NULL,
    severity_number SMALLINT    NOT NULL,
    severity        TEXT,
    event           TEXT,
    body            TEXT,
    trace_id        UUID,
    span_id         TEXT,
    service         TEXT,
    scope           TEXT,
    attributes      JSONB       NOT NULL,
    resource        JSONB       NOT NULL
);

CREATE INDEX IF NOT EXISTS telemetry_logs_received ON telemetry_logs (received_at);

CREATE INDEX IF NOT EXISTS telemetry_logs_trace ON telemetry_logs (trace_id) WHERE trace_id IS NOT NULL;

-- One row for each data point.
CREATE TABLE IF NOT EXISTS telemetry_metrics (
    id           BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    received_at  TIMESTAMPTZ NOT NULL,
    user_id      UUID        NOT NULL,
    session_id   TEXT,
    at           TIMESTAMPTZ NOT NULL,
    since        TIMESTAMPTZ,
    name         TEXT        NOT NULL,
    unit         TEXT,
    kind         TEXT        NOT NULL, -- gauge, sum, histogram, exponential_histogram, summary
    temporality  TEXT,       -- delta, cumulative
    is_monotonic BOOLEAN,
    value        DOUBLE PRECISION,     -- of gauges and sums; of the others the sum of what was measured
    count        BIGINT,
    distribution JSONB,      -- bounds and counts, or quantiles
    service      TEXT,
    scope        TEXT,
    attributes   JSONB       NOT NULL,
    resource     JSONB       NOT NULL
);

CREATE INDEX IF NOT EXISTS telemetry_metrics_received ON telemetry_metrics (received_at);

CREATE INDEX IF NOT EXISTS telemetry_metrics_by_name ON telemetry_metrics (name, received_at);
