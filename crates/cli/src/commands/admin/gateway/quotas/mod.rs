//! `admin gateway quotas`: what is used of quotas and budgets.

mod list;
mod show;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// What is used of quotas and budgets, which services/gateway sets.
#[derive(Debug, Subcommand)]
pub(crate) enum Quotas {
    List(list::List),
    Show(show::Show),
}

impl Quotas {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        invocation
            .with_database(async move |database| match self {
                Self::List(command) => command.run(invocation, database).await,
                Self::Show(command) => command.run(invocation, database).await,
            })
            .await
    }
}
