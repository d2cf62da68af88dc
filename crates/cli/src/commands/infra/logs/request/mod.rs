//! `infra logs request`: governed model requests.

mod list;
mod show;
mod stats;
mod top;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Governed model requests.
#[derive(Debug, Subcommand)]
pub(crate) enum Request {
    List(list::List),
    Show(show::Show),
    Stats(stats::Stats),
    Top(top::Top),
}

impl Request {
    /// Whether it goes on until it is told to stop.
    pub(crate) fn goes_on(&self) -> bool {
        matches!(self, Self::List(list) if list.follow)
    }

    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation, database).await,
            Self::Show(command) => command.run(invocation, database).await,
            Self::Stats(command) => command.run(invocation, database).await,
            Self::Top(command) => command.run(invocation, database).await,
        }
    }
}
