//! `infra logs request`: governed model requests.

mod list;
mod show;
mod stats;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Governed model requests.
#[derive(Debug, Subcommand)]
pub(crate) enum Request {
    List(list::List),
    Show(show::Show),
    Stats(stats::Stats),
}

impl Request {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation, database).await,
            Self::Show(command) => command.run(invocation, database).await,
            Self::Stats(command) => command.run(invocation, database).await,
        }
    }
}
