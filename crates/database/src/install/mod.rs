//! Bringing the live database in line with what the modules declare.
//!
//! 1. Everything is read and checked before anything is written: which statements are declarative, who owns which table,
//!    whether the history allows it. All problems are reported at once.
//! 2. Structural DDL of all modules (tables, types, …) in load order, one transaction per module.
//! 3. Migrations in load order. On a fresh module they are recorded without running, because the declarative schema
//!    already contains them, except those marked `-- @data`.
//! 4. Dependent DDL (indexes, views, functions, triggers, …), which may need columns a migration has just added.
//! 5. Required columns are looked for, then seeds run.
//!
//! One session holds an advisory lock throughout, so that replicas take turns; whoever comes second finds nothing to do.
//! A start that has nothing to do takes no lock on any table: what exists is not created again, and the rest is skipped
//! while the digest of the declarative schema is the one applied last.

mod apply;
pub mod history;
mod plan;
mod problem;
mod session;
mod state;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apply::Applier;
pub use problem::Problem;
pub(crate) use state::BOOKKEEPING;
pub use state::BOOKKEEPING_TABLES;

use crate::connect::Database;
use crate::schema::Module;
use crate::sql::Kind;
use plan::Plan;
use session::Session;
use state::State;

/// Whether installing may change the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InstallMode {
    /// Apply whatever is missing.
    #[default]
    Apply,
    /// Change nothing; whatever is missing is an error. For operators who run `infra db migrate` themselves.
    Verify,
}

/// How to install.
#[derive(Debug, Clone, Default)]
pub struct InstallOptions {
    /// Whether the database may be changed.
    pub mode: InstallMode,
    /// Accept applied migrations whose text has changed since; logged as a warning on every start.
    pub allow_checksum_drift: bool,
    /// Accept a pending migration below the highest applied one.
    pub allow_out_of_order: bool,
    /// The profile's `paths.system`, below which [`crate::SchemaSource::File`] is read.
    pub system_dir: Option<PathBuf>,
    /// The binary's version, kept with each migration it applies.
    pub applied_by: String,
}

/// What an installation did.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct InstallReport {
    /// Each module, in load order.
    pub modules: Vec<ModuleReport>,
    /// What should be looked at, in words.
    pub warnings: Vec<String>,
}

/// What an installation did for one module.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct ModuleReport {
    /// The extension's id.
    pub extension: String,
    /// Nothing of it existed before.
    pub fresh: bool,
    /// Structural and dependent statements that ran.
    pub schema_statements: usize,
    /// Migrations that were recorded without running.
    pub stamped: Vec<u32>,
    /// Migrations that ran, in order.
    pub applied: Vec<AppliedMigration>,
    /// Seeds that ran.
    pub seeds: usize,
}

/// A migration that ran.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct AppliedMigration {
    /// Its number.
    pub version: u32,
    /// Its name.
    pub name: String,
    /// How long it took, in milliseconds.
    pub duration_ms: u64,
}

impl InstallReport {
    /// Migrations that ran or were recorded.
    pub fn migrations(&self) -> usize {
        self.modules.iter().map(|module| module.stamped.len() + module.applied.len()).sum()
    }
}

/// Why the database could not be brought in line. Each transaction that failed was rolled back.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InstallError {
    /// Nothing was changed, for these reasons.
    #[error("{}", lines(.0))]
    Refused(Vec<Problem>),
    /// A statement of a declarative schema failed.
    #[error("the schema of `{extension}` could not be installed, at {location}")]
    Schema {
        /// The extension.
        extension: String,
        /// `file:line:column`.
        location: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// A migration failed. In a transaction nothing of it remains; otherwise the statements before it do, and the next
    /// run resumes at it.
    #[error("migration {version} `{name}` of `{extension}` failed in statement {statement}, at {location}")]
    Migration {
        /// The extension.
        extension: String,
        /// The migration.
        version: u32,
        /// Its name.
        name: String,
        /// The failing statement, counted from 1.
        statement: usize,
        /// `file:line:column`.
        location: String,
        /// What the database said.
        #[source]
        source: Box<sqlx::Error>,
    },
    /// Columns the modules rely on do not exist, as `(extension, schema.table.column)`.
    #[error("required columns are missing: {}", columns(.0))]
    MissingColumns(Vec<(String, String)>),
    /// A seed failed.
    #[error("seed `{seed}` of `{extension}` failed, at {location}")]
    Seed {
        /// The extension.
        extension: String,
        /// The seed.
        seed: String,
        /// `file:line:column`.
        location: String,
        /// What the database said.
        #[source]
        source: sqlx::Error,
    },
    /// Another process has been installing for too long.
    #[error("another process has been installing the schema for {} s", waited.as_secs())]
    Busy {
        /// How long we waited.
        waited: Duration,
    },
    /// The database failed outside any module's statement.
    #[error("the database failed while {doing}")]
    Database {
        /// What was being done.
        doing: &'static str,
        /// What it said.
        #[source]
        source: sqlx::Error,
    },
}

impl InstallError {
    pub(crate) fn while_doing(doing: &'static str) -> impl Fn(sqlx::Error) -> Self {
        move |source| Self::Database { doing, source }
    }
}

fn lines(problems: &[Problem]) -> String {
    let mut text = String::from("the database schema cannot be installed:");
    for problem in problems {
        // Writing to a string cannot fail.
        let _ = write!(text, "\n  {problem}");
        if let Some(hint) = problem.hint() {
            let _ = write!(text, "\n    {hint}");
        }
    }
    text
}

fn columns(missing: &[(String, String)]) -> String {
    missing.iter().map(|(extension, column)| format!("{column} (`{extension}`)")).collect::<Vec<_>>().join(", ")
}

/// Installs `modules`, given in load order.
pub async fn install(
    database: &Database,
    modules: &[Module],
    options: &InstallOptions,
) -> Result<InstallReport, InstallError> {
    let plan = Plan::read(modules, options.system_dir.as_deref()).map_err(InstallError::Refused)?;
    let mut session = Session::open(database).await?;
    let report = match options.mode {
        InstallMode::Apply => {
            session.lock().await?;
            apply_all(&mut session, &plan, options).await
        }
        InstallMode::Verify => verify(&mut session, &plan, options).await,
    };
    session.close().await;
    let report = report?;
    for warning in &report.warnings {
        tracing::warn!("{warning}");
    }
    Ok(report)
}

/// Installs `modules` on a connection that is nobody else's, and gives it back.
pub async fn install_with(
    connection: sqlx::PgConnection,
    modules: &[Module],
    options: &InstallOptions,
) -> Result<(InstallReport, sqlx::PgConnection), InstallError> {
    let plan = Plan::read(modules, options.system_dir.as_deref()).map_err(InstallError::Refused)?;
    let mut session = Session::on(connection).await?;
    session.lock().await?;
    let report = apply_all(&mut session, &plan, options).await?;
    Ok((report, session.connection))
}

async fn apply_all(
    session: &mut Session,
    plan: &Plan<'_>,
    options: &InstallOptions,
) -> Result<InstallReport, InstallError> {
    let state = State::read(&mut session.connection).await?;
    let warnings = check_history(&state, plan, options)?;
    let mut applier = Applier::new(session, state, options, warnings);
    applier.prepare(plan).await?;
    for module in &plan.modules {
        applier.structural(module).await?;
    }
    for module in &plan.modules {
        applier.migrations(module).await?;
    }
    for module in &plan.modules {
        applier.dependent(module).await?;
    }
    applier.required_columns(plan).await?;
    for module in &plan.modules {
        applier.seeds(module).await?;
    }
    Ok(applier.finish())
}

async fn verify(
    session: &mut Session,
    plan: &Plan<'_>,
    options: &InstallOptions,
) -> Result<InstallReport, InstallError> {
    let state = State::read(&mut session.connection).await?;
    let warnings = check_history(&state, plan, options)?;
    let mut outdated = Vec::new();
    for module in &plan.modules {
        let pending = state.pending(module);
        let missing = if state.is_fresh(module) && !module.tables.is_empty() {
            "it is not installed".to_owned()
        } else if !pending.is_empty() {
            let versions: Vec<String> = pending.iter().map(|migration| migration.version.to_string()).collect();
            format!("pending migrations {}", versions.join(", "))
        } else if !module.schema_is_empty() && !state.has_digest(module) {
            "its schema has changed".to_owned()
        } else {
            continue;
        };
        outdated.push(Problem::Outdated { extension: module.module.id.clone(), missing });
    }
    if !outdated.is_empty() {
        return Err(InstallError::Refused(outdated));
    }
    let mut applier = Applier::new(session, state, options, warnings);
    applier.required_columns(plan).await?;
    Ok(applier.finish())
}

/// Refuses what the history forbids; returns what is only worth a warning.
fn check_history(state: &State, plan: &Plan<'_>, options: &InstallOptions) -> Result<Vec<String>, InstallError> {
    let mut warnings = plan.warnings.clone();
    let mut refused = Vec::new();
    for problem in state.problems(plan) {
        let accepted = match &problem {
            Problem::ChecksumDrift { .. } => options.allow_checksum_drift,
            Problem::OutOfOrderMigration { .. } => options.allow_out_of_order,
            _ => false,
        };
        if accepted { warnings.push(problem.to_string()) } else { refused.push(problem) }
    }
    if !refused.is_empty() {
        return Err(InstallError::Refused(refused));
    }
    for module in &plan.modules {
        let id = &module.module.id;
        if state.is_established(module) && !module.migrations.is_empty() {
            warnings.push(format!("tables of `{id}` exist but no migration is recorded; all of them will run"));
        }
        for row in state.orphaned(module) {
            warnings.push(format!(
                "migration {} `{}` of `{id}` was applied but is no longer defined",
                row.version, row.name
            ));
        }
    }
    Ok(warnings)
}

/// Everything [`install`] would refuse about `modules` whatever the database looks like: SQL that does not belong where it
/// is, ownership of tables, seeds. Reads schema files below `system_dir`, and no database.
pub fn check(modules: &[Module], system_dir: Option<&Path>) -> Vec<Problem> {
    Plan::read(modules, system_dir).err().unwrap_or_default()
}

/// A table that modules declare, as far as their text tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeclaredTable {
    /// The module that owns it.
    pub extension: String,
    /// Its columns; nothing if a migration makes it, because a later one may change them.
    pub columns: Option<Vec<String>>,
}

/// The tables that `modules` declare, by schema and name. Modules that would be refused tell what can be read of them.
pub fn declared_tables(modules: &[Module], system_dir: Option<&Path>) -> BTreeMap<(String, String), DeclaredTable> {
    let (plan, _) = Plan::read_anyway(modules, system_dir);
    let mut tables: BTreeMap<_, _> =
        plan.owners.into_iter().map(|(table, extension)| (table, DeclaredTable { extension, columns: None })).collect();
    for step in plan.modules.iter().flat_map(|module| &module.structural) {
        if let Kind::CreateTable(table) = &step.kind
            && let Some(declared) = tables.get_mut(&step.resolve(&table.name))
        {
            declared.columns = Some(table.columns.clone().unwrap_or_default());
        }
    }
    tables
}
