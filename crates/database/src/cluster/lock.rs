//! Who may change the cluster, and who uses it.
//!
//! Two files are locked. Whoever creates, starts or stops the cluster holds `change.lock` alone while it does. Whoever uses
//! the cluster holds `users.lock` together with all other users for as long as it does. Stopping needs both, so nobody stops
//! a cluster that somebody else uses; taking `users.lock` needs `change.lock`, so nobody begins to use one that is being
//! stopped. The operating system releases the locks of a process that dies.

use std::fs::{File, OpenOptions, TryLockError};
use std::path::Path;
use std::time::{Duration, Instant};

use super::error::{ClusterError, files};

/// How often a taken lock is tried again.
const RETRY: Duration = Duration::from_millis(20);

/// Opens the file of a lock; each open file is a holder of its own.
pub(super) fn file(path: &Path) -> Result<File, ClusterError> {
    super::place::open_private(path, OpenOptions::new().read(true).write(true).create(true))
}

/// Takes the lock alone, waiting up to `limit` for the current holder.
pub(super) async fn exclusive(path: &Path, file: File, limit: Duration) -> Result<File, ClusterError> {
    let begun = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(source)) => return Err(files("lock", path)(source)),
            Err(TryLockError::WouldBlock) if begun.elapsed() >= limit => {
                return Err(ClusterError::Busy { lock: path.to_owned(), waited: begun.elapsed() });
            }
            Err(TryLockError::WouldBlock) => tokio::time::sleep(RETRY).await,
        }
    }
}

/// Takes the lock together with other users. Does not wait long: it is held alone only under `change.lock`.
pub(super) fn shared(path: &Path, file: File) -> Result<File, ClusterError> {
    file.lock_shared().map_err(files("lock", path))?;
    Ok(file)
}

/// Takes the lock alone when nobody has it.
pub(super) fn if_unused(path: &Path, file: File) -> Result<Option<File>, ClusterError> {
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(source)) => Err(files("lock", path)(source)),
    }
}
