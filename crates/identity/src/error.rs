//! When the identity tables cannot answer.

use std::time::Duration;

/// How long PostgreSQL may take to answer while a request waits for it.
const PATIENCE: Duration = Duration::from_secs(2);

/// The identity tables could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// PostgreSQL refused, timed out or could not be reached.
    #[error("the identity tables could not be read or written")]
    Database(#[from] sqlx::Error),
    /// PostgreSQL did not answer in time.
    #[error("the identity tables did not answer within {} seconds", PATIENCE.as_secs())]
    Slow,
    /// A row holds a value this version does not know.
    #[error("row {id} of `{table}` makes no sense: unexpected value in `{column}`")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
        /// The row's primary key.
        id: String,
    },
}

/// Does `work` for a request, which does not wait for longer than two seconds: a database that hangs must not gather all
/// requests there are.
pub(crate) async fn patiently<T, E: From<StoreError>>(work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    tokio::time::timeout(PATIENCE, work).await.unwrap_or_else(|_| Err(StoreError::Slow.into()))
}

/// The name of the constraint a statement ran into, if that is why it failed.
pub(crate) fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::constraint)
}
