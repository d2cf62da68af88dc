//! The test databases themselves.

use std::io::{BufRead as _, BufReader};
use std::panic::AssertUnwindSafe;
use std::process::{Command, Stdio};

use futures_util::FutureExt as _;
use systemprompt_database::Database;
use systemprompt_database::testing::{TestCluster, database, empty_database};

#[tokio::test]
async fn two_databases_do_not_see_each_other() {
    let one = database(&[]).await;
    let two = database(&[]).await;
    sqlx::query("CREATE TABLE mine (id int)").execute(one.pool.write()).await.unwrap();
    let found: bool =
        sqlx::query_scalar("SELECT to_regclass('mine') IS NOT NULL").fetch_one(two.pool.read()).await.unwrap();
    assert!(!found);
}

#[tokio::test]
async fn a_database_is_gone_after_its_test_even_when_that_panicked() {
    let witness = empty_database().await;
    let mut name = String::new();
    let outcome = AssertUnwindSafe(async {
        let database = empty_database().await;
        name = database.pool.target().database;
        panic!("a failing test");
    })
    .catch_unwind()
    .await;
    assert!(outcome.is_err());
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1")
        .bind(&name)
        .fetch_one(witness.pool.read())
        .await
        .unwrap();
    assert_eq!((left, name.is_empty()), (0, false));
}

#[tokio::test]
async fn a_cluster_of_its_own_can_be_stopped_and_started() {
    let cluster = TestCluster::start().await;
    let database = Database::connect(&cluster.connect_options()).await.unwrap();
    sqlx::query("CREATE TABLE kept AS SELECT 1 AS id").execute(database.write()).await.unwrap();
    cluster.crash();
    assert!(Database::connect(&cluster.connect_options()).await.is_err());
    cluster.restart();
    let database = Database::connect(&cluster.connect_options()).await.unwrap();
    let kept: i32 = sqlx::query_scalar("SELECT id FROM kept").fetch_one(database.read()).await.unwrap();
    assert_eq!(kept, 1);
}

const VICTIM: &str = "SYSTEMPROMPT_TEST_VICTIM";

/// The part of the next test that is killed; by itself it only takes a database and gives it back.
#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "how the next test tells it to wait for its end")]
async fn victim() {
    let database = empty_database().await;
    println!("{}", database.pool.target().database);
    if std::env::var_os(VICTIM).is_some() {
        std::future::pending::<()>().await;
    }
}

#[tokio::test]
async fn what_a_killed_test_process_leaves_is_cleaned_up_by_the_next() {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "victim", "--nocapture"])
        .env(VICTIM, "yes")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let orphan = loop {
        let line = lines.next().unwrap().unwrap();
        if let Some(at) = line.find("test_") {
            break line[at..].to_owned();
        }
    };
    process.kill().unwrap();
    process.wait().unwrap();
    // A process whose first database this is cleans up.
    let next = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "two_databases_do_not_see_each_other"])
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(next.success());
    let witness = empty_database().await;
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_database WHERE datname = $1")
        .bind(&orphan)
        .fetch_one(witness.pool.read())
        .await
        .unwrap();
    assert_eq!(left, 0, "{orphan}");
}
