-- Who acts for the caller, and through which plugin. Earlier decisions were of effects that say nothing of it.
ALTER TABLE governance_decisions ADD COLUMN IF NOT EXISTS agent_id TEXT;
ALTER TABLE governance_decisions ADD COLUMN IF NOT EXISTS agent_scope TEXT;
ALTER TABLE governance_decisions ADD COLUMN IF NOT EXISTS plugin_id TEXT;
