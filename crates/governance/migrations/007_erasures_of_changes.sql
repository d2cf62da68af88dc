-- By which change. Earlier erasures do not say.
ALTER TABLE ledger_erasures ADD COLUMN IF NOT EXISTS change_id UUID;
