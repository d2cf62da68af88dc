-- An alert had one place to go to, its webhook, and said so itself. Now each place has a row of its own. What still waits goes
-- on waiting with its attempts, and what was taken or given up is still known.
INSERT INTO ai_quota_alert_deliveries (
    message_id, channel, recipient, attempts, next_attempt_at, delivered_at, last_error
)
SELECT message_id, 'webhook', alert, attempts, next_attempt_at, delivered_at, last_error
FROM ai_quota_alerts
WHERE next_attempt_at IS NOT NULL OR delivered_at IS NOT NULL OR last_error IS NOT NULL
ON CONFLICT DO NOTHING;

-- A server of the previous version that still runs sends nothing of this any more. It goes on writing alerts of its own into
-- these columns and sends them itself, to webhooks only.
UPDATE ai_quota_alerts SET next_attempt_at = NULL WHERE next_attempt_at IS NOT NULL;
