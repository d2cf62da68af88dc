//! What happens while entries cannot be written.

use std::time::Instant;

use super::*;

/// How soon everybody is told of an outage.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

impl Fixture {
    async fn wait_until(&self, available: bool) {
        let mut known = self.ledger.shared.queue.available.subscribe();
        timeout(Duration::from_secs(20), known.wait_for(|now| *now == available)).await.expect("in time").unwrap();
    }
}

/// Has PostgreSQL refuse every new row of this table with this error.
async fn refuse_rows(pool: &PgPool, table: &str, code: &str, message: &str) {
    let statements = format!(
        "CREATE OR REPLACE FUNCTION refuse_row() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END $$;
         CREATE TRIGGER refused BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_row();"
    );
    sqlx::raw_sql(AssertSqlSafe(statements)).execute(pool).await.unwrap();
}

async fn take_rows(pool: &PgPool, table: &str) {
    sqlx::raw_sql(AssertSqlSafe(format!("DROP TRIGGER refused ON {table}"))).execute(pool).await.unwrap();
}

#[tokio::test]
async fn a_database_that_takes_nothing_is_away_until_it_takes_something() {
    let database = testing::database(&[module()]).await;
    let fixture = ledger(&database).await;
    let pool = database.pool.write();
    let mut completed = 0;
    for (table, code, message, reason) in [
        ("ledger", "53100", "could not extend file: No space left on device", "PostgreSQL has no disk space left"),
        ("ledger_content", "53100", "could not extend file: No space left on device", "has no disk space left"),
        ("ledger", "25006", "cannot execute INSERT in a read-only transaction", "PostgreSQL is read-only"),
        // As if every entry were to blame.
        ("ledger", "23514", "no partition of relation found for row", "PostgreSQL refuses what is written"),
    ] {
        let early = fixture.admit("before").await.unwrap();
        refuse_rows(pool, table, code, message).await;
        let begun = Instant::now();
        if table == "ledger" {
            assert_eq!(fixture.admit("hello").await.err(), Some(Refusal::LedgerUnavailable), "{code}");
        }
        finish(early, "hi");
        fixture.wait_until(false).await;
        assert!(begun.elapsed() < TOLD_WITHIN, "{code} was noticed after {:?}", begun.elapsed());
        let outage = fixture.ledger.shared.queue.outage().expect("it is said why");
        assert!(outage.reason.contains(reason), "{code}: {}", outage.reason);

        // It can be connected to all the time, and is not taken for well.
        let mut known = fixture.ledger.shared.queue.available.subscribe();
        let reopened = timeout(Duration::from_secs(1), known.wait_for(|available| *available)).await;
        assert!(reopened.is_err(), "{code}: it is said to be available and is not");
        assert_eq!(fixture.ledger.shared.queue.outage().map(|outage| outage.since), Some(outage.since));
        let page = fixture.metrics.encode();
        let lag = page.lines().find_map(|line| line.strip_prefix("audit_chain_lag_seconds ")).expect("a metric");
        assert!(lag.parse::<f64>().unwrap() >= 1.0, "{lag}");
        assert!(page.contains("\nledger_available 0\n"));

        take_rows(pool, table).await;
        fixture.wait_until(true).await;
        assert_eq!(fixture.ledger.shared.queue.outage(), None);
        finish(fixture.admit("after").await.unwrap(), "hi");
        completed += 2;
    }
    fixture.drained().await;
    assert_eq!(statuses(pool).await, [("completed".to_owned(), completed)]);
    assert_sound(pool).await;
}

#[tokio::test]
async fn a_postgresql_that_stands_still_is_noticed_while_nobody_asks() {
    let cluster = TestCluster::start().await;
    let pool = Database::connect(&cluster.connect_options()).await.unwrap();
    install(&pool, &[module()], &InstallOptions::default()).await.unwrap();
    let fixture = Setup::default().start(&pool).await;
    let permit = fixture.admit("hello").await.unwrap();

    cluster.freeze();
    let begun = Instant::now();
    fixture.wait_until(false).await;
    let noticed = begun.elapsed();
    assert_refused_at_once(&fixture);
    finish(permit, "hi");
    cluster.thaw();
    assert!(noticed < TOLD_WITHIN, "{noticed:?}");

    fixture.wait_until(true).await;
    finish(fixture.admit("hello again").await.unwrap(), "hi");
    fixture.drained().await;
    assert_eq!(statuses(pool.write()).await, [("completed".to_owned(), 2)]);
    assert_sound(pool.write()).await;
}
