-- An alert had one place to go to, its webhook, and said so itself. Now each place has a row of its own. What still waits goes
-- on waiting with its attempts, and what was taken or given up is still known.
INSERT INTO ai_quota_alert_deliveries (
    message_id, channel, recipient, attempts, next_attempt_at, delivered_at, last_error
)
SELECT message_id, 'webhook', alert, attempts, next_attempt_at, delivered_at, last_error
FROM ai_quota_alerts
WHERE next_attempt_at IS NOT NULL OR delivered_at IS NOT NULL OR last_error IS NOT NULL
ON CONFLICT DO NOTHING;

-- A server of the earlier version that still runs cannot write alerts any more. It logs that, and a server of this version that
-- counts in the same window writes them.
ALTER TABLE ai_quota_alerts
    DROP COLUMN attempts,
    DROP COLUMN next_attempt_at,
    DROP COLUMN delivered_at,
    DROP COLUMN last_error;
