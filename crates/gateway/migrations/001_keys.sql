-- With which key. Earlier entries of the ledger do not say.
ALTER TABLE ai_requests ADD COLUMN IF NOT EXISTS api_key_id UUID;
