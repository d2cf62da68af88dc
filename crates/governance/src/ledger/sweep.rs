//! Content that was kept for long enough.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use uuid::Uuid;

use super::log::Ledger;
use super::retention::{Class, Retention};
use super::text::first_id_at;

/// Actions swept in one statement, so that none takes long.
const SWEEP_BATCH: i64 = 500;

impl Ledger {
    /// Deletes content that was kept for long enough, and gives the number of actions it belonged to.
    pub async fn sweep(&self) -> Result<u64, sqlx::Error> {
        sweep(self.database.write(), &self.shared.retention, self.shared.ambient.now()).await
    }
}

/// Deletes the content of actions older than the retention setting of its class allows. The ids of actions contain their
/// time, so the oldest are the first of the primary key; what classes that are kept for longer leave behind is passed over.
async fn sweep(pool: &PgPool, retention: &Retention, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let before = |class| first_id_at(now - TimeDelta::days(i64::from(retention.days_of(class))));
    let [prompts, answers, tool_inputs, findings] = Class::ALL.map(before);
    let newest = Class::ALL.map(before).into_iter().max().unwrap_or_default();
    let mut after = Uuid::nil();
    let mut swept = 0;
    loop {
        let batch = sqlx::query!(
            r#"
            WITH oldest AS (
                SELECT DISTINCT action_id
                FROM (
                    SELECT action_id
                    FROM ledger_content
                    WHERE action_id > $1 AND action_id < $2
                    ORDER BY action_id, part
                    LIMIT $3
                ) AS rows
            ), deleted AS (
                DELETE FROM ledger_content AS c USING oldest
                WHERE c.action_id = oldest.action_id
                  AND c.action_id < CASE
                      WHEN c.part = 'request' THEN $4::uuid
                      WHEN c.part = 'answer' THEN $5::uuid
                      WHEN c.part LIKE 'finding.%' THEN $6::uuid
                      ELSE $7::uuid
                  END
                RETURNING c.action_id
            )
            SELECT
                (SELECT action_id FROM oldest ORDER BY action_id DESC LIMIT 1) AS last,
                (SELECT COUNT(DISTINCT action_id) FROM deleted) AS "swept!"
            "#,
            after,
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
        let Some(last) = batch.last else { return Ok(swept) };
        after = last;
    }
}
