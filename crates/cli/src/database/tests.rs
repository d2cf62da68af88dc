//! What `infra db` answers.

use std::time::Duration;

use serde_json::json;
use systemprompt_database::install::history;
use systemprompt_database::testing::{TestDatabase, database, empty_database};
use systemprompt_database::{InstallOptions, Migration, Module, SchemaDefinition};

use super::catalog::{count, describe, indexes, info, size, status, tables};
use super::doctor::{Comparison, doctor};
use super::execute::Keep;
use super::query::QueryOptions;
use super::{InspectError, execute, query};

const NOTES: &str = "
CREATE TABLE IF NOT EXISTS notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body text NOT NULL DEFAULT 'empty',
    parent bigint REFERENCES notes (id)
);
CREATE INDEX IF NOT EXISTS notes_by_body ON notes (lower(body), parent);
";

fn notes(migrations: Vec<Migration>) -> Vec<Module> {
    let schemas = vec![SchemaDefinition::inline("notes", NOTES)];
    vec![Module { id: "notes".into(), required: true, schemas, migrations, ..Module::default() }]
}

fn options() -> InstallOptions {
    InstallOptions::default()
}

async fn run(database: &TestDatabase, sql: &'static str) {
    sqlx::raw_sql(sql).execute(database.pool.write()).await.unwrap();
}

#[tokio::test]
async fn tables_are_listed_described_counted_and_measured() {
    let modules = notes(vec![]);
    let database = database(&modules).await;
    let pool = &database.pool;
    run(&database, "CREATE TABLE stray (id int); INSERT INTO notes (body) VALUES ('a'), ('b')").await;

    let listed = tables(pool, &modules, &options(), None).await.unwrap();
    let owner = |name: &str| listed.iter().find(|table| table.name == name).unwrap().owner_extension.clone();
    assert_eq!((owner("notes"), owner("stray")), (Some("notes".into()), None));
    assert_eq!(tables(pool, &modules, &options(), Some("STR")).await.unwrap().len(), 1);

    let described = describe(pool, "notes").await.unwrap();
    let columns: Vec<_> = described
        .columns
        .iter()
        .map(|column| (column.name.as_str(), column.type_name.as_str(), column.nullable, column.primary_key))
        .collect();
    assert_eq!(
        columns,
        [("id", "bigint", false, true), ("body", "text", false, false), ("parent", "bigint", true, false)]
    );
    assert_eq!(described.columns[1].default.as_deref(), Some("'empty'::text"));
    assert_eq!(described.indexes[0].columns, ["lower(body)", "parent"]);
    assert_eq!(
        (described.indexes[1].unique, described.foreign_keys[0].references_columns.clone()),
        (true, vec!["id".into()])
    );

    assert_eq!(count(pool, "public.notes").await.unwrap().row_count, 2);
    assert_eq!(indexes(pool, Some("notes")).await.unwrap().len(), 2);
    assert!(indexes(pool, None).await.unwrap().len() > 2);
    let sizes = size(pool).await.unwrap();
    assert!(sizes.size_bytes > 0 && sizes.tables.iter().any(|table| table.name == "notes" && table.index_bytes > 0));
    let told = info(pool).await.unwrap();
    assert!(told.connections >= 1 && told.pools[0].name == "shared");
}

#[tokio::test]
async fn names_are_checked_and_near_misses_suggested() {
    let database = database(&notes(vec![])).await;
    for name in ["notes; DROP TABLE notes", "", "a.b.c", "1a", "\"notes\"", &"x".repeat(64)] {
        let error = count(&database.pool, name).await.unwrap_err();
        assert!(matches!(error, InspectError::InvalidIdentifier { .. }), "{name}: {error:?}");
    }
    let error = describe(&database.pool, "note").await.unwrap_err();
    assert!(error.to_string().contains("did you mean `notes`?"), "{error}");
}

#[tokio::test]
async fn a_query_renders_every_type() {
    let database = empty_database().await;
    run(&database, "CREATE TYPE mood AS ENUM ('on hold'); CREATE DOMAIN percent AS int CHECK (VALUE <= 100)").await;
    let sql = "SELECT 1::int2 AS small, 9007199254740993::int8 AS big, 1.50::numeric AS money, 'NaN'::float8 AS nan,
                      true AS yes, NULL::text AS nothing, 'f4a1f2b0-0000-7000-8000-000000000000'::uuid AS id,
                      '2026-01-02 03:04:05.5+00'::timestamptz AS at, '1 day 02:00'::interval AS span,
                      ARRAY[1, NULL, 3] AS numbers, ARRAY['a,b', 'c\"d'] AS texts, '{\"a\": [1]}'::jsonb AS doc,
                      '\\xdead'::bytea AS bytes, '10.0.0.1/8'::inet AS net, 'on hold'::mood AS mood, 7::percent AS percent,
                      '[1,5)'::int4range AS range, point(1, 2) AS point, ARRAY['on hold']::mood[] AS moods, 1 AS small -- end";
    let result = query::query(&database.pool, sql, &QueryOptions::default()).await.unwrap();
    assert_eq!(
        json!(result.rows[0]),
        json!([
            1, 9_007_199_254_740_993_i64, "1.50", "NaN", true, null, "f4a1f2b0-0000-7000-8000-000000000000",
            "2026-01-02 03:04:05.5+00", "1 day 02:00:00", [1, null, 3], ["a,b", "c\"d"], {"a": [1]}, "\\xdead",
            "10.0.0.1/8", "on hold", 7, "[1,5)", "(1,2)", ["on hold"], 1
        ])
    );
    let types: Vec<_> = result.columns.iter().map(|column| column.type_name.as_str()).collect();
    assert_eq!(
        (types[2], types[7], types[9], types[14], types[15]),
        ("numeric", "timestamp with time zone", "integer[]", "mood", "integer")
    );
}

#[tokio::test]
async fn a_query_is_cut_off_at_its_limit() {
    let database = empty_database().await;
    let page = |limit, offset| QueryOptions { limit, offset, ..QueryOptions::default() };
    let sql = "SELECT i FROM generate_series(1, 1000000) AS i";
    let result = query::query(&database.pool, sql, &page(2, 10)).await.unwrap();
    assert_eq!((json!(result.rows), result.row_count, result.truncated), (json!([[11], [12]]), 2, true));
    let all = query::query(&database.pool, "VALUES (1), (2);", &page(2, 0)).await.unwrap();
    assert!(!all.truncated);
    let none = query::query(&database.pool, "SELECT 1 AS a WHERE false", &page(2, 0)).await.unwrap();
    assert_eq!((none.columns[0].name.as_str(), none.row_count), ("a", 0));
    assert_eq!(query::query(&database.pool, "SHOW timezone", &page(5, 0)).await.unwrap().rows, [[json!("UTC")]]);
    let explained = query::query(&database.pool, "EXPLAIN SELECT 1", &page(5, 0)).await.unwrap();
    assert_eq!(explained.columns[0].name, "QUERY PLAN");
}

#[tokio::test]
async fn a_query_cannot_change_anything() {
    let database = database(&notes(vec![])).await;
    let query = async |sql: &str| query::query(&database.pool, sql, &QueryOptions::default()).await;
    for sql in [
        "WITH gone AS (DELETE FROM notes RETURNING 1) SELECT * FROM gone",
        "EXPLAIN ANALYZE DELETE FROM notes",
        "SELECT nextval('notes_id_seq')",
        "SELECT * FROM nowhere",
        "SELECT $1",
    ] {
        assert!(matches!(query(sql).await, Err(InspectError::Statement(_))), "{sql}");
    }
    for sql in ["DELETE FROM notes", "DROP TABLE notes", "DO $$ BEGIN END $$", "COPY notes TO STDOUT"] {
        assert!(matches!(query(sql).await, Err(InspectError::NotReading { .. })), "{sql}");
    }
    for sql in ["", "SELECT 1; DROP TABLE notes"] {
        assert!(matches!(query(sql).await, Err(InspectError::NotOneStatement { .. })), "{sql}");
    }
    assert_eq!(query("SELECT 'drop table notes; delete' AS text").await.unwrap().row_count, 1);
    query("SELECT lo_create(4711)").await.ok();
    query("SELECT pg_advisory_lock(4711)").await.unwrap();
    let (objects, locks): (i64, i64) = sqlx::query_as(
        "SELECT (SELECT count(*) FROM pg_largeobject_metadata),
                (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711)",
    )
    .fetch_one(database.pool.write())
    .await
    .unwrap();
    assert_eq!((objects, locks), (0, 0));
    let quick = QueryOptions { statement_timeout: Duration::from_millis(50), ..QueryOptions::default() };
    let late = query::query(&database.pool, "SELECT pg_sleep(60)", &quick).await.unwrap_err();
    assert!(late.to_string().contains("statement timeout"), "{late}");
}

#[tokio::test]
async fn executing_counts_what_changed_and_can_be_rehearsed() {
    let database = database(&notes(vec![])).await;
    let execute = async |sql: &str, keep: Keep| execute::execute(&database.pool, sql, keep).await;
    let insert = "INSERT INTO notes (body) VALUES ('a'), ('b') RETURNING id";
    assert_eq!(execute(insert, Keep::Nothing).await.unwrap().rows_affected, 2);
    assert_eq!(count(&database.pool, "notes").await.unwrap().row_count, 0);
    assert_eq!(execute(insert, Keep::Changes).await.unwrap().rows_affected, 2);
    for several in ["DELETE FROM notes; SELECT 1", "DELETE FROM notes;;DELETE FROM notes", "", "-- nothing"] {
        let refused = execute(several, Keep::Changes).await;
        assert!(matches!(refused, Err(InspectError::NotOneStatement { .. })), "{several}: {refused:?}");
    }
    assert_eq!(execute("SELECT * FROM notes;", Keep::Changes).await.unwrap().rows_affected, 0);
    assert_eq!(
        execute("DO $$ BEGIN DELETE FROM notes WHERE false; END; $$", Keep::Changes).await.unwrap().rows_affected,
        0
    );
    assert_eq!(count(&database.pool, "notes").await.unwrap().row_count, 2);
    execute("VACUUM notes", Keep::Changes).await.unwrap();
    assert!(matches!(execute("COMMIT", Keep::Changes).await, Err(InspectError::TransactionControl { .. })));
}

#[tokio::test]
async fn the_status_counts_migrations() {
    let modules = notes(vec![Migration::new(1, "one", "SELECT 1")]);
    let database = database(&modules).await;
    let newer = notes(vec![Migration::new(1, "one", "SELECT 2"), Migration::new(2, "two", "SELECT 2")]);
    let found = status(&database.pool, &newer, &options()).await.unwrap();
    assert!(found.connected);
    assert_eq!(
        (found.applied_migrations, found.pending_migrations, found.drifted_migrations),
        (Some(1), Some(1), Some(1))
    );
}

#[tokio::test]
async fn an_unknown_extension_is_named_with_what_it_might_be() {
    let database = empty_database().await;
    let unknown = history::status(&database.pool, &notes(vec![]), &options(), Some("note")).await.unwrap_err();
    assert!(InspectError::from(unknown).to_string().contains("did you mean `notes`?"));
}

#[tokio::test]
async fn the_doctor_finds_what_differs() {
    let modules = notes(vec![]);
    let database = database(&modules).await;
    let healthy = doctor(&database.pool, &modules, &options()).await.unwrap();
    assert!(healthy.is_healthy() && healthy.comparison == Comparison::Full, "{healthy:?}");

    run(
        &database,
        "CREATE TABLE stray (id int);
         ALTER TABLE notes ALTER body TYPE varchar(10), ALTER body DROP NOT NULL, DROP parent, ADD extra int;
         INSERT INTO notes (body) VALUES ('a'), ('a');",
    )
    .await;
    sqlx::query("CREATE UNIQUE INDEX CONCURRENTLY broken ON notes (body)")
        .execute(database.pool.write())
        .await
        .unwrap_err();
    let two = Module {
        id: "two".into(),
        schemas: vec![SchemaDefinition::inline("absent", "CREATE TABLE IF NOT EXISTS absent (id int)")],
        ..Module::default()
    };
    let modules = [modules, vec![two]].concat();
    let found = doctor(&database.pool, &modules, &options()).await.unwrap();
    assert_eq!((found.undeclared_tables, found.invalid_indexes), (vec!["stray".into()], vec!["broken".into()]));
    assert_eq!((found.missing_tables[0].extension.as_str(), found.missing_tables[0].table.as_str()), ("two", "absent"));
    assert_eq!(
        (found.missing_columns[0].column.as_str(), found.undeclared_columns[0].column.as_str()),
        ("parent", "extra")
    );
    let retyped = &found.type_differences[0];
    assert_eq!((retyped.declared.as_str(), retyped.live.as_str()), ("text", "character varying(10)"));
    assert_eq!(found.nullability_differences[0].live, "NULL");
    assert_eq!(found.missing_indexes[0].index, "notes_by_body");
}

#[tokio::test]
async fn the_doctor_takes_a_partition_for_a_part_of_its_table() {
    let parted = "CREATE TABLE IF NOT EXISTS parted (at date NOT NULL) PARTITION BY RANGE (at);
                  CREATE INDEX IF NOT EXISTS parted_by_at ON parted (at);";
    let schemas = vec![SchemaDefinition::inline("parted", parted)];
    let modules = [Module { id: "parted".into(), schemas, ..Module::default() }];
    let database = database(&modules).await;
    run(&database, "CREATE TABLE parted_2026 PARTITION OF parted FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')")
        .await;
    let found = doctor(&database.pool, &modules, &options()).await.unwrap();
    assert!(found.is_healthy(), "{found:?}");
}
