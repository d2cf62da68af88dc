//! `admin gateway cache`: answers that are given once more.

mod list;
mod purge;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Answers that routes with a `cache` keep and give once more.
#[derive(Debug, Subcommand)]
pub(crate) enum Cache {
    List(list::List),
    Purge(purge::Purge),
}

impl Cache {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        invocation
            .with_database(async move |database| match self {
                Self::List(command) => command.run(invocation, database).await,
                Self::Purge(command) => command.run(invocation, database).await,
            })
            .await
    }
}
