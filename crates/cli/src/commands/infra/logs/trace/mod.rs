//! `infra logs trace`: everything that happened in one go.

mod list;
mod show;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Traces: what was decided, done and logged in one go.
#[derive(Debug, Subcommand)]
pub(crate) enum Trace {
    List(list::List),
    Show(show::Show),
}

impl Trace {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation, database).await,
            Self::Show(command) => command.run(invocation, database).await,
        }
    }
}
