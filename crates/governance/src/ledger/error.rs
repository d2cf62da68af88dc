//! Why the ledger does not start, or does not write.

use super::checkpoint::CheckpointError;

/// Why the ledger could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database could not be reached, or the ledger's tables are not there.
    #[error("the ledger cannot be written")]
    Connect(#[source] sqlx::Error),
    /// The actions that a dead server left open could not be closed.
    #[error("closing the actions that a dead server left open")]
    Recovery(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The checkpoints in the home could not be read or written.
    #[error("the ledger's checkpoints")]
    Checkpoints(#[source] CheckpointError),
}

/// An entry could not be written; what it speaks of must not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unavailable;
