/// The identity tables could not answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// PostgreSQL refused, timed out or could not be reached.
    #[error("the identity tables could not be read or written")]
    Database(#[from] sqlx::Error),
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

/// The name of the constraint a statement ran into, if that is why it failed.
pub(crate) fn violated_constraint(error: &sqlx::Error) -> Option<&str> {
    error.as_database_error().and_then(sqlx::error::DatabaseError::constraint)
}
