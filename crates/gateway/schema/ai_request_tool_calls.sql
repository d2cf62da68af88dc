-- Projection of the ledger: the tools a model asked for. What they were to be called with follows the retention setting and
-- is in `ledger_content`, part `tool_call.<sequence>`.
CREATE TABLE IF NOT EXISTS ai_request_tool_calls (
    request_id   UUID NOT NULL,
    sequence     INTEGER NOT NULL,
    tool_call_id TEXT,
    name         TEXT,
    created_at   TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (request_id, sequence)
);
