-- Who may decide about a call. About those that wait already any administrator may.
ALTER TABLE governance_approvals ADD COLUMN IF NOT EXISTS approvers TEXT[] NOT NULL DEFAULT '{}';
