-- With which key. Earlier entries of the ledger do not say.
ALTER TABLE hook_events ADD COLUMN IF NOT EXISTS api_key_id UUID;
