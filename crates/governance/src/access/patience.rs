//! How long a decision waits for the database.

use std::time::Duration;

use super::untold::Untold;

/// How long the database may take to answer a decision.
const PATIENCE: Duration = Duration::from_secs(3);

/// The rules cannot be read or written at present; whoever wanted to do something must not.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// PostgreSQL did not answer in time.
    #[error("PostgreSQL does not answer in time")]
    Slow,
    /// It depends on what an extension knows of the account and does not say.
    #[error(transparent)]
    Untold(#[from] Untold),
    /// It answered with an error, or could not be reached.
    #[error("PostgreSQL: {0}")]
    Database(#[from] sqlx::Error),
}

/// What the query gives, unless it takes too long.
pub(super) async fn in_time<T>(query: impl Future<Output = sqlx::Result<T>>) -> Result<T, Unavailable> {
    Ok(tokio::time::timeout(PATIENCE, query).await.map_err(|_| Unavailable::Slow)??)
}
