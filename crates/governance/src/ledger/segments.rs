//! Segments of the log: one partition for each month, made ahead of time.

use chrono::{DateTime, Datelike as _, Months, NaiveDate, Utc};
use sqlx::{AssertSqlSafe, PgPool};

/// Makes the segments of this month and the next, where they are missing. Any number of servers may do so at once.
///
/// Should the month have begun without its segment (nobody ran for weeks and then wrote before this could be called, or a
/// clock was wrong), its entries are in `ledger_unsorted` and stay there; the segment is then not made.
pub(super) async fn prepare(pool: &PgPool, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    for month in [first_day(now), first_day(now) + Months::new(1)] {
        let name = segment_name(month);
        if exists(pool, &name).await? {
            continue;
        }
        let until = month + Months::new(1);
        let statement = format!(
            "CREATE TABLE IF NOT EXISTS {name} PARTITION OF ledger \
             FOR VALUES FROM ('{month} 00:00:00+00') TO ('{until} 00:00:00+00')"
        );
        match sqlx::raw_sql(AssertSqlSafe(statement)).execute(pool).await {
            Ok(_) => {}
            Err(error) if is_taken(&error) => {
                tracing::warn!(segment = name, "entries of this month are in ledger_unsorted already, and stay there");
            }
            // Another server made it at the same moment.
            Err(_) if exists(pool, &name).await? => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn first_day(now: DateTime<Utc>) -> NaiveDate {
    NaiveDate::from_ymd_opt(now.year(), now.month(), 1).expect("every month has a first day")
}

/// The name of the segment of the month that begins on this day.
fn segment_name(month: NaiveDate) -> String {
    month.format("ledger_%Y_%m").to_string()
}

async fn exists(pool: &PgPool, name: &str) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT to_regclass($1) IS NOT NULL AS "exists!""#, name).fetch_one(pool).await
}

/// The default partition holds rows that belong into the new one.
fn is_taken(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(sqlx::error::DatabaseError::code).is_some_and(|code| code == "23514")
}
