//! What a managed cluster needs while a server uses it: to be started again when it died, and a log that does not grow for
//! ever.

use std::time::Duration;

use systemprompt_database::cluster::{ClusterError, RunningCluster};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How often the cluster is looked at. A look is one small file and one question to the kernel.
const EVERY: Duration = Duration::from_secs(2);
/// Every how many looks the length of its log is checked.
const LOG_EVERY: u64 = 30;

/// The care of a cluster, until [`Upkeep::end`].
pub(crate) struct Upkeep {
    stop: CancellationToken,
    task: JoinHandle<RunningCluster>,
}

impl Upkeep {
    /// Takes care of a cluster from now on.
    pub(crate) fn of(cluster: RunningCluster) -> Self {
        let stop = CancellationToken::new();
        let tracker = TaskTracker::new();
        Self { task: tracker.spawn(look_after(cluster, stop.clone())), stop }
    }

    /// Ends the care and gives the cluster back. A start that is under way is given up.
    pub(crate) async fn end(self) -> RunningCluster {
        self.stop.cancel();
        self.task.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
    }
}

async fn look_after(mut cluster: RunningCluster, stop: CancellationToken) -> RunningCluster {
    let mut looks = tokio::time::interval(EVERY);
    looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for look in 0_u64.. {
        tokio::select! {
            () = stop.cancelled() => break,
            _ = looks.tick() => {}
        }
        let care = async {
            if let Err(error) = revive(&mut cluster).await {
                tracing::error!(%error, "PostgreSQL has died and does not start; trying again");
            }
        };
        tokio::select! {
            () = stop.cancelled() => break,
            () = care => {}
        }
        if look % LOG_EVERY == 0
            && let Err(error) = cluster.bound_log()
        {
            tracing::warn!(%error, "the log of PostgreSQL cannot be shortened");
        }
    }
    cluster
}

async fn revive(cluster: &mut RunningCluster) -> Result<(), ClusterError> {
    if cluster.status()?.pid.is_some() {
        return Ok(());
    }
    tracing::warn!(pid = cluster.pid, "PostgreSQL has died; starting it again");
    cluster.revive().await?;
    tracing::info!(pid = cluster.pid, "PostgreSQL is back");
    Ok(())
}
