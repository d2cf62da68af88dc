-- Projection of the ledger: one row for each decision of the Gate, with the whole chain of rules that were looked at.
CREATE TABLE IF NOT EXISTS governance_decisions (
    id              UUID PRIMARY KEY,
    action_id       UUID NOT NULL,
    effect          TEXT NOT NULL,
    user_id         UUID,
    session_id      UUID,
    trace_id        UUID NOT NULL,
    context_id      UUID,
    task_id         UUID,
    entity_type     TEXT NOT NULL,
    entity_id       TEXT NOT NULL,
    tool_name       TEXT NOT NULL,
    decision        TEXT NOT NULL, -- allow, deny, warn
    policy          TEXT NOT NULL,
    reason          TEXT,
    evaluated_rules JSONB NOT NULL,
    policy_version  TEXT NOT NULL,
    actor_kind      TEXT NOT NULL,
    actor_id        TEXT NOT NULL,
    act_chain       JSONB,
    created_at      TIMESTAMPTZ NOT NULL,
    agent_id        TEXT,          -- as the client says; nothing is decided by it
    agent_scope     TEXT,          -- what the caller's credential allows
    plugin_id       TEXT,
    api_key_id      UUID
);

CREATE INDEX IF NOT EXISTS governance_decisions_by_action ON governance_decisions (action_id);

-- What was objected to is looked for most and is least: the index costs nothing where nothing was.
CREATE INDEX IF NOT EXISTS governance_decisions_objections ON governance_decisions (policy, id) WHERE decision <> 'allow';
