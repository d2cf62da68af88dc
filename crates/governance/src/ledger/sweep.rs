//! Content that was kept for long enough.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::log::Ledger;
use super::retention::{Class, Retention};

/// Parts looked at in one statement, so that none takes long.
const SWEEP_BATCH: i64 = 500;

impl Ledger {
    /// Deletes content that was kept for long enough by `now`, and gives the number of actions it belonged to.
    pub async fn sweep(&self, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
        sweep(self.database.write(), &self.shared.retention, now).await
    }
}

/// Deletes content older than the retention setting of its class allows, oldest first; what classes that are kept for longer
/// leave behind is passed over. It goes by when it was kept: not every id of an action has its time.
async fn sweep(pool: &PgPool, retention: &Retention, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let before = |class| now - TimeDelta::days(i64::from(retention.days_of(class)));
    let [prompts, answers, tool_inputs, findings] = Class::ALL.map(before);
    let newest = Class::ALL.map(before).into_iter().max().unwrap_or_default();
    let mut after = (DateTime::UNIX_EPOCH, Uuid::nil());
    let mut swept = 0;
    loop {
        let batch = sqlx::query!(
            r#"
            WITH oldest AS (
                SELECT DISTINCT created_at, action_id
                FROM (
                    SELECT created_at, action_id
                    FROM ledger_content
                    WHERE (created_at, action_id) > ($1, $2) AND created_at < $3
                    ORDER BY created_at, action_id
                    LIMIT $4
                ) AS rows
            ), deleted AS (
                DELETE FROM ledger_content AS c USING oldest
                WHERE c.action_id = oldest.action_id
                  AND c.created_at = oldest.created_at
                  AND c.created_at < CASE
                      WHEN c.part = 'request' THEN $5::timestamptz
                      WHEN c.part = 'answer' THEN $6::timestamptz
                      WHEN c.part LIKE 'finding.%' THEN $7::timestamptz
                      ELSE $8::timestamptz
                  END
                RETURNING c.action_id
            ), last AS (
                SELECT created_at, action_id FROM oldest ORDER BY created_at DESC, action_id DESC LIMIT 1
            )
            SELECT
                (SELECT created_at FROM last) AS last_at,
                (SELECT action_id FROM last) AS last,
                (SELECT COUNT(DISTINCT action_id) FROM deleted) AS "swept!"
            "#,
            after.0,
            after.1,
            newest,
            SWEEP_BATCH,
            prompts,
            answers,
            findings,
            tool_inputs,
        )
        .fetch_one(pool)
        .await?;
        swept += batch.swept as u64;
        let (Some(at), Some(action)) = (batch.last_at, batch.last) else { return Ok(swept) };
        after = (at, action);
    }
}
