//! Why nothing is reserved.

use std::time::Duration;

/// A limit has not as much left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the limit is exhausted")]
pub struct Exhausted {
    /// When it will have.
    pub retry_after: Duration,
    /// When all of it is there again.
    pub reset: Duration,
}

/// PostgreSQL could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// It did not answer in time.
    #[error("PostgreSQL does not answer in time")]
    Slow,
    /// It answered with an error, or could not be reached.
    #[error("PostgreSQL cannot be asked about a limit")]
    Database(#[from] sqlx::Error),
}

/// Why nothing was reserved.
#[derive(Debug, thiserror::Error)]
pub enum ReserveError {
    /// Not enough is left.
    #[error(transparent)]
    Exhausted(#[from] Exhausted),
    /// Nobody knows.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
}
