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
mod error;
pub mod history;
mod options;
mod plan;
mod problem;
mod report;
mod session;
mod state;

use std::collections::BTreeMap;
use std::path::Path;

use apply::Applier;
pub use error::InstallError;
pub use options::{InstallMode, InstallOptions};
pub use problem::Problem;
pub use report::{AppliedMigration, InstallReport, ModuleReport};
pub(crate) use state::BOOKKEEPING;
pub use state::BOOKKEEPING_TABLES;

use crate::connect::Database;
use crate::schema::Module;
use crate::sql::Kind;
use plan::Plan;
use session::Session;
use state::State;

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
