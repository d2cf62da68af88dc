//! What is done for the ledger now and then: content that was kept for long enough, actions of servers that died, segments
//! for the time to come, checkpoints; and how it stops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use systemprompt_extension::ledger::ChainHead;
use tokio::time::{MissedTickBehavior, interval, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::chains;
use super::checkpointing::take;
use super::expiry::SegmentError;
use super::log::Ledger;
use super::segments;

/// How often other servers are looked after.
const RECOVER_EVERY: Duration = Duration::from_secs(30);

/// How often expired content is deleted and segments are prepared.
const SWEEP_EVERY: Duration = Duration::from_mins(10);

/// How long the writer may take to leave once it was told to.
const LEAVES_WITHIN: Duration = Duration::from_secs(5);

impl Ledger {
    /// Keeps the ledger in order until `shutdown`: closes what dead servers left open, deletes expired content, prepares
    /// and drops segments, takes checkpoints.
    pub async fn maintain(self: Arc<Self>, shutdown: CancellationToken) {
        let work = async {
            let mut recovery = interval(RECOVER_EVERY);
            let mut sweep = interval(SWEEP_EVERY);
            let every = Duration::from_secs(u64::from(self.shared.settings.checkpoint_secs));
            let mut checkpoint = interval_at(tokio::time::Instant::now() + every, every);
            let mut remembered = Vec::new();
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
                        // Where nothing was written there is nothing to remember.
                        match self.has_grown(&remembered).await {
                            Ok(false) => Ok(()),
                            Ok(true) => {
                                if let Some(heads) = self.checkpoint("regular").await {
                                    remembered = heads;
                                }
                                Ok(())
                            }
                            Err(error) => Err(error.into()),
                        }
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
    /// Gives the ends.
    pub async fn checkpoint(&self, reason: &'static str) -> Option<Vec<ChainHead>> {
        let checkpoints = self.checkpoints.as_ref()?;
        let taken = take(self, checkpoints, reason).await;
        taken.inspect_err(|error| tracing::warn!(%error, "a checkpoint of the ledger could not be taken")).ok()
    }

    async fn has_grown(&self, remembered: &[ChainHead]) -> Result<bool, sqlx::Error> {
        let mut connection = self.database.write().acquire().await?;
        Ok(chains::heads(&mut connection).await? != remembered)
    }
}

pub(super) async fn keep_house(ledger: &Ledger) -> Result<(), SegmentError> {
    // What was erased or has expired is in the home no longer than until now.
    if let Some(journal) = ledger.shared.queue.journal()
        && let Err(error) = journal.turn()
    {
        tracing::warn!(%error, "a file of the ledger's journal could not be synced when it was closed");
    }
    segments::prepare(ledger.database.write(), ledger.shared.ambient.now()).await?;
    let pool = ledger.database.write();
    // Everything is deleted by the time that was judged, not by what the clock says by then.
    let Some(now) = ledger.shared.retention_clock.now(pool, ledger.shared.ambient.now()).await? else { return Ok(()) };
    ledger.sweep(now).await?;
    ledger.drop_expired(now).await?;
    Ok(())
}
