//! `infra db`: the database, as operators see and change it.

mod count;
mod describe;
mod doctor;
mod execute;
mod indexes;
mod info;
mod migrate;
mod migrate_down;
mod migrate_history;
mod migrate_mark_applied;
mod migrate_plan;
mod migrate_repair;
mod migrate_status;
mod projections;
mod query;
mod size;
mod status;
mod tables;

use clap::Subcommand;
use systemprompt_database::install::history::HistoryError;
use systemprompt_database::{InstallError, InstallOptions, Module};
use systemprompt_extension::ExtensionRegistry;

use crate::database::InspectError;
use crate::error::{CliError, CliResult, Exit};
use crate::project::Invocation;

/// The database.
#[derive(Debug, Subcommand)]
pub(crate) enum Db {
    Status(status::Status),
    Info(info::Info),
    Tables(tables::Tables),
    Describe(describe::Describe),
    Count(count::Count),
    Size(size::Size),
    Indexes(indexes::Indexes),
    Query(query::Query),
    Execute(execute::Execute),
    Migrate(migrate::Migrate),
    MigratePlan(migrate_plan::MigratePlan),
    MigrateStatus(migrate_status::MigrateStatus),
    MigrateHistory(migrate_history::MigrateHistory),
    MigrateRepair(migrate_repair::MigrateRepair),
    MigrateDown(migrate_down::MigrateDown),
    MigrateMarkApplied(migrate_mark_applied::MigrateMarkApplied),
    #[command(subcommand)]
    Projections(projections::Projections),
    Doctor(doctor::Doctor),
}

impl Db {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        if let Self::Status(command) = self {
            return command.run(invocation).await;
        }
        invocation
            .with_database(async move |database| match self {
                Self::Status(command) => command.run(invocation).await,
                Self::Info(command) => command.run(invocation, database).await,
                Self::Tables(command) => command.run(invocation, database).await,
                Self::Describe(command) => command.run(invocation, database).await,
                Self::Count(command) => command.run(invocation, database).await,
                Self::Size(command) => command.run(invocation, database).await,
                Self::Indexes(command) => command.run(invocation, database).await,
                Self::Query(command) => command.run(invocation, database).await,
                Self::Execute(command) => command.run(invocation, database).await,
                Self::Migrate(command) => command.run(invocation, database).await,
                Self::MigratePlan(command) => command.run(invocation, database).await,
                Self::MigrateStatus(command) => command.run(invocation, database).await,
                Self::MigrateHistory(command) => command.run(invocation, database).await,
                Self::MigrateRepair(command) => command.run(invocation, database).await,
                Self::MigrateDown(command) => command.run(invocation, database).await,
                Self::MigrateMarkApplied(command) => command.run(invocation, database).await,
                Self::Projections(group) => group.run(invocation, database).await,
                Self::Doctor(command) => Box::pin(command.run(invocation, database)).await,
            })
            .await
    }
}

/// What the linked extensions declare about the database, and how it is installed.
struct Declared {
    modules: Vec<Module>,
    options: InstallOptions,
}

impl Declared {
    fn of(invocation: &Invocation) -> Self {
        let options = InstallOptions {
            system_dir: invocation.project().ok().map(|project| project.configuration.profile.paths.system.clone()),
            applied_by: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstallOptions::default()
        };
        Self { modules: ExtensionRegistry::discover().modules(), options }
    }
}

fn failure(error: InspectError) -> CliError {
    let exit = match &error {
        InspectError::InvalidIdentifier { .. }
        | InspectError::NotOneStatement { .. }
        | InspectError::NotReading { .. } => Exit::Usage,
        InspectError::Install(InstallError::Refused(_)) => Exit::Conflict,
        _ => Exit::Failure,
    };
    let help = match &error {
        InspectError::NotReading { .. } => Some("systemprompt infra db execute   changes things"),
        InspectError::Install(_) => Some(
            "systemprompt infra db migrate-status   shows what is applied; migrate-repair deals with changed migrations",
        ),
        _ => None,
    };
    let failure = CliError::from_error("db_failed", &error).exit(exit);
    match help {
        Some(help) => failure.help(help),
        None => failure,
    }
}

fn history_failure(error: HistoryError) -> CliError {
    failure(error.into())
}
