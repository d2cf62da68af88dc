//! The history of migrations, and what an operator may do to it.
#![expect(clippy::unwrap_used, reason = "what helps a test fails like the test")]

use systemprompt_database::install::history::{self, HistoryError, PlannedAction, RepairMode, Run};
use systemprompt_database::testing::empty_database;
use systemprompt_database::{Database, InstallOptions, Migration, Module, SchemaDefinition, install};

const NOTES: &str = "
CREATE TABLE IF NOT EXISTS notes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    body text NOT NULL DEFAULT 'empty',
    parent bigint REFERENCES notes (id)
);
";

fn notes(migrations: Vec<Migration>) -> Vec<Module> {
    let schemas = vec![SchemaDefinition::inline("notes", NOTES)];
    vec![Module { id: "notes".into(), required: true, schemas, migrations, ..Module::default() }]
}

fn options() -> InstallOptions {
    InstallOptions::default()
}

async fn columns(database: &Database) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM information_schema.columns WHERE table_name = 'notes'")
        .fetch_one(database.write())
        .await
        .unwrap()
}

#[tokio::test]
async fn migrations_are_planned_repaired_marked_and_taken_back() {
    let database = empty_database().await;
    let pool = &database.pool;
    let one = Migration::with_down(1, "one", "ALTER TABLE notes ADD x int", "ALTER TABLE notes DROP x");
    let planned = history::plan(pool, &notes(vec![one]), &options(), None).await.unwrap();
    assert!(planned.extensions[0].fresh);
    assert_eq!(planned.extensions[0].migrations[0].action, PlannedAction::Stamp);
    install(pool, &notes(vec![]), &options()).await.unwrap();
    let planned = history::plan(pool, &notes(vec![one]), &options(), Some("notes")).await.unwrap();
    assert_eq!(planned.extensions[0].migrations[0].action, PlannedAction::Run);
    install(pool, &notes(vec![one]), &options()).await.unwrap();
    assert!(history::plan(pool, &notes(vec![one]), &options(), None).await.unwrap().extensions.is_empty());

    let taken_back = history::down(pool, &notes(vec![one]), &options(), "notes", 5, Run::Plan).await.unwrap();
    assert!(!taken_back[0].applied);
    history::down(pool, &notes(vec![one]), &options(), "notes", 1, Run::Apply).await.unwrap();
    assert_eq!(columns(pool).await, 3);
    let marked = history::mark_applied(pool, &notes(vec![one]), &options(), "notes", 1).await.unwrap();
    assert!(marked.stamped);
    assert!(matches!(
        history::mark_applied(pool, &notes(vec![one]), &options(), "notes", 1).await,
        Err(HistoryError::AlreadyApplied { .. })
    ));

    let changed = notes(vec![Migration::new(1, "one", "ALTER TABLE notes ADD IF NOT EXISTS x text")]);
    assert!(matches!(
        history::down(pool, &changed, &options(), "notes", 1, Run::Apply).await,
        Err(HistoryError::NotReversible { version: 1, .. })
    ));
    let dry = history::repair(pool, &changed, &options(), None, RepairMode::Reexecute, Run::Plan).await.unwrap();
    assert_eq!((dry.len(), dry[0].applied), (1, false));
    assert_eq!(history::status(pool, &changed, &options(), None).await.unwrap().extensions[0].drifted.len(), 1);
    history::repair(pool, &changed, &options(), Some("notes"), RepairMode::Reexecute, Run::Apply).await.unwrap();
    assert_eq!(columns(pool).await, 4);
    let reconciled = notes(vec![one]);
    history::repair(pool, &reconciled, &options(), None, RepairMode::Reconcile, Run::Apply).await.unwrap();
    install(pool, &reconciled, &options()).await.unwrap();

    assert_eq!(history::history(pool, "notes").await.unwrap().len(), 1);
    let unknown = history::status(pool, &notes(vec![]), &options(), Some("note")).await.unwrap_err();
    assert!(matches!(unknown, HistoryError::UnknownExtension { known, .. } if known == ["notes"]));
}
