-- What the server said while it worked, for `infra logs view|search|stream`. Written in batches; retention deletes by time.
CREATE TABLE IF NOT EXISTS logs (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          TIMESTAMPTZ NOT NULL,
    level       TEXT        NOT NULL,
    target      TEXT        NOT NULL,
    message     TEXT        NOT NULL,
    fields      JSONB       NOT NULL DEFAULT '{}',
    instance_id UUID        NOT NULL,
    trace_id    UUID,
    request_id  UUID,
    user_id     UUID,
    session_id  TEXT,
    context_id  TEXT,
    task_id     TEXT,
    client_id   TEXT
);

CREATE INDEX IF NOT EXISTS logs_at ON logs (at);

CREATE INDEX IF NOT EXISTS logs_trace_id ON logs (trace_id) WHERE trace_id IS NOT NULL;
