//! Units of work under failure and contention.
#![expect(clippy::unwrap_used, reason = "what helps a test fails like the test")]

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures_util::FutureExt as _;
use systemprompt_database::RepositoryError;
use systemprompt_database::testing::{TestDatabase, empty_database};
use systemprompt_database::transaction::{
    Isolation, TransactionOptions, with_savepoint, with_transaction, with_transaction_options, with_transaction_retry,
};
use systemprompt_model::Ambient;
use tokio::sync::Barrier;

async fn accounts() -> TestDatabase {
    let database = empty_database().await;
    sqlx::raw_sql("CREATE TABLE accounts (id int PRIMARY KEY, credits int CHECK (credits >= 0)); INSERT INTO accounts VALUES (1, 0), (2, 0)")
        .execute(database.pool.write())
        .await
        .unwrap();
    database
}

async fn credits(database: &TestDatabase) -> i64 {
    sqlx::query_scalar("SELECT sum(credits) FROM accounts").fetch_one(database.pool.read()).await.unwrap()
}

#[tokio::test]
async fn an_error_or_a_panic_undoes_everything() {
    let database = accounts().await;
    let failed: Result<(), RepositoryError> = with_transaction(database.pool.write(), |tx| {
        Box::pin(async move {
            sqlx::query("UPDATE accounts SET credits = 5 WHERE id = 1").execute(&mut *tx).await?;
            sqlx::query("UPDATE accounts SET credits = -1 WHERE id = 2").execute(&mut *tx).await?;
            Ok(())
        })
    })
    .await;
    assert!(matches!(&failed, Err(RepositoryError::Constraint { name, .. }) if name == "accounts_credits_check"));
    let panicked = AssertUnwindSafe(with_transaction::<(), sqlx::Error, _>(database.pool.write(), |tx| {
        Box::pin(async move {
            sqlx::query("UPDATE accounts SET credits = 5").execute(&mut *tx).await?;
            panic!("half-way")
        })
    }))
    .catch_unwind()
    .await;
    assert!(panicked.is_err());
    assert_eq!(credits(&database).await, 0);
}

#[tokio::test]
async fn a_savepoint_undoes_its_own_work_only() {
    let database = accounts().await;
    with_transaction::<_, sqlx::Error, _>(database.pool.write(), |tx| {
        Box::pin(async move {
            sqlx::query("UPDATE accounts SET credits = 5 WHERE id = 1").execute(&mut *tx).await?;
            let inner = with_savepoint::<(), sqlx::Error, _>(tx, |tx| {
                Box::pin(async move {
                    sqlx::query("UPDATE accounts SET credits = -1 WHERE id = 2").execute(tx).await?;
                    Ok(())
                })
            })
            .await;
            assert!(inner.is_err());
            Ok(())
        })
    })
    .await
    .unwrap();
    assert_eq!(credits(&database).await, 5);
}

#[tokio::test]
async fn a_read_only_transaction_refuses_to_write() {
    let database = accounts().await;
    let options = TransactionOptions { isolation: Isolation::RepeatableRead, read_only: true, deferrable: false };
    let refused: Result<(), sqlx::Error> = with_transaction_options(database.pool.write(), options, |tx| {
        Box::pin(async move { sqlx::query("DELETE FROM accounts").execute(tx).await.map(|_| ()) })
    })
    .await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn two_transactions_that_deadlock_both_commit() {
    let database = accounts().await;
    let both_hold_one = Arc::new(Barrier::new(2));
    let attempts = Arc::new(AtomicU32::new(0));
    let transfer = |first: i32, second: i32| {
        let (pool, barrier, attempts) = (database.pool.write().clone(), both_hold_one.clone(), attempts.clone());
        async move {
            let mut meet = true;
            with_transaction_retry::<_, sqlx::Error, _>(
                &pool,
                &Ambient::system(),
                TransactionOptions::default(),
                5,
                |tx| {
                    attempts.fetch_add(1, Ordering::Relaxed);
                    let barrier = std::mem::take(&mut meet).then(|| barrier.clone());
                    Box::pin(async move {
                        let add = "UPDATE accounts SET credits = credits + 1 WHERE id = $1";
                        sqlx::query(add).bind(first).execute(&mut *tx).await?;
                        if let Some(barrier) = barrier {
                            barrier.wait().await;
                        }
                        sqlx::query(add).bind(second).execute(&mut *tx).await?;
                        Ok(())
                    })
                },
            )
            .await
        }
    };
    let (one, two) = tokio::join!(transfer(1, 2), transfer(2, 1));
    one.unwrap();
    two.unwrap();
    assert_eq!((credits(&database).await, attempts.load(Ordering::Relaxed)), (4, 3));
}

#[tokio::test]
async fn a_violated_constraint_is_not_tried_again() {
    let database = accounts().await;
    let mut attempts = 0;
    let failed: Result<(), sqlx::Error> =
        with_transaction_retry(database.pool.write(), &Ambient::system(), TransactionOptions::default(), 5, |tx| {
            attempts += 1;
            Box::pin(async move { sqlx::query("INSERT INTO accounts VALUES (1, 1)").execute(tx).await.map(|_| ()) })
        })
        .await;
    assert!(failed.is_err());
    assert_eq!(attempts, 1);
}
