//! `infra logs changes`: who changed what of the installation.

mod list;
mod show;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Changes to users, keys, rules and configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Changes {
    List(list::List),
    Show(show::Show),
}

impl Changes {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation, database).await,
            Self::Show(command) => command.run(invocation, database).await,
        }
    }
}
