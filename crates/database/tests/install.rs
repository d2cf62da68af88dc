//! The installation algorithm on a real database, told as what an operator lives through.
#![expect(clippy::unwrap_used, reason = "what helps a test fails like the test")]

use systemprompt_database::install::Problem;
use systemprompt_database::testing::{TestDatabase, empty_database};
use systemprompt_database::{
    Database, InstallError, InstallMode, InstallOptions, InstallReport, Migration, Module, SchemaDefinition, Seed,
    install,
};

const NOTES: &str = "
CREATE TABLE IF NOT EXISTS notes (
    id bigint PRIMARY KEY,
    body text NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS notes_by_body ON notes (body);
CREATE OR REPLACE TRIGGER notes_touch BEFORE UPDATE ON notes
    FOR EACH ROW EXECUTE FUNCTION update_timestamp_trigger();
";

const NOTES_WITH_AUTHOR: &str = "
CREATE TABLE IF NOT EXISTS notes (
    id bigint PRIMARY KEY,
    body text NOT NULL,
    author text,
    updated_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS notes_by_author ON notes (author);
CREATE OR REPLACE VIEW authors AS SELECT DISTINCT author FROM notes;
";

fn module(id: &str) -> Module {
    Module { id: id.into(), required: true, ..Module::default() }
}

fn notes(sql: &str, migrations: Vec<Migration>) -> Module {
    Module { schemas: vec![SchemaDefinition::inline("notes", sql)], migrations, ..module("notes") }
}

fn options() -> InstallOptions {
    InstallOptions { applied_by: "1.0.0".into(), ..InstallOptions::default() }
}

async fn run(database: &TestDatabase, modules: &[Module]) -> Result<InstallReport, InstallError> {
    install(&database.pool, modules, &options()).await
}

async fn scalar<T>(database: &TestDatabase, sql: &'static str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres> + Send + Unpin,
{
    sqlx::query_scalar(sql).fetch_one(database.pool.write()).await.unwrap()
}

async fn history(database: &TestDatabase) -> Vec<(String, bool)> {
    sqlx::query_as("SELECT id, stamped FROM extension_migrations ORDER BY id")
        .fetch_all(database.pool.read())
        .await
        .unwrap()
}

fn problems(outcome: Result<InstallReport, InstallError>) -> Vec<Problem> {
    match outcome {
        Err(InstallError::Refused(problems)) => problems,
        other => panic!("expected to be refused: {other:?}"),
    }
}

#[tokio::test]
async fn a_fresh_database_gets_the_schema_and_its_migrations_are_only_recorded() {
    let database = empty_database().await;
    let add_author = Migration::new(1, "add_author", "ALTER TABLE notes ADD COLUMN author text");
    let welcome = Migration::new(2, "welcome", "-- @data\nINSERT INTO notes (id, body) VALUES (1, 'welcome')");
    let modules = [Module {
        seeds: vec![Seed::new("tip", "INSERT INTO notes (id, body) VALUES (2, 'tip') ON CONFLICT DO NOTHING")],
        ..notes(NOTES_WITH_AUTHOR, vec![add_author, welcome])
    }];

    let report = run(&database, &modules).await.unwrap();
    assert!(report.modules[0].fresh);
    assert_eq!((report.modules[0].stamped.clone(), report.modules[0].applied[0].version), (vec![1], 2));
    assert_eq!(history(&database).await, [("notes_001".into(), true), ("notes_002".into(), false)]);
    assert_eq!(scalar::<i64>(&database, "SELECT count(*) FROM notes").await, 2);

    let again = run(&database, &modules).await.unwrap();
    assert_eq!((again.migrations(), again.modules[0].schema_statements, again.modules[0].fresh), (0, 0, false));
    assert_eq!(scalar::<i64>(&database, "SELECT count(*) FROM notes").await, 2);
}

#[tokio::test]
async fn an_old_database_gets_the_column_before_the_index_on_it() {
    let database = empty_database().await;
    run(&database, &[notes(NOTES, vec![])]).await.unwrap();
    let migration = Migration::new(1, "add_author", "ALTER TABLE notes ADD COLUMN author text");
    let report = run(&database, &[notes(NOTES_WITH_AUTHOR, vec![migration])]).await.unwrap();
    assert_eq!(report.modules[0].applied[0].name, "add_author");
    assert!(scalar::<bool>(&database, "SELECT to_regclass('notes_by_author') IS NOT NULL").await);
    assert!(scalar::<bool>(&database, "SELECT to_regclass('authors') IS NOT NULL").await);
    let by: String = scalar(&database, "SELECT applied_by FROM extension_migrations").await;
    assert_eq!(by, "1.0.0");
}

#[tokio::test]
async fn a_module_without_tables_does_not_skip_its_first_migration() {
    let database = empty_database().await;
    run(&database, &[module("helpers")]).await.unwrap();
    let migration = Migration::new(1, "make", "CREATE TABLE made (id int)");
    let report = run(&database, &[Module { migrations: vec![migration], ..module("helpers") }]).await.unwrap();
    assert_eq!(report.modules[0].applied.len(), 1);
}

#[tokio::test]
async fn tables_without_a_history_are_migrated_with_a_warning() {
    let database = empty_database().await;
    sqlx::raw_sql(NOTES.split(';').next().unwrap()).execute(database.pool.write()).await.unwrap();
    let migration = Migration::new(1, "add_author", "ALTER TABLE notes ADD COLUMN author text");
    let report = run(&database, &[notes(NOTES_WITH_AUTHOR, vec![migration])]).await.unwrap();
    assert_eq!((report.modules[0].applied.len(), report.warnings.len()), (1, 1), "{report:?}");
}

#[tokio::test]
async fn a_changed_migration_is_refused_unless_allowed() {
    let database = empty_database().await;
    run(&database, &[notes(NOTES, vec![Migration::new(1, "one", "SELECT 1")])]).await.unwrap();
    let changed = [notes(NOTES, vec![Migration::new(1, "one", "SELECT 2")])];
    let refused = problems(run(&database, &changed).await);
    assert!(
        matches!(&refused[..], [Problem::ChecksumDrift { version: 1, stored, .. }] if stored.starts_with("sha256:"))
    );
    assert!(refused[0].hint().unwrap().contains("migrate-repair"));
    let allowed = InstallOptions { allow_checksum_drift: true, ..options() };
    assert_eq!(install(&database.pool, &changed, &allowed).await.unwrap().warnings.len(), 1);
}

#[tokio::test]
async fn a_migration_added_below_an_applied_one_is_refused_unless_allowed() {
    let database = empty_database().await;
    let two = Migration::new(2, "two", "SELECT 2");
    run(&database, &[notes(NOTES, vec![two])]).await.unwrap();
    let late = [notes(NOTES, vec![Migration::new(1, "late", "SELECT 1"), two])];
    assert!(matches!(
        &problems(run(&database, &late).await)[..],
        [Problem::OutOfOrderMigration { version: 1, highest: 2, .. }]
    ));
    let allowed = InstallOptions { allow_out_of_order: true, ..options() };
    assert_eq!(install(&database.pool, &late, &allowed).await.unwrap().modules[0].applied[0].version, 1);
}

#[tokio::test]
async fn a_database_newer_than_the_binary_is_refused_unless_its_migrations_are_compatible() {
    let database = empty_database().await;
    let old = [notes(NOTES, vec![])];
    run(&database, &[notes(NOTES, vec![Migration::new(1, "one", "-- @compatible\nSELECT 1")])]).await.unwrap();
    let report = run(&database, &old).await.unwrap();
    assert!(report.warnings[0].contains("no longer defined"), "{report:?}");

    run(
        &database,
        &[notes(
            NOTES,
            vec![Migration::new(1, "one", "-- @compatible\nSELECT 1"), Migration::new(2, "two", "SELECT 2")],
        )],
    )
    .await
    .unwrap();
    assert!(matches!(&problems(run(&database, &old).await)[..], [Problem::NewerDatabase { version: 2, .. }]));
}

#[tokio::test]
async fn a_failing_migration_leaves_nothing_and_says_where() {
    let database = empty_database().await;
    run(&database, &[notes(NOTES, vec![])]).await.unwrap();
    let sql = "ALTER TABLE notes ADD COLUMN author text;\n\nUPDATE notes SET nonsense = 1;";
    let error = run(&database, &[notes(NOTES, vec![Migration::new(1, "bad", sql)])]).await.unwrap_err();
    let InstallError::Migration { statement, location, .. } = &error else { panic!("{error:?}") };
    assert_eq!((*statement, location.as_str()), (2, "notes/schema/migrations/001_bad.sql:3:18"));
    let columns =
        "SELECT count(*) FROM information_schema.columns WHERE table_name = 'notes' AND column_name = 'author'";
    assert_eq!(scalar::<i64>(&database, columns).await, 0);
    assert!(history(&database).await.is_empty());
}

#[tokio::test]
async fn a_migration_outside_a_transaction_resumes_where_it_failed() {
    let database = empty_database().await;
    run(&database, &[notes(NOTES, vec![])]).await.unwrap();
    sqlx::raw_sql("INSERT INTO notes (id, body) VALUES (1, 'same'), (2, 'same')")
        .execute(database.pool.write())
        .await
        .unwrap();
    let sql = "-- @no-transaction
        CREATE TABLE once (id int);
        CREATE UNIQUE INDEX CONCURRENTLY notes_unique ON notes (body);
        INSERT INTO once VALUES (1);";
    let modules = [notes(NOTES, vec![Migration::new(1, "unique", sql)])];
    let error = run(&database, &modules).await.unwrap_err();
    assert!(matches!(&error, InstallError::Migration { statement: 2, .. }), "{error:?}");
    assert!(
        !scalar::<bool>(&database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'notes_unique'::regclass").await
    );

    sqlx::raw_sql("DELETE FROM notes WHERE id = 2").execute(database.pool.write()).await.unwrap();
    run(&database, &modules).await.unwrap();
    assert!(
        scalar::<bool>(&database, "SELECT indisvalid FROM pg_index WHERE indexrelid = 'notes_unique'::regclass").await
    );
    assert_eq!(scalar::<i64>(&database, "SELECT count(*) FROM once").await, 1);
    assert_eq!(scalar::<i64>(&database, "SELECT count(*) FROM extension_migration_progress").await, 0);
}

#[tokio::test]
async fn two_processes_on_an_empty_database_record_everything_once() {
    let database = empty_database().await;
    let data = Migration::new(2, "welcome", "-- @data\nINSERT INTO notes (id, body) VALUES (1, 'welcome')");
    let modules = [notes(NOTES, vec![Migration::new(1, "one", "SELECT 1"), data])];
    let other = Database::connect(&database.connect_options()).await.unwrap();
    let options = options();
    let (first, second) =
        tokio::join!(install(&database.pool, &modules, &options), install(&other, &modules, &options));
    assert_eq!(first.unwrap().migrations() + second.unwrap().migrations(), 2);
    assert_eq!(scalar::<i64>(&database, "SELECT count(*) FROM notes").await, 1);
}

#[tokio::test]
async fn an_interrupted_first_installation_is_still_the_first() {
    let database = empty_database().await;
    let first =
        || notes(NOTES_WITH_AUTHOR, vec![Migration::new(1, "add_author", "ALTER TABLE notes ADD COLUMN author text")]);
    let broken = Module {
        schemas: vec![SchemaDefinition::inline("later", "CREATE TABLE IF NOT EXISTS later (id no_such_type)")],
        ..module("later")
    };
    let error = run(&database, &[first(), broken]).await.unwrap_err();
    let InstallError::Schema { location, .. } = &error else { panic!("{error:?}") };
    assert_eq!(location, "later/schema/later.sql:1:38");
    let index = [notes("CREATE TABLE IF NOT EXISTS a (id int); CREATE INDEX i ON a (missing)", vec![])];
    let error = run(&empty_database().await, &index).await.unwrap_err();
    let InstallError::Schema { location, source, .. } = &error else { panic!("{error:?}") };
    assert_eq!(location, "notes/schema/notes.sql:1:40");
    assert!(source.to_string().contains("column \"missing\" does not exist"), "{source}");
    assert!(scalar::<bool>(&database, "SELECT to_regclass('notes') IS NOT NULL").await);

    let report = run(&database, &[first()]).await.unwrap();
    assert_eq!((report.modules[0].fresh, report.modules[0].stamped.clone()), (true, vec![1]));
}

#[tokio::test]
async fn objects_that_are_not_replaced_by_name_follow_the_declaration() {
    let database = empty_database().await;
    let declare = |comment: &str| {
        let sql = format!(
            "CREATE TYPE mood AS ENUM ('good', 'bad');
             CREATE TABLE IF NOT EXISTS moods (id int, mood mood);
             DROP INDEX IF EXISTS one; DROP INDEX IF EXISTS two;
             CREATE INDEX one ON moods (id); CREATE INDEX two ON moods (mood);
             COMMENT ON TABLE moods IS '{comment}';"
        );
        [Module { schemas: vec![SchemaDefinition::inline("moods", sql).with_schema("mine")], ..module("moods") }]
    };
    run(&database, &declare("first")).await.unwrap();
    assert_eq!(run(&database, &declare("first")).await.unwrap().modules[0].schema_statements, 0);
    run(&database, &declare("second")).await.unwrap();
    assert!(
        scalar::<bool>(&database, "SELECT to_regclass('mine.one') IS NOT NULL AND to_regclass('mine.two') IS NOT NULL")
            .await
    );
    let comment: String = scalar(&database, "SELECT obj_description('mine.moods'::regclass)").await;
    assert_eq!(comment, "second");

    sqlx::raw_sql("DROP INDEX mine.two").execute(database.pool.write()).await.unwrap();
    assert_eq!(run(&database, &declare("second")).await.unwrap().modules[0].schema_statements, 1);
}

#[tokio::test]
async fn required_columns_are_looked_for_in_the_live_database() {
    let database = empty_database().await;
    sqlx::raw_sql("CREATE TABLE notes (id bigint)").execute(database.pool.write()).await.unwrap();
    let definition = SchemaDefinition::inline("notes", NOTES.split(';').next().unwrap())
        .with_required_columns(vec!["id".into(), "body".into()]);
    let error = run(&database, &[Module { schemas: vec![definition], ..module("notes") }]).await.unwrap_err();
    let InstallError::MissingColumns(missing) = &error else { panic!("{error:?}") };
    assert_eq!(missing, &[("notes".to_owned(), "public.notes.body".to_owned())]);
}

#[tokio::test]
async fn verifying_changes_nothing() {
    let database = empty_database().await;
    let verify = InstallOptions { mode: InstallMode::Verify, ..options() };
    let old = [notes(NOTES, vec![])];
    assert!(matches!(&problems(install(&database.pool, &old, &verify).await)[..], [Problem::Outdated { .. }]));
    assert_eq!(
        scalar::<i64>(&database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace").await,
        0
    );
    run(&database, &old).await.unwrap();
    install(&database.pool, &old, &verify).await.unwrap();
    let new = [notes(NOTES, vec![Migration::new(1, "one", "SELECT 1")])];
    let pending = problems(install(&database.pool, &new, &verify).await);
    assert!(pending[0].to_string().contains("pending migrations 1"), "{pending:?}");
}

#[tokio::test]
async fn schema_files_are_read_below_the_system_directory_only() {
    let database = empty_database().await;
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("notes.sql"), NOTES).unwrap();
    let with_system_dir = InstallOptions { system_dir: Some(directory.path().to_owned()), ..options() };
    let file = |path: &str| [Module { schemas: vec![SchemaDefinition::file("notes", path)], ..module("notes") }];
    install(&database.pool, &file("notes.sql"), &with_system_dir).await.unwrap();
    for outside in ["../notes.sql", "/etc/passwd", "missing.sql"] {
        let refused = problems(install(&database.pool, &file(outside), &with_system_dir).await);
        assert!(matches!(&refused[..], [Problem::Schema { .. }]), "{outside}");
    }
}

#[tokio::test]
async fn a_failing_seed_is_named() {
    let database = empty_database().await;
    let seeds = vec![Seed::new("broken", "INSERT INTO notes (id) VALUES (1) ON CONFLICT DO NOTHING")];
    let error = run(&database, &[Module { seeds, ..notes(NOTES, vec![]) }]).await.unwrap_err();
    assert!(matches!(&error, InstallError::Seed { seed, .. } if seed == "broken"), "{error:?}");
}

#[tokio::test]
async fn what_does_not_belong_in_a_schema_is_refused_with_its_place() {
    let database = empty_database().await;
    let refusals = async |sql: &str| -> Vec<String> {
        problems(run(&database, &[notes(sql, vec![])]).await).iter().map(ToString::to_string).collect()
    };
    for (sql, expected) in [
        ("ALTER TABLE notes ADD x int", "notes/schema/notes.sql:1:1: `ALTER TABLE` is not declarative"),
        ("\n  DROP TABLE notes", "notes/schema/notes.sql:2:3: `DROP TABLE` is not declarative"),
        ("INSERT INTO notes VALUES (1)", "`INSERT` is not declarative"),
        ("SELECT 1", "`SELECT` is not declarative"),
        ("GRANT ALL ON notes TO public", "`GRANT ALL` is not declarative"),
        ("DO $$ BEGIN END $$", "`DO` is not declarative"),
        ("BEGIN", "`BEGIN` is not declarative"),
        ("CREATE INDEX CONCURRENTLY i ON a (b)", "belongs in a migration"),
        ("CREATE INDEX ON a (b)", "an index without a name"),
        ("CREATE TABLE a (b text DEFAULT 'never ends", "notes/schema/notes.sql:1:"),
    ] {
        let found = refusals(sql).await;
        assert!(found.len() == 1 && found[0].contains(expected), "{sql}: {found:?}");
    }
    assert_eq!(refusals("SELECT 1; DELETE FROM a; TRUNCATE b").await.len(), 3);
    let label = SchemaDefinition::inline("indexes", "CREATE INDEX i ON a (b)").with_required_columns(vec!["b".into()]);
    let found = problems(run(&database, &[Module { schemas: vec![label], ..module("notes") }]).await);
    assert!(found[0].to_string().contains("does not create as a table"), "{found:?}");
    assert_eq!(
        scalar::<i64>(&database, "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace").await,
        0
    );
}

#[tokio::test]
async fn malformed_migrations_and_seeds_are_refused() {
    let database = empty_database().await;
    let migration = |sql| problems_of_migration(&database, vec![Migration::new(1, "one", sql)]);
    assert!(migration("BEGIN; COMMIT").await.len() == 2);
    assert!(migration("CREATE INDEX CONCURRENTLY i ON notes (body)").await[0].contains("-- @no-transaction"));
    let twice = vec![Migration::new(1, "one", "SELECT 1"), Migration::new(1, "again", "SELECT 1")];
    assert!(problems_of_migration(&database, twice).await[0].contains("taken by `one`"));

    let seed = async |sql: &'static str| {
        let module = Module { seeds: vec![Seed::new("seed", sql)], ..notes(NOTES, vec![]) };
        problems(run(&database, &[module]).await).remove(0)
    };
    for sql in [
        "DELETE FROM notes",
        "SELECT 1",
        "CREATE TABLE a (b int)",
        "WITH x AS (DELETE FROM notes RETURNING 1) UPDATE notes SET body = ''",
    ] {
        assert!(matches!(seed(sql).await, Problem::InvalidSeedStatement { .. }), "{sql}");
    }
    assert!(matches!(
        seed("INSERT INTO notes VALUES (1, 'on conflict')").await,
        Problem::SeedInsertNotIdempotent { .. }
    ));
}

async fn problems_of_migration(database: &TestDatabase, migrations: Vec<Migration>) -> Vec<String> {
    problems(run(database, &[notes(NOTES, migrations)]).await).iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn tables_have_one_owner_and_others_ask() {
    let database = empty_database().await;
    let other = |cross: &[&str], dependencies: &[&str], sql: &'static str| Module {
        migrations: vec![Migration::new(1, "touch", sql)],
        cross_tables: cross.iter().map(ToString::to_string).collect(),
        dependencies: dependencies.iter().map(ToString::to_string).collect(),
        ..module("other")
    };
    let check = async |module: Module| problems(run(&database, &[notes(NOTES, vec![]), module]).await).remove(0);

    let duplicate = Module { schemas: vec![SchemaDefinition::inline("notes", NOTES)], ..module("other") };
    assert!(
        matches!(check(duplicate).await, Problem::DuplicateTableOwner { extension_a, .. } if extension_a == "notes")
    );
    for sql in [
        "ALTER TABLE notes ADD x int",
        "DELETE FROM public.notes",
        "CREATE INDEX i ON notes (body)",
        "WITH x AS (INSERT INTO notes VALUES (1) RETURNING 1) SELECT 1 FROM x",
    ] {
        assert!(
            matches!(check(other(&[], &["notes"], sql)).await, Problem::CrossExtensionAlterUndeclared { .. }),
            "{sql}"
        );
    }
    let undeclared = check(other(&["notes"], &[], "ALTER TABLE notes ADD x int")).await;
    assert!(matches!(undeclared, Problem::CrossExtensionOwnerNotDependency { owner, .. } if owner == "notes"));
    let unowned = check(other(&["nobodys"], &["notes"], "SELECT 1")).await;
    assert!(matches!(unowned, Problem::CrossExtensionTableNotOwned { .. }));

    let polite = other(&["notes"], &["notes"], "-- @data\nALTER TABLE notes ADD x int");
    run(&database, &[notes(NOTES, vec![]), polite]).await.unwrap();
}
