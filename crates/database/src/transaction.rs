//! Units of work: all of it is stored or none of it, and again when the database asks for it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Connection as _, Postgres, Transaction};
use systemprompt_model::Ambient;

use crate::error::{RepositoryError, sqlstate};

/// How a transaction sees others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Each statement sees what was committed before it.
    #[default]
    ReadCommitted,
    /// All statements see what was committed before the first.
    RepeatableRead,
    /// As if no other transaction ran at the same time; may have to be run again.
    Serializable,
}

/// What kind of transaction to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TransactionOptions {
    /// How it sees others.
    pub isolation: Isolation,
    /// The server refuses writes.
    pub read_only: bool,
    /// A serializable read-only transaction waits for a moment in which it cannot fail.
    pub deferrable: bool,
}

impl TransactionOptions {
    fn begin_statement(self) -> &'static str {
        match (self.isolation, self.read_only, self.deferrable) {
            (Isolation::ReadCommitted, false, _) => "BEGIN ISOLATION LEVEL READ COMMITTED",
            (Isolation::ReadCommitted, true, _) => "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY",
            (Isolation::RepeatableRead, false, _) => "BEGIN ISOLATION LEVEL REPEATABLE READ",
            (Isolation::RepeatableRead, true, _) => "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
            (Isolation::Serializable, false, _) => "BEGIN ISOLATION LEVEL SERIALIZABLE",
            (Isolation::Serializable, true, false) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY",
            (Isolation::Serializable, true, true) => "BEGIN ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE",
        }
    }
}

/// Errors that know whether the transaction they ended may succeed when it is run again.
pub trait Retryable {
    /// True for serialization failures and deadlocks only.
    fn is_retryable(&self) -> bool;
}

impl Retryable for sqlx::Error {
    fn is_retryable(&self) -> bool {
        sqlstate(self).is_some_and(|code| matches!(&*code, "40001" | "40P01"))
    }
}

impl Retryable for RepositoryError {
    fn is_retryable(&self) -> bool {
        Self::is_retryable(self)
    }
}

/// The longest waits before the first and before every later attempt; the real wait is anywhere below.
const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_millis(640);

/// Runs `work` in a transaction and commits it. An error, a panic or a dropped future rolls back.
///
/// ```no_run
/// # async fn example(pool: &sqlx::PgPool) -> Result<(), sqlx::Error> {
/// use systemprompt_database::transaction::with_transaction;
///
/// with_transaction(pool, |tx| {
///     Box::pin(async move {
///         sqlx::query("UPDATE accounts SET credits = credits - 1").execute(&mut *tx).await?;
///         sqlx::query("UPDATE totals SET spent = spent + 1").execute(&mut *tx).await?;
///         Ok::<_, sqlx::Error>(())
///     })
/// })
/// .await
/// # }
/// ```
pub async fn with_transaction<T, E, F>(pool: &PgPool, work: F) -> Result<T, E>
where
    E: From<sqlx::Error>,
    F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, E>>,
{
    with_transaction_options(pool, TransactionOptions::default(), work).await
}

/// [`with_transaction`] whose errors are the driver's.
pub async fn with_transaction_raw<T, F>(pool: &PgPool, work: F) -> Result<T, sqlx::Error>
where
    F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
{
    with_transaction(pool, work).await
}

/// [`with_transaction`] with a chosen kind of transaction.
pub async fn with_transaction_options<T, E, F>(pool: &PgPool, options: TransactionOptions, work: F) -> Result<T, E>
where
    E: From<sqlx::Error>,
    F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, E>>,
{
    let mut transaction = begin(pool, options).await?;
    let outcome = work(&mut transaction).await?;
    transaction.commit().await?;
    Ok(outcome)
}

/// Runs `work` again, at most `max_retries` times, when the database reports a serialization failure or a deadlock.
/// `work` must have no effect outside the transaction.
pub async fn with_transaction_retry<T, E, F>(
    pool: &PgPool,
    ambient: &Ambient,
    options: TransactionOptions,
    max_retries: u32,
    mut work: F,
) -> Result<T, E>
where
    E: From<sqlx::Error> + Retryable,
    F: for<'c> FnMut(&'c mut PgConnection) -> BoxFuture<'c, Result<T, E>>,
{
    let mut ceiling = FIRST_WAIT;
    let mut retries = 0;
    loop {
        match with_transaction_options(pool, options, &mut work).await {
            Err(error) if retries < max_retries && error.is_retryable() => {
                retries += 1;
                tokio::time::sleep(full_jitter(ambient, ceiling)).await;
                ceiling = (ceiling * 2).min(LONGEST_WAIT);
            }
            outcome => return outcome,
        }
    }
}

/// Runs `work` inside a savepoint of a transaction that is already open: its error undoes `work` only.
pub async fn with_savepoint<T, E, F>(connection: &mut PgConnection, work: F) -> Result<T, E>
where
    E: From<sqlx::Error>,
    F: for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, E>>,
{
    let mut savepoint = connection.begin().await?;
    let outcome = work(&mut savepoint).await?;
    savepoint.commit().await?;
    Ok(outcome)
}

async fn begin(pool: &PgPool, options: TransactionOptions) -> Result<Transaction<'static, Postgres>, sqlx::Error> {
    if options == TransactionOptions::default() {
        pool.begin().await
    } else {
        pool.begin_with(options.begin_statement()).await
    }
}

/// A wait between nothing and `ceiling`, so that two transactions that collided do not collide again in step.
fn full_jitter(ambient: &Ambient, ceiling: Duration) -> Duration {
    let fraction = f64::from(u32::from_le_bytes(ambient.bytes())) / f64::from(u32::MAX);
    ceiling.mul_f64(fraction)
}
