//! What an operator reads when the database cannot be used, and what every session is like when it can.

use std::time::Duration;

use systemprompt_database::testing::{TestCluster, empty_database};
use systemprompt_database::{ConnectError, ConnectOptions, Database};
use systemprompt_model::Secret;

async fn connect(url: &str) -> Result<(), ConnectError> {
    let mut options = ConnectOptions::new(Secret::new(url), "test");
    options.pool.acquire_timeout = Duration::from_secs(5);
    Database::connect(&options).await.map(|_| ())
}

#[tokio::test]
async fn sessions_have_limits_and_a_name() {
    let database = empty_database().await;
    let (statement, lock, idle, zone, name): (String, String, String, String, String) = sqlx::query_as(
        "SELECT current_setting('statement_timeout'), current_setting('lock_timeout'),
                current_setting('idle_in_transaction_session_timeout'), current_setting('timezone'),
                current_setting('application_name')",
    )
    .fetch_one(database.pool.write())
    .await
    .unwrap();
    assert_eq!([statement.as_str(), &lock, &idle, &zone], ["30s", "5s", "1min", "UTC"]);
    assert!(name.starts_with("systemprompt/") && name.ends_with("/test"), "{name}");
    assert!(database.pool.server().major >= 15);
    database.pool.ping(Duration::from_secs(5)).await.unwrap();
}

#[tokio::test]
async fn every_way_not_to_connect_has_its_words() {
    let database = empty_database().await;
    let url = database.url.expose().to_owned();

    let missing = connect(&url.replace("/test_", "/nowhere_")).await.unwrap_err();
    assert!(matches!(&missing, ConnectError::DatabaseMissing { target } if target.database.starts_with("nowhere_")));
    assert!(missing.hint().contains("createdb"));

    let stranger = connect(&url.replace("postgres@", "stranger:hunter2@")).await.unwrap_err();
    assert!(
        matches!(&stranger, ConnectError::Authentication { target, .. } if target.user == "stranger"),
        "{stranger:?}"
    );
    assert!(!format!("{stranger} {stranger:?} {}", stranger.hint()).contains("hunter2"));

    let refused = connect("postgres://ada:hunter2@127.0.0.1:1/app?sslmode=disable").await.unwrap_err();
    assert_eq!(refused.to_string(), "no PostgreSQL answers at 127.0.0.1:1");
}

#[tokio::test]
async fn a_user_who_may_not_create_tables_is_told_before_anything_starts() {
    let database = empty_database().await;
    let role = format!("reader_of_{}", database.pool.target().database);
    let create = format!("CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM PUBLIC");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(database.pool.write()).await.unwrap();
    let outcome = connect(&database.url.expose().replace("postgres@", &format!("{role}@"))).await;
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("DROP ROLE {role}"))).execute(database.pool.write()).await.unwrap();
    assert!(matches!(outcome, Err(ConnectError::MissingPrivilege { .. })), "{outcome:?}");
}

#[tokio::test]
async fn a_database_in_another_encoding_is_refused() {
    let database = empty_database().await;
    let name = format!("{}_latin", database.pool.target().database);
    let create = format!("CREATE DATABASE {name} TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'");
    sqlx::raw_sql(sqlx::AssertSqlSafe(create)).execute(database.pool.write()).await.unwrap();
    let outcome = connect(&database.url.expose().replace(&database.pool.target().database, &name)).await;
    let drop = format!("DROP DATABASE {name} WITH (FORCE)");
    sqlx::raw_sql(sqlx::AssertSqlSafe(drop)).execute(database.pool.write()).await.unwrap();
    assert!(matches!(outcome, Err(ConnectError::Encoding { found, .. }) if found == "LATIN1"));
}

#[tokio::test]
async fn pools_recover_when_the_server_comes_back() {
    let cluster = TestCluster::start().await;
    let mut options = cluster.connect_options();
    options.pool.acquire_timeout = Duration::from_secs(2);
    let database = Database::connect(&options).await.unwrap();
    let limit = Duration::from_secs(5);
    database.ping(limit).await.unwrap();
    cluster.stop();
    assert!(database.ping(limit).await.unwrap_err().is_unavailable());
    cluster.restart();
    // A connection from before is found dead at its first use at the latest.
    let mut attempts = 0;
    while database.ping(limit).await.is_err() {
        attempts += 1;
        assert!(attempts < 10, "the pool does not recover");
    }
}
