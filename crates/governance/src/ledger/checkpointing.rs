//! Writing down where the chains end, and which entries retention drops: as an entry, and in the home.

use systemprompt_extension::ledger::ChainHead;

use super::chains;
use super::checkpoint::{CheckpointError, Checkpoints};
use super::entry::{self, DROPPED};
use super::log::Ledger;

/// Appends an entry with the ends of all chains, and remembers the ends after it.
pub(super) async fn take(
    ledger: &Ledger,
    checkpoints: &Checkpoints,
    reason: &'static str,
) -> Result<(), CheckpointError> {
    let mut connection = ledger.database.write().acquire().await?;
    let heads = chains::heads(&mut connection).await?;
    let now = ledger.ambient().now();
    // No entry names the key before there is a line of it, so who finds none knows that it is gone.
    checkpoints.write(now, Vec::new(), heads.clone(), true).await?;
    let entry = entry::checkpoint(&heads, reason, Some(&checkpoints.key_id()), now);
    ledger.append(entry).await.map_err(|_| CheckpointError::Stopped)?;
    let heads = chains::heads(&mut connection).await?;
    checkpoints.write(now, Vec::new(), heads, false).await
}

/// Writes down which entries retention is about to drop: for each chain, the last of them.
pub(super) async fn cut(
    ledger: &Ledger,
    checkpoints: &Checkpoints,
    dropped: Vec<ChainHead>,
) -> Result<(), CheckpointError> {
    let now = ledger.ambient().now();
    let entry = entry::checkpoint(&dropped, DROPPED, Some(&checkpoints.key_id()), now);
    ledger.append(entry).await.map_err(|_| CheckpointError::Stopped)?;
    checkpoints.write(now, dropped, Vec::new(), false).await
}
