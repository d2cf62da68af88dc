//! Telemetry does not stay: what is old, or too much, is deleted.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use systemprompt_database::DbPool;
use systemprompt_model::Ambient;
use tokio_util::sync::CancellationToken;

/// How often rows that are old enough are deleted.
const SWEEP_EVERY: Duration = Duration::from_mins(10);
/// Rows deleted with one statement, so that none takes long.
const SWEEP_BATCH: i64 = 5_000;
/// The most rows of a kind that are kept, however young they are.
const MOST_ROWS: i64 = 10_000_000;

/// Deletes rows that came more than `days` days ago, and the oldest when there are too many, until cancelled.
pub(crate) async fn sweep(db: DbPool, ambient: Ambient, days: u32, cancel: CancellationToken) {
    let work = async {
        let mut ticks = tokio::time::interval(SWEEP_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let before = ambient.now() - TimeDelta::days(i64::from(days));
            if let Err(error) = delete(&db, before, MOST_ROWS).await {
                tracing::debug!(%error, "old telemetry could not be deleted; it will be with the next");
            }
        }
    };
    cancel.run_until_cancelled(work).await;
}

/// Deletes what came before a time, and all but about the `most` latest rows of each kind: ids that were never used count too.
pub(crate) async fn delete(db: &DbPool, before: DateTime<Utc>, most: i64) -> Result<(), sqlx::Error> {
    while delete_spans(db, before, most).await?
        + delete_logs(db, before, most).await?
        + delete_points(db, before, most).await?
        > 0
    {}
    Ok(())
}

async fn delete_spans(db: &DbPool, before: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM telemetry_spans
        WHERE id IN (
            (SELECT id FROM telemetry_spans WHERE received_at < $1 ORDER BY received_at LIMIT $3)
            UNION ALL
            (SELECT id FROM telemetry_spans WHERE id <= (SELECT MAX(id) FROM telemetry_spans) - $2::bigint ORDER BY id LIMIT $3)
        )
        "#,
        before,
        most,
        SWEEP_BATCH,
    )
    .execute(db.write())
    .await?;
    Ok(deleted.rows_affected())
}

async fn delete_logs(db: &DbPool, before: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM telemetry_logs
        WHERE id IN (
            (SELECT id FROM telemetry_logs WHERE received_at < $1 ORDER BY received_at LIMIT $3)
            UNION ALL
            (SELECT id FROM telemetry_logs WHERE id <= (SELECT MAX(id) FROM telemetry_logs) - $2::bigint ORDER BY id LIMIT $3)
        )
        "#,
        before,
        most,
        SWEEP_BATCH,
    )
    .execute(db.write())
    .await?;
    Ok(deleted.rows_affected())
}

async fn delete_points(db: &DbPool, before: DateTime<Utc>, most: i64) -> Result<u64, sqlx::Error> {
    let deleted = sqlx::query!(
        r#"
        DELETE FROM telemetry_metrics
        WHERE id IN (
            (SELECT id FROM telemetry_metrics WHERE received_at < $1 ORDER BY received_at LIMIT $3)
            UNION ALL
            (SELECT id FROM telemetry_metrics WHERE id <= (SELECT MAX(id) FROM telemetry_metrics) - $2::bigint ORDER BY id LIMIT $3)
        )
        "#,
        before,
        most,
        SWEEP_BATCH,
    )
    .execute(db.write())
    .await?;
    Ok(deleted.rows_affected())
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use systemprompt_database::{Database, Module};
    use systemprompt_extension::Extension as _;
    use systemprompt_governance::config::SecretScanConfig;
    use systemprompt_governance::secret_scan::SecretScanner;
    use uuid::Uuid;

    use super::*;
    use crate::extension::TelemetryExtension;
    use crate::ingest::signal::{Encoding, Signal};
    use crate::ingest::{read, rows, store};
    use crate::stored::{TelemetryFilter, list_logs};

    #[tokio::test]
    async fn telemetry_is_deleted_when_it_is_old_or_too_much() {
        let schemas = TelemetryExtension.schemas();
        let module = Module { id: "telemetry".to_owned(), required: true, schemas, ..Module::default() };
        let database = systemprompt_database::testing::database(&[module]).await;
        let db = Database::connect(&database.connect_options()).await.expect("connects");
        let scanner = SecretScanner::new(&SecretScanConfig::default()).expect("its patterns compile");
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        for age in (1..=10).rev() {
            let record = json!({ "eventName": format!("{age} days") });
            let body = json!({ "resourceLogs": [{ "scopeLogs": [{ "logRecords": [record] }] }] }).to_string();
            let request =
                read::read(Some(Signal::Logs), Encoding::Json, body.as_bytes()).expect("readable").expect("one");
            let at = now - TimeDelta::days(age);
            let rows = rows::rows(request, at, &scanner);
            store::insert(&db, Uuid::nil(), at, &rows).await.expect("stores");
        }
        let left = async || {
            let filter = TelemetryFilter { limit: 100, ..TelemetryFilter::default() };
            let records = list_logs(&db, &filter).await.expect("reads");
            records.into_iter().filter_map(|record| record.event).collect::<Vec<_>>()
        };
        delete(&db, now - TimeDelta::days(3), MOST_ROWS).await.expect("deletes");
        assert_eq!(left().await, ["1 days", "2 days", "3 days"]);
        delete(&db, now - TimeDelta::days(30), 2).await.expect("deletes");
        assert_eq!(left().await, ["1 days", "2 days"]);
    }
}
