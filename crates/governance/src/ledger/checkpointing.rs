//! Writing down where the chains end, and which entries retention drops: as an entry, and in the home.

use systemprompt_extension::ledger::ChainHead;

use super::chains;
use super::checkpoint::{CheckpointError, Checkpoints};
use super::entry::{self, DROPPED};
use super::log::Ledger;

/// Appends an entry with the ends of all chains, remembers the ends after it, and gives them.
pub(super) async fn take(
    ledger: &Ledger,
    checkpoints: &Checkpoints,
    reason: &'static str,
) -> Result<Vec<ChainHead>, CheckpointError> {
    let mut connection = ledger.database.write().acquire().await?;
    let heads = chains::heads(&mut connection).await?;
    let now = ledger.ambient().now();
    // No entry names the key before there is a line of it, so who finds none knows that it is gone.
    let signed = checkpoints.write(now, Vec::new(), heads.clone(), true).await?;
    let entry = entry::checkpoint(&heads, reason, Some(&signed.signature), now);
    ledger.append(entry).await.map_err(|_| CheckpointError::Stopped)?;
    let heads = chains::heads(&mut connection).await?;
    checkpoints.write(now, Vec::new(), heads.clone(), false).await?;
    Ok(heads)
}

/// Writes down which entries retention is about to drop: for each chain, the last of them.
pub(super) async fn cut(
    ledger: &Ledger,
    checkpoints: &Checkpoints,
    dropped: Vec<ChainHead>,
) -> Result<(), CheckpointError> {
    let now = ledger.ambient().now();
    let signed = {
        let (checkpoints, dropped) = (checkpoints.clone(), dropped.clone());
        let signing = tokio::task::spawn_blocking(move || checkpoints.sign(now, dropped, Vec::new()));
        signing.await.map_err(|_| CheckpointError::Stopped)??
    };
    let entry = entry::checkpoint(&dropped, DROPPED, Some(&signed.signature), now);
    ledger.append(entry).await.map_err(|_| CheckpointError::Stopped)?;
    checkpoints.write(now, dropped, Vec::new(), false).await.map(drop)
}
