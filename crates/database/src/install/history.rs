//! The history of migrations: reading it, and the repairs an operator may make.
//!
//! It is here and not with the command line, because it reads the same plan and state an installation does. Whoever
//! changes something takes the installation lock first.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::{Connection as _, Executor as _};

use super::apply::{record_stamped, run_migration_in_transaction, statement};
use super::error::InstallError;
use super::options::InstallOptions;
use super::plan::{ModulePlan, Plan};
use super::problem::Problem;
use super::session::Session;
use super::state::{Applied, BOOKKEEPING, State};
use crate::connect::Database;
use crate::schema::Module;

/// Why the history could not be read or mended.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HistoryError {
    /// Nothing is known of an extension with this id.
    #[error("there is no extension `{extension}`")]
    UnknownExtension {
        /// What was asked for.
        extension: String,
        /// The ids there are.
        known: Vec<String>,
    },
    /// The extension defines no such migration.
    #[error("`{extension}` has no migration {version}")]
    UnknownMigration {
        /// The extension.
        extension: String,
        /// The version.
        version: u32,
    },
    /// The migration is in the history already.
    #[error("migration {version} of `{extension}` is recorded already")]
    AlreadyApplied {
        /// The extension.
        extension: String,
        /// The version.
        version: u32,
    },
    /// There is no way back.
    #[error("migration {version} of `{extension}` cannot be taken back: it has no down SQL in this binary")]
    NotReversible {
        /// The extension.
        extension: String,
        /// The version.
        version: u32,
    },
    /// The modules are broken, or the database failed.
    #[error(transparent)]
    Install(#[from] InstallError),
}

/// Whether a command only says what it would do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Run {
    /// Say it.
    Plan,
    /// Do it.
    Apply,
}

/// `migrate-status`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MigrationStatus {
    /// Each loaded extension, in load order.
    pub extensions: Vec<ExtensionStatus>,
    /// Extensions the database has migrations of although they are not loaded.
    pub not_loaded: Vec<String>,
}

/// The migrations of one extension.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ExtensionStatus {
    /// The extension's id.
    pub extension: String,
    /// What is recorded, ascending.
    pub applied: Vec<MigrationRow>,
    /// What is waiting, ascending.
    pub pending: Vec<PlannedMigration>,
    /// Applied migrations whose text has changed.
    pub drifted: Vec<Drift>,
    /// Applied migrations that are no longer defined.
    pub orphaned: Vec<MigrationRow>,
}

/// A recorded migration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MigrationRow {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// The checksum of the text that ran.
    pub checksum: String,
    /// When it was recorded.
    pub applied_at: DateTime<Utc>,
    /// How long it took, in milliseconds.
    pub duration_ms: i64,
    /// The version of the binary that recorded it.
    pub applied_by: String,
    /// Recorded without running.
    pub stamped: bool,
}

/// A migration that is waiting.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PlannedMigration {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// What `migrate` will do.
    pub action: PlannedAction,
    /// Whether it runs in one transaction.
    pub transactional: bool,
    /// How many statements it has.
    pub statements: usize,
}

/// What `migrate` does with a pending migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedAction {
    /// Runs it.
    Run,
    /// Records it: the schema of a fresh database already contains it.
    Stamp,
}

/// An applied migration whose text has changed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Drift {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// The checksum of the text that ran.
    pub stored: String,
    /// The checksum of the text in this binary.
    pub current: String,
}

/// `migrate-plan`.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct MigrationPlan {
    /// Each loaded extension with something to do, in load order.
    pub extensions: Vec<ExtensionPlan>,
    /// Why `migrate` would refuse.
    pub problems: Vec<Problem>,
}

/// What `migrate` would do for one extension.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ExtensionPlan {
    /// The extension's id.
    pub extension: String,
    /// Nothing of it exists yet.
    pub fresh: bool,
    /// The declarative schema has changed, or was never applied.
    pub schema_changed: bool,
    /// Migrations, ascending.
    pub migrations: Vec<PlannedMigration>,
}

/// How to repair drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RepairMode {
    /// Run the changed migration again and store its new checksum in the same transaction.
    Reexecute,
    /// Store the new checksum only.
    Reconcile,
}

/// A repaired migration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Repair {
    /// The extension's id.
    pub extension: String,
    /// What had drifted.
    #[serde(flatten)]
    pub drift: Drift,
    /// What is done about it.
    pub action: RepairAction,
    /// Whether it was done.
    pub applied: bool,
}

/// What is done about a drifted migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RepairAction {
    /// Run it again, store its checksum.
    Reexecute,
    /// Store its checksum.
    Reconcile,
    /// It runs outside a transaction, so running it again is not safe; reconcile it, or write a new migration.
    Skip,
}

/// A migration that was taken back.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Reverted {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// Whether it was done.
    pub applied: bool,
}

/// What is recorded of an extension.
#[derive(Debug, Default, serde::Serialize)]
pub struct Recorded {
    /// The digest of its declared schema.
    pub schema: Option<String>,
    /// The checksums of its migrations, by their versions.
    pub migrations: BTreeMap<u32, String>,
}

/// What is applied, pending, drifted and orphaned, for one extension or all.
pub async fn status(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
    extension: Option<&str>,
) -> Result<MigrationStatus, HistoryError> {
    let (plan, _) = Plan::read_anyway(modules, options.system_dir.as_deref());
    check_extension(modules, extension)?;
    let state = read_state(database).await?;
    let extensions = selected(&plan, extension)
        .map(|module| ExtensionStatus {
            extension: module.module.id.clone(),
            applied: state.applied.get(&module.module.id).into_iter().flatten().map(|(_, row)| row.into()).collect(),
            pending: planned(&state, module),
            drifted: drift(&state, module),
            orphaned: state.orphaned(module).into_iter().map(MigrationRow::from).collect(),
        })
        .collect();
    let mut not_loaded: Vec<String> =
        state.applied.keys().filter(|id| !modules.iter().any(|module| module.id == **id)).cloned().collect();
    not_loaded.sort();
    Ok(MigrationStatus { extensions, not_loaded })
}

/// What `migrate` would do, without doing it.
pub async fn plan(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
    extension: Option<&str>,
) -> Result<MigrationPlan, HistoryError> {
    check_extension(modules, extension)?;
    let (plan, mut problems) = Plan::read_anyway(modules, options.system_dir.as_deref());
    let state = read_state(database).await?;
    problems.extend(state.problems(&plan));
    if let Some(extension) = extension {
        problems.retain(|problem| problem.extension() == extension);
    }
    let extensions = selected(&plan, extension)
        .map(|module| ExtensionPlan {
            extension: module.module.id.clone(),
            fresh: state.is_fresh(module),
            schema_changed: !state.has_digest(module),
            migrations: planned(&state, module),
        })
        .filter(|plan| plan.schema_changed || !plan.migrations.is_empty())
        .collect();
    Ok(MigrationPlan { extensions, problems })
}

/// What is recorded for an extension, oldest first. It need not be loaded.
pub async fn history(database: &Database, extension: &str) -> Result<Vec<MigrationRow>, HistoryError> {
    let mut state = read_state(database).await?;
    let Some(rows) = state.applied.remove(extension) else {
        let known = state.applied.into_keys().collect();
        return Err(HistoryError::UnknownExtension { extension: extension.to_owned(), known });
    };
    let mut rows: Vec<MigrationRow> = rows.values().map(MigrationRow::from).collect();
    rows.sort_by_key(|row| (row.applied_at, row.version));
    Ok(rows)
}

/// What is recorded of every extension that was ever installed.
pub async fn recorded(database: &Database) -> Result<BTreeMap<String, Recorded>, HistoryError> {
    let state = read_state(database).await?;
    let mut recorded: BTreeMap<String, Recorded> = BTreeMap::new();
    for (extension, (digest, _)) in state.digests {
        recorded.entry(extension).or_default().schema = Some(digest);
    }
    for (extension, rows) in state.applied {
        recorded.entry(extension).or_default().migrations =
            rows.into_iter().map(|(version, row)| (version, row.checksum)).collect();
    }
    Ok(recorded)
}

/// Repairs applied migrations whose text has changed.
pub async fn repair(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
    extension: Option<&str>,
    mode: RepairMode,
    run: Run,
) -> Result<Vec<Repair>, HistoryError> {
    check_extension(modules, extension)?;
    let plan = Plan::read(modules, options.system_dir.as_deref()).map_err(InstallError::Refused)?;
    let mut session = Session::open(database).await?;
    if run == Run::Apply {
        session.lock().await?;
    }
    let state = State::read(&mut session.connection).await?;
    let mut repairs = Vec::new();
    for module in selected(&plan, extension) {
        let id = &module.module.id;
        for drift in drift(&state, module) {
            let migration = module
                .migrations
                .iter()
                .find(|plan| plan.migration.version == drift.version)
                .expect("drift is computed from defined migrations");
            let action = match mode {
                RepairMode::Reconcile => RepairAction::Reconcile,
                RepairMode::Reexecute if migration.migration.no_transaction => RepairAction::Skip,
                RepairMode::Reexecute => RepairAction::Reexecute,
            };
            let applied = run == Run::Apply && action != RepairAction::Skip;
            if applied {
                match action {
                    RepairAction::Reexecute => {
                        run_migration_in_transaction(&mut session.connection, id, migration, &options.applied_by)
                            .await?;
                    }
                    RepairAction::Reconcile => store_checksum(&mut session, id, &drift).await?,
                    RepairAction::Skip => {}
                }
            }
            repairs.push(Repair { extension: id.clone(), drift, action, applied });
        }
    }
    session.close().await;
    Ok(repairs)
}

/// Takes back the newest `count` migrations of an extension, newest first, one transaction each.
pub async fn down(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
    extension: &str,
    count: usize,
    run: Run,
) -> Result<Vec<Reverted>, HistoryError> {
    check_extension(modules, Some(extension))?;
    let plan = Plan::read(modules, options.system_dir.as_deref()).map_err(InstallError::Refused)?;
    let mut session = Session::open(database).await?;
    if run == Run::Apply {
        session.lock().await?;
    }
    let state = State::read(&mut session.connection).await?;
    let module = selected(&plan, Some(extension)).next().expect("checked above");
    let newest: Vec<&Applied> =
        state.applied.get(extension).into_iter().flat_map(|rows| rows.values().rev()).take(count).collect();
    // All of them must be reversible before the first is taken back.
    let mut ways_back = Vec::new();
    for row in newest {
        let version = row.version as u32;
        let down = module
            .migrations
            .iter()
            .find(|plan| plan.migration.version == version)
            .and_then(|plan| Some((plan, plan.down.as_ref()?)));
        let Some((migration, steps)) = down else {
            return Err(HistoryError::NotReversible { extension: extension.to_owned(), version });
        };
        ways_back.push((migration, steps));
    }
    let mut reverted = Vec::new();
    for (migration, steps) in ways_back {
        let version = migration.migration.version;
        let name = migration.migration.name.to_owned();
        if run == Run::Apply {
            let doing = InstallError::while_doing("taking back a migration");
            let mut transaction = session.connection.begin().await.map_err(&doing)?;
            for (index, step) in steps.iter().enumerate() {
                transaction.execute(statement(step)).await.map_err(|source| InstallError::Migration {
                    extension: extension.to_owned(),
                    version,
                    name: name.clone(),
                    statement: index + 1,
                    location: step.location(Some(&source)),
                    source: Box::new(source),
                })?;
            }
            sqlx::query("DELETE FROM public.extension_migrations WHERE extension_id = $1 AND version = $2")
                .bind(extension)
                .bind(version as i32)
                .execute(&mut *transaction)
                .await
                .map_err(&doing)?;
            transaction.commit().await.map_err(&doing)?;
        }
        reverted.push(Reverted { version, name, applied: run == Run::Apply });
    }
    session.close().await;
    Ok(reverted)
}

/// Records a migration as applied without running it.
pub async fn mark_applied(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
    extension: &str,
    version: u32,
) -> Result<MigrationRow, HistoryError> {
    check_extension(modules, Some(extension))?;
    let migration = modules
        .iter()
        .filter(|module| module.id == extension)
        .flat_map(|module| &module.migrations)
        .find(|migration| migration.version == version)
        .ok_or_else(|| HistoryError::UnknownMigration { extension: extension.to_owned(), version })?;
    let mut session = Session::open(database).await?;
    session.lock().await?;
    let state = State::read(&mut session.connection).await?;
    if state.row(extension, version).is_some() {
        return Err(HistoryError::AlreadyApplied { extension: extension.to_owned(), version });
    }
    session
        .connection
        .execute(BOOKKEEPING)
        .await
        .map_err(InstallError::while_doing("preparing the installation's own tables"))?;
    record_stamped(&mut session.connection, extension, &[migration], &options.applied_by).await?;
    let state = State::read(&mut session.connection).await?;
    session.close().await;
    let row = state.row(extension, version);
    Ok(row.expect("recorded a moment ago, under the lock").into())
}

impl From<&Applied> for MigrationRow {
    fn from(row: &Applied) -> Self {
        Self {
            version: row.version as u32,
            name: row.name.clone(),
            checksum: row.checksum.clone(),
            applied_at: row.applied_at,
            duration_ms: row.duration_ms,
            applied_by: row.applied_by.clone(),
            stamped: row.stamped,
        }
    }
}

async fn read_state(database: &Database) -> Result<State, InstallError> {
    let mut connection =
        database.write().acquire().await.map_err(InstallError::while_doing("reading the migration history"))?;
    State::read(&mut connection).await
}

fn check_extension(modules: &[Module], extension: Option<&str>) -> Result<(), HistoryError> {
    match extension {
        Some(extension) if !modules.iter().any(|module| module.id == extension) => {
            Err(HistoryError::UnknownExtension {
                extension: extension.to_owned(),
                known: modules.iter().map(|module| module.id.clone()).collect(),
            })
        }
        _ => Ok(()),
    }
}

fn selected<'p, 'm>(plan: &'p Plan<'m>, extension: Option<&str>) -> impl Iterator<Item = &'p ModulePlan<'m>> {
    plan.modules.iter().filter(move |module| extension.is_none_or(|id| module.module.id == id))
}

fn planned(state: &State, module: &ModulePlan<'_>) -> Vec<PlannedMigration> {
    let fresh = state.is_fresh(module);
    let id = &module.module.id;
    let pending = module.migrations.iter().filter(|plan| state.row(id, plan.migration.version).is_none());
    pending
        .map(|plan| PlannedMigration {
            version: plan.migration.version,
            name: plan.migration.name.to_owned(),
            action: if fresh && !plan.migration.is_data() { PlannedAction::Stamp } else { PlannedAction::Run },
            transactional: !plan.migration.no_transaction,
            statements: plan.steps.len(),
        })
        .collect()
}

fn drift(state: &State, module: &ModulePlan<'_>) -> Vec<Drift> {
    let changed = module.migrations.iter().filter_map(|plan| {
        let row = state.row(&module.module.id, plan.migration.version)?;
        let current = plan.migration.checksum();
        (row.checksum != current).then(|| Drift {
            version: plan.migration.version,
            name: plan.migration.name.to_owned(),
            stored: row.checksum.clone(),
            current,
        })
    });
    changed.collect()
}

async fn store_checksum(session: &mut Session, extension: &str, drift: &Drift) -> Result<(), InstallError> {
    sqlx::query(
        "UPDATE public.extension_migrations
            SET checksum = $3, name = $4
          WHERE extension_id = $1 AND version = $2",
    )
    .bind(extension)
    .bind(drift.version as i32)
    .bind(&drift.current)
    .bind(&drift.name)
    .execute(&mut session.connection)
    .await
    .map_err(InstallError::while_doing("storing a checksum"))?;
    Ok(())
}
