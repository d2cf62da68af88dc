//! Content that was kept for long enough.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;

use super::log::Ledger;
use super::retention::Retention;
use super::text::first_id_at;

/// Actions swept in one statement, so that none takes long.
const SWEEP_BATCH: i64 = 500;

impl Ledger {
    /// Deletes content that was kept for long enough, and gives the number of actions it belonged to.
    pub async fn sweep(&self) -> Result<u64, sqlx::Error> {
        sweep(self.database.write(), &self.shared.retention, self.shared.ambient.now()).await
    }
}

/// Deletes the content of actions older than the retention setting allows. The ids of actions contain their time, so the
/// oldest are the first of the primary key.
async fn sweep(pool: &PgPool, retention: &Retention, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let expired = first_id_at(now - TimeDelta::days(i64::from(retention.days)));
    let mut swept = 0;
    loop {
        let batch = sqlx::query_scalar!(
            r#"
            WITH expired AS (
                SELECT DISTINCT action_id
                FROM (
                    SELECT action_id
                    FROM ledger_content
                    WHERE action_id < $1
                    ORDER BY action_id, part
                    LIMIT $2
                ) AS oldest
            ), deleted AS (
                DELETE FROM ledger_content USING expired WHERE ledger_content.action_id = expired.action_id
            )
            SELECT COUNT(*) AS "count!" FROM expired
            "#,
            expired,
            SWEEP_BATCH,
        )
        .fetch_one(pool)
        .await?;
        swept += batch as u64;
        if batch == 0 {
            return Ok(swept);
        }
    }
}
