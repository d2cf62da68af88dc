//! Applying the log to empty copies of a projection's tables, and comparing them with the tables, row by row.

use serde_json::{Map, Value};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, PgPool};
use systemprompt_extension::ledger::Projection;
use systemprompt_model::with_causes;
use uuid::Uuid;

use super::projector;
use super::read::{self, Places};
use super::report::LedgerProblem;

/// Entries applied with one statement.
const PAGE: i64 = 2000;

/// How many rows of one table are named.
const NAMED: i64 = 100;

/// How many columns of a row are named.
const COLUMNS_NAMED: usize = 6;

/// Characters of a value that are shown.
const SHOWN: usize = 60;

/// Compares a projection's tables with what the log says, as far as the projection has come.
pub(super) async fn compare(pool: &PgPool, projection: &dyn Projection) -> Result<Vec<LedgerProblem>, sqlx::Error> {
    // A connection of its own: the copies shadow the tables for as long as it lives.
    let mut connection = pool.acquire().await?.detach();
    let result = compare_on(&mut connection, projection).await;
    // The copies are gone with it.
    let _ = connection.close().await;
    result
}

async fn compare_on(
    connection: &mut PgConnection,
    projection: &dyn Projection,
) -> Result<Vec<LedgerProblem>, sqlx::Error> {
    let schema =
        sqlx::query_scalar!(r#"SELECT current_schema()::text AS "schema!""#).fetch_one(&mut *connection).await?;
    // One snapshot for cursors, rows and entries.
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut *connection).await?;
    let until = projector::load(&mut *connection, projection.name()).await?;
    for table in projection.tables() {
        let copy = format!("CREATE TEMPORARY TABLE {table} (LIKE {schema}.{table} INCLUDING ALL) ON COMMIT DROP");
        sqlx::raw_sql(AssertSqlSafe(copy)).execute(&mut *connection).await?;
    }
    let mut places = Places::default();
    loop {
        let mut stored = read::after(&mut *connection, &places, PAGE).await?;
        if stored.is_empty() {
            break;
        }
        projector::advance(&mut places, &stored);
        stored.retain(|entry| entry.seq <= until.get(entry.chain));
        if let Err(error) = projector::apply(&mut *connection, projection, &stored).await {
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
            let problem = format!("the log cannot be applied: {}", with_causes(&error));
            return Ok(vec![of(projection, LedgerProblem::of(problem))]);
        }
    }
    let mut problems = Vec::new();
    for table in projection.tables() {
        problems.extend(differences(connection, &schema, table).await?);
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
    Ok(problems.into_iter().map(|problem| of(projection, problem)).collect())
}

fn of(projection: &dyn Projection, problem: LedgerProblem) -> LedgerProblem {
    LedgerProblem { projection: Some(projection.name().to_owned()), ..problem }
}

/// The rows that only one side has, or that say something else there.
async fn differences(
    connection: &mut PgConnection,
    schema: &str,
    table: &str,
) -> Result<Vec<LedgerProblem>, sqlx::Error> {
    let key = key_of(connection, &format!("{schema}.{table}")).await?;
    // Without a key nothing tells which rows belong together; then each side is named on its own.
    let on = match key.as_slice() {
        [] => "ON FALSE".to_owned(),
        key => format!("USING ({})", key.iter().map(|column| format!("\"{column}\"")).collect::<Vec<_>>().join(", ")),
    };
    let statement = format!(
        "WITH live AS (SELECT * FROM {schema}.{table} EXCEPT ALL SELECT * FROM pg_temp.{table}),
              said AS (SELECT * FROM pg_temp.{table} EXCEPT ALL SELECT * FROM {schema}.{table}),
              live_rows AS (SELECT *, to_jsonb(live) AS live_row FROM live),
              said_rows AS (SELECT *, to_jsonb(said) AS said_row FROM said)
         SELECT live_row, said_row, COUNT(*) OVER ()
           FROM live_rows FULL JOIN said_rows {on}
          ORDER BY COALESCE(live_row, said_row)::text
          LIMIT {NAMED}"
    );
    let rows: Vec<(Option<Value>, Option<Value>, i64)> =
        sqlx::query_as(AssertSqlSafe(statement)).fetch_all(&mut *connection).await?;
    let total = rows.first().map_or(0, |(_, _, total)| *total);
    let mut problems: Vec<_> = rows
        .iter()
        .filter_map(|(live, said, _)| {
            let object = |row: &Option<Value>| row.as_ref().and_then(Value::as_object).cloned();
            let (live, said) = (object(live), object(said));
            let row = live.as_ref().or(said.as_ref())?;
            let problem = match (&live, &said) {
                (Some(_), None) => "there is no entry for this row".to_owned(),
                (None, Some(_)) => "the row that the log says is missing".to_owned(),
                (Some(live), Some(said)) => format!("the row was changed: {}", changed(live, said)),
                (None, None) => return None,
            };
            let action = ["action_id", "request_id", "id"].into_iter().find_map(|column| row.get(column));
            let action = action.and_then(Value::as_str).and_then(|id| Uuid::parse_str(id).ok());
            Some(LedgerProblem { action, ..LedgerProblem::row(table, named(row, &key), problem) })
        })
        .collect();
    if total > NAMED {
        let more = format!("{} more rows are not as the log says", total - NAMED);
        problems.push(LedgerProblem { table: Some(table.to_owned()), ..LedgerProblem::of(more) });
    }
    Ok(problems)
}

/// The columns of the table's key.
async fn key_of(connection: &mut PgConnection, table: &str) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!(
        r#"
        SELECT a.attname::text AS "column!"
        FROM pg_index AS i
        JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = to_regclass($1) AND i.indisprimary
        ORDER BY array_position(i.indkey::int2[], a.attnum)
        "#,
        table,
    )
    .fetch_all(connection)
    .await
}

/// A row by its key, or by all of it.
fn named(row: &Map<String, Value>, key: &[String]) -> String {
    let columns: Vec<_> = if key.is_empty() { row.keys().collect() } else { key.iter().collect() };
    let cell = |column: &String| Some(format!("{column} {}", shown(row.get(column)?)));
    columns.into_iter().filter_map(cell).collect::<Vec<_>>().join(", ")
}

fn changed(live: &Map<String, Value>, said: &Map<String, Value>) -> String {
    let differ: Vec<_> = said.iter().filter(|(column, said)| live.get(*column) != Some(said)).collect();
    let more = differ.len().saturating_sub(COLUMNS_NAMED);
    let mut columns: Vec<_> = differ
        .into_iter()
        .take(COLUMNS_NAMED)
        .map(|(column, said)| {
            format!("`{column}` is {}, the log says {}", live.get(column).map_or_else(String::new, shown), shown(said))
        })
        .collect();
    if more > 0 {
        columns.push(format!("{more} more columns"));
    }
    columns.join("; ")
}

fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text,
    }
}
