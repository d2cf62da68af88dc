-- With which key, and in which session. Earlier entries do not say the key; what they say of sessions comes with a rebuild.
ALTER TABLE governance_decisions ADD COLUMN IF NOT EXISTS api_key_id UUID;
ALTER TABLE governance_changes ADD COLUMN IF NOT EXISTS session_id UUID;
ALTER TABLE governance_changes ADD COLUMN IF NOT EXISTS api_key_id UUID;
