-- A model may ask for a call before somebody makes it. Earlier only those who make them asked.
ALTER TABLE governance_approvals ADD COLUMN IF NOT EXISTS proposed_at TIMESTAMPTZ;
