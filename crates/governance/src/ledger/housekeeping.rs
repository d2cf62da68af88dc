//! What is done for the ledger now and then: content that was kept for long enough, actions of servers that died, segments
//! for the time to come, checkpoints; and how it stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::checkpointing::take;
use super::expiry::SegmentError;
use super::log::Ledger;
use super::segments;

/// How often other servers are looked after.
const RECOVER_EVERY: Duration = Duration::from_secs(30);

/// How often expired content is deleted and segments are prepared.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// How often it is remembered outside of the database where the chains end.
const CHECKPOINT_EVERY: Duration = Duration::from_hours(1);

/// How long the writer may take to leave once it was told to.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);

impl Ledger {
    /// Keeps the ledger in order until `shutdown`: closes what dead servers left open, deletes expired content, prepares
    /// and drops segments, takes a checkpoint every hour.
    pub async fn maintain(self: Arc<Self>, shutdown: CancellationToken) {
        let work = async {
            let mut recovery = interval(RECOVER_EVERY);
            let mut sweep = interval(SWEEP_EVERY);
            let mut checkpoint = interval_at(tokio::time::Instant::now() + CHECKPOINT_EVERY, CHECKPOINT_EVERY);
            for timer in [&mut recovery, &mut sweep, &mut checkpoint] {
                timer.set_missed_tick_behavior(MissedTickBehavior::Delay);
            }
            // Recovery ran at start.
            recovery.tick().await;
            loop {
                let result: Result<(), Box<dyn std::error::Error + Send + Sync>> = tokio::select! {
                    _ = recovery.tick() => self.recover().await.map(drop).map_err(Into::into),
                    _ = sweep.tick() => keep_house(&self).await.map_err(Into::into),
                    _ = checkpoint.tick() => {
                        self.checkpoint("hourly").await;
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

    /// Admits nothing any more, waits until everything is written and a last checkpoint is taken, for `limit` at most.
    /// Gives whether everything was written.
    pub async fn drain(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        self.shared.queue.close();
        // It is written after everything that waits.
        if timeout(limit / 2, self.checkpoint("shutdown")).await.is_err() {
            tracing::warn!("the ledger could not take a checkpoint before it stopped");
        }
        self.shared.queue.finish();
        let drained = timeout(deadline.saturating_duration_since(Instant::now()), self.ended.cancelled()).await.is_ok();
        self.abort.cancel();
        if timeout(LEAVES_WITHIN, self.ended.cancelled()).await.is_err() {
            tracing::warn!("the ledger's writer did not leave in time");
        }
        drained
    }

    /// Remembers where all chains end: in an entry, in the home and in the log output.
    pub async fn checkpoint(&self, reason: &'static str) {
        let Some(checkpoints) = &self.checkpoints else { return };
        if let Err(error) = take(self, checkpoints, reason).await {
            tracing::warn!(%error, "a checkpoint of the ledger could not be taken");
        }
    }
}

async fn keep_house(ledger: &Ledger) -> Result<(), SegmentError> {
    segments::prepare(ledger.database.write(), ledger.shared.ambient.now()).await?;
    let pool = ledger.database.write();
    if ledger.shared.retention_clock.now(pool, ledger.shared.ambient.now()).await?.is_none() {
        return Ok(());
    }
    ledger.sweep().await?;
    ledger.drop_expired().await?;
    Ok(())
}
