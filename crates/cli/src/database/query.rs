//! `infra db query`: one reading statement.
//!
//! That it only reads is not for us to find out from its text: it runs in a READ ONLY transaction that is rolled back, on
//! a connection that is closed afterwards, so that neither a function's side effects nor session state nor an advisory
//! lock outlives it.

use std::time::{Duration, Instant};

use futures_util::TryStreamExt as _;
use serde_json::Value;
use sqlx::ValueRef as _;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{PgConnection, PgRow};
use sqlx::{AssertSqlSafe, Column as _, Connection as _, Executor as _, Row as _, SqlSafeStr as _, Statement as _};
use systemprompt_database::Database;
use systemprompt_database::sql;

use super::InspectError;
use super::value::Shape;

/// Bounds of a query.
#[derive(Debug, Clone)]
pub(crate) struct QueryOptions {
    /// Most rows returned; 1000 unless changed.
    pub(crate) limit: usize,
    /// Rows skipped before the first.
    pub(crate) offset: usize,
    /// The server gives up after this; 30 s unless changed.
    pub(crate) statement_timeout: Duration,
}

impl Default for QueryOptions {
    fn default() -> Self {
        Self { limit: 1000, offset: 0, statement_timeout: Duration::from_secs(30) }
    }
}

/// What a query returned.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct QueryResult {
    /// The columns, in order.
    pub(crate) columns: Vec<ResultColumn>,
    /// The rows: one value per column. A list rather than an object, so that two columns may have the same name.
    pub(crate) rows: Vec<Vec<Value>>,
    /// How many rows are in `rows`.
    pub(crate) row_count: usize,
    /// There were more rows than the limit.
    pub(crate) truncated: bool,
    /// How long it took, in milliseconds.
    pub(crate) execution_time_ms: u64,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct ResultColumn {
    /// Its name.
    pub(crate) name: String,
    /// Its type as PostgreSQL writes it, e.g. `timestamp with time zone`.
    #[serde(rename = "type")]
    pub(crate) type_name: String,
}

/// Runs one statement that begins with `SELECT`, `WITH`, `EXPLAIN`, `SHOW`, `TABLE` or `VALUES`.
pub(crate) async fn query(
    database: &Database,
    text: &str,
    options: &QueryOptions,
) -> Result<QueryResult, InspectError> {
    let statements = sql::split(text)?;
    let [statement] = statements.as_slice() else {
        return Err(InspectError::NotOneStatement { count: statements.len() });
    };
    let with_cursor = match statement.first_word() {
        // A parenthesised SELECT.
        None | Some("select" | "with" | "table" | "values") => true,
        Some("explain" | "show") => false,
        Some(word) => return Err(InspectError::NotReading { word: word.to_uppercase() }),
    };
    let doing = InspectError::while_doing("connecting for the query");
    let mut connection = database.dedicated_for_reading("query").await.map_err(&doing)?;
    let started = Instant::now();
    let mut transaction = connection.begin_with("BEGIN READ ONLY").await.map_err(&doing)?;
    sqlx::query("SELECT set_config('statement_timeout', $1, true)")
        .bind(options.statement_timeout.as_millis().to_string())
        .execute(&mut *transaction)
        .await
        .map_err(&doing)?;

    let prepared =
        transaction.prepare(AssertSqlSafe(statement.text).into_sql_str()).await.map_err(InspectError::Statement)?;
    let names: Vec<String> = prepared.columns().iter().map(|column| column.name().to_owned()).collect();
    let types: Vec<Oid> = prepared.columns().iter().map(|column| column.type_info().oid().unwrap_or(Oid(25))).collect();
    let types = describe_types(&mut transaction, &types).await?;

    // The simple protocol answers in text, in which every type there is has a form.
    let wanted = options.limit.saturating_add(1);
    let fetched = if with_cursor {
        let declare = format!("DECLARE reading NO SCROLL CURSOR FOR {}", statement.text);
        transaction.execute(sqlx::raw_sql(AssertSqlSafe(declare))).await.map_err(InspectError::Statement)?;
        if options.offset > 0 {
            let skip = format!("MOVE FORWARD {} IN reading", options.offset);
            transaction.execute(sqlx::raw_sql(AssertSqlSafe(skip))).await.map_err(InspectError::Statement)?;
        }
        take_rows(&mut transaction, format!("FETCH FORWARD {wanted} FROM reading"), 0, wanted).await?
    } else {
        take_rows(&mut transaction, statement.text.to_owned(), options.offset, wanted).await?
    };
    let execution_time_ms = started.elapsed().as_millis() as u64;

    let truncated = fetched.len() > options.limit;
    let rows: Vec<Vec<Value>> =
        fetched.iter().take(options.limit).map(|row| decode(row, &types)).collect::<Result<_, _>>()?;
    let columns = names.into_iter().zip(types).map(|(name, (type_name, _))| ResultColumn { name, type_name }).collect();
    transaction.rollback().await.map_err(&doing)?;
    // The session ends either way.
    let _ = connection.close().await;
    Ok(QueryResult { columns, row_count: rows.len(), rows, truncated, execution_time_ms })
}

async fn take_rows(
    connection: &mut PgConnection,
    statement: String,
    skip: usize,
    limit: usize,
) -> Result<Vec<PgRow>, InspectError> {
    let mut stream = connection.fetch(sqlx::raw_sql(AssertSqlSafe(statement)));
    let mut rows = Vec::new();
    let mut seen = 0;
    while let Some(row) = stream.try_next().await.map_err(InspectError::Statement)? {
        seen += 1;
        // The rest of the answer must still be read off the connection.
        if seen > skip && rows.len() < limit {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn decode(row: &PgRow, types: &[(String, Shape)]) -> Result<Vec<Value>, InspectError> {
    let doing = InspectError::while_doing("reading the result");
    types
        .iter()
        .enumerate()
        .map(|(index, (_, shape))| {
            let value = row.try_get_raw(index).map_err(&doing)?;
            if value.is_null() {
                return Ok(Value::Null);
            }
            let text = value.as_str().map_err(|error| doing(sqlx::Error::Decode(error)))?;
            Ok(shape.decode(text))
        })
        .collect()
}

/// The names of types as PostgreSQL writes them, and how their values are shown. Of a domain the server tells
/// only what it is based on.
async fn describe_types(connection: &mut PgConnection, types: &[Oid]) -> Result<Vec<(String, Shape)>, InspectError> {
    let rows: Vec<(String, String, Option<String>, Option<String>)> = sqlx::query_as(
        "SELECT format_type(t.oid, NULL),
                t.typname::text,
                element.typname::text,
                element.typdelim::text
           FROM unnest($1::oid[]) WITH ORDINALITY AS wanted (oid, position)
           JOIN pg_type t ON t.oid = wanted.oid
           LEFT JOIN pg_type element ON element.oid = t.typelem AND t.typcategory = 'A'
          ORDER BY wanted.position",
    )
    .bind(types)
    .persistent(false)
    .fetch_all(connection)
    .await
    .map_err(InspectError::while_doing("asking for the types of the result"))?;
    let shapes = rows.into_iter().map(|(name, type_name, element, delimiter)| {
        let shape = match element {
            Some(element) => {
                let delimiter = delimiter.and_then(|text| text.chars().next()).unwrap_or(',');
                Shape::List(Box::new(Shape::of(&element)), delimiter)
            }
            None => Shape::of(&type_name),
        };
        (name, shape)
    });
    Ok(shapes.collect())
}
