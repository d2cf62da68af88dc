//! `infra`: the running system.

mod db;
mod logs;
mod services;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// The running system: server, database, logs and audit.
#[derive(Debug, Subcommand)]
pub(crate) enum Infra {
    #[command(subcommand)]
    Services(services::Services),
    #[command(subcommand)]
    Db(db::Db),
    #[command(subcommand)]
    Logs(logs::Logs),
}

impl Infra {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Services(group) => group.run(invocation).await,
            Self::Db(group) => group.run(invocation).await,
            Self::Logs(group) => group.run(invocation).await,
        }
    }
}
