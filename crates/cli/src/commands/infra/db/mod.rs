//! `infra db`: the database, as operators see and change it.

mod count;
mod declared;
mod describe;
mod doctor;
mod execute;
mod failure;
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

use crate::error::CliResult;
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
                Self::Doctor(command) => command.run(invocation, database).await,
            })
            .await
    }
}
