//! The ledger's housekeeping: content that was kept for long enough, actions of servers that died, segments for the time to
//! come, checkpoints.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use tokio::time::{Instant, MissedTickBehavior, interval, interval_at};
use tokio_util::sync::CancellationToken;

use super::text::first_id_at;
use super::{Ledger, Retention, SegmentError, segments};

/// How often other servers are looked after.
const RECOVER_EVERY: Duration = Duration::from_secs(30);

/// How often expired content is deleted and segments are prepared.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// How often it is remembered outside of the database where the chains end.
const CHECKPOINT_EVERY: Duration = Duration::from_hours(1);

/// Actions swept in one statement, so that none takes long.
const SWEEP_BATCH: i64 = 500;

pub(super) async fn maintain(ledger: &Arc<Ledger>, shutdown: CancellationToken) {
    let work = async {
        let mut recovery = interval(RECOVER_EVERY);
        let mut sweep = interval(SWEEP_EVERY);
        let mut checkpoint = interval_at(Instant::now() + CHECKPOINT_EVERY, CHECKPOINT_EVERY);
        for timer in [&mut recovery, &mut sweep, &mut checkpoint] {
            timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
        }
        // Recovery ran at start.
        recovery.tick().await;
        loop {
            let result: Result<(), Box<dyn std::error::Error + Send + Sync>> = tokio::select! {
                _ = recovery.tick() => ledger.recover().await.map(drop).map_err(Into::into),
                _ = sweep.tick() => keep_house(ledger).await.map_err(Into::into),
                _ = checkpoint.tick() => {
                    ledger.checkpoint("hourly").await;
                    Ok(())
                }
            };
            if let Err(error) = result {
                tracing::warn!(%error, "the ledger's housekeeping failed and will be tried again");
            }
        }
    };
    shutdown.run_until_cancelled(work).await;
}

async fn keep_house(ledger: &Ledger) -> Result<(), SegmentError> {
    segments::prepare(ledger.database.write(), ledger.shared.ambient.now()).await?;
    ledger.sweep().await?;
    ledger.drop_expired().await?;
    Ok(())
}

/// Deletes the content of actions older than the retention setting allows. The ids of actions contain their time, so the
/// oldest are the first of the primary key.
pub(super) async fn sweep(pool: &PgPool, retention: &Retention, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
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
