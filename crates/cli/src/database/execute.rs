//! `infra db execute`: statements that change something.

use std::time::Instant;

use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use systemprompt_database::Database;
use systemprompt_database::sql::{self, Kind, Statement};

use super::InspectError;

/// Whether what is executed stays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// It stays.
    Changes,
    /// It is rolled back. Sequences keep the numbers they gave out.
    Nothing,
}

/// What was executed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct ExecuteResult {
    /// Rows inserted, updated, deleted or merged; rows that were only read do not count.
    pub(crate) rows_affected: u64,
    /// Whether it was rolled back.
    pub(crate) dry_run: bool,
    /// How long it took, in milliseconds.
    pub(crate) execution_time_ms: u64,
}

/// Executes one statement. It runs outside a transaction block, so that `VACUUM` and `CREATE INDEX CONCURRENTLY` work, except
/// when it is to be rolled back.
pub(crate) async fn execute(database: &Database, text: &str, keep: Keep) -> Result<ExecuteResult, InspectError> {
    let statements = sql::split(text)?;
    let [statement] = statements.as_slice() else {
        return Err(InspectError::NotOneStatement { count: statements.len() });
    };
    if statement.kind() == Kind::TransactionControl {
        return Err(InspectError::TransactionControl {
            word: statement.first_word().unwrap_or_default().to_uppercase(),
        });
    }
    let doing = InspectError::while_doing("connecting to execute");
    let mut connection = database.dedicated("execute").await.map_err(&doing)?;
    let started = Instant::now();
    let rows_affected = match keep {
        Keep::Changes => run(&mut connection, statement).await?,
        Keep::Nothing => {
            let mut transaction = connection.begin().await.map_err(&doing)?;
            let affected = run(&mut transaction, statement).await?;
            transaction.rollback().await.map_err(InspectError::Statement)?;
            affected
        }
    };
    let execution_time_ms = started.elapsed().as_millis() as u64;
    // The session ends either way.
    let _ = connection.close().await;
    Ok(ExecuteResult { rows_affected, dry_run: keep == Keep::Nothing, execution_time_ms })
}

async fn run(connection: &mut PgConnection, statement: &Statement<'_>) -> Result<u64, InspectError> {
    let done =
        connection.execute(sqlx::raw_sql(AssertSqlSafe(statement.text))).await.map_err(InspectError::Statement)?;
    Ok(if statement.kind() == Kind::Query { 0 } else { done.rows_affected() })
}
