//! `infra logs hooks`: what coding clients asked and told.

mod list;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// What coding clients asked before they acted, and what they told of themselves.
#[derive(Debug, Subcommand)]
pub(crate) enum Hooks {
    List(list::List),
}

impl Hooks {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation, database).await,
        }
    }
}
