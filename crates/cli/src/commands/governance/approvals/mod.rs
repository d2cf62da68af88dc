//! `governance approvals`: calls that wait for a second person.

mod approve;
mod deny;
mod list;
mod one;
mod show;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Calls that wait for a second person.
#[derive(Debug, Subcommand)]
pub(crate) enum Approvals {
    List(list::List),
    Show(show::Show),
    Approve(approve::Approve),
    Deny(deny::Deny),
}

impl Approvals {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation, database).await,
            Self::Show(command) => command.run(invocation, database).await,
            Self::Approve(command) => command.run(invocation, database).await,
            Self::Deny(command) => command.run(invocation, database).await,
        }
    }
}
