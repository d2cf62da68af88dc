//! `admin access-control`: who may use what, and why.

mod explain;
mod export;
mod grant;
mod groups;
mod import;
mod lint;
mod list;
mod revoke;
mod rule;
mod show;
mod simulate;
mod validate;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Who may use what, and why.
#[derive(Debug, Subcommand)]
pub(crate) enum AccessControl {
    List(list::List),
    Show(show::Show),
    Grant(grant::Grant),
    Revoke(revoke::Revoke),
    #[command(subcommand)]
    Groups(groups::Groups),
    Export(export::Export),
    Import(import::Import),
    Validate(validate::Validate),
    Lint(lint::Lint),
    Explain(explain::Explain),
    Simulate(simulate::Simulate),
}

impl AccessControl {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        if let Self::Validate(command) = self {
            return command.run(invocation);
        }
        invocation
            .with_database(async |database| match self {
                Self::List(command) => command.run(invocation, database).await,
                Self::Show(command) => command.run(invocation, database).await,
                Self::Grant(command) => command.run(invocation, database).await,
                Self::Revoke(command) => command.run(invocation, database).await,
                Self::Groups(group) => group.run(invocation, database).await,
                Self::Export(command) => command.run(invocation, database).await,
                Self::Import(command) => command.run(invocation, database).await,
                Self::Lint(command) => command.run(invocation, database).await,
                Self::Explain(command) => command.run(invocation, database).await,
                Self::Simulate(command) => command.run(invocation, database).await,
                Self::Validate(_) => Ok(()),
            })
            .await
    }
}
