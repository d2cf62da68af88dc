//! The ledger's housekeeping: content that was kept for long enough, requests of instances that died.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::queue::first_id_at;
use super::{Ledger, Retention};

/// How often other instances are looked after.
const RECOVER_EVERY: Duration = Duration::from_secs(30);

/// How often expired content is deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// Requests swept in one statement, so that none takes long.
const SWEEP_BATCH: i64 = 500;

pub(super) async fn maintain(ledger: &Arc<Ledger>, shutdown: CancellationToken) {
    let work = async {
        let mut recovery = interval(RECOVER_EVERY);
        let mut sweep = interval(SWEEP_EVERY);
        recovery.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Recovery ran at start.
        recovery.tick().await;
        loop {
            let result: Result<u64, Box<dyn std::error::Error + Send + Sync>> = tokio::select! {
                _ = recovery.tick() => ledger.recover().await.map_err(Into::into),
                _ = sweep.tick() => ledger.sweep().await.map_err(Into::into),
            };
            if let Err(error) = result {
                tracing::warn!(%error, "the ledger's housekeeping failed and will be tried again");
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

/// How long it is remembered that an instance ran and ended.
const INSTANCES_KEPT: TimeDelta = TimeDelta::days(30);

/// Deletes the content of requests older than the retention setting allows. The ids of requests contain their time, so
/// the oldest are the first of the primary key.
pub(super) async fn sweep(pool: &PgPool, retention: &Retention, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    sqlx::query!("DELETE FROM ledger_instances WHERE ended_at < $1", now - INSTANCES_KEPT).execute(pool).await?;
    let expired = first_id_at(now - TimeDelta::days(i64::from(retention.days)));
    let mut swept = 0;
    loop {
        let batch = sqlx::query_scalar!(
            r#"
            WITH expired AS (
                DELETE FROM ai_request_payloads
                WHERE request_id IN (
                    SELECT request_id
                    FROM ai_request_payloads
                    WHERE request_id < $1
                    ORDER BY request_id
                    LIMIT $2
                )
                RETURNING request_id
            ), tool_calls AS (
                UPDATE ai_request_tool_calls AS t
                SET input = NULL, result = NULL
                FROM expired
                WHERE t.request_id = expired.request_id
            )
            SELECT COUNT(*) AS "count!" FROM expired
            "#,
            expired,
            SWEEP_BATCH,
        )
        .fetch_one(pool)
        .await?;
        swept += batch as u64;
        if batch < SWEEP_BATCH {
            return Ok(swept);
        }
    }
}
