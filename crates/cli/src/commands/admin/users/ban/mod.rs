//! `admin users ban`: addresses that are shut out.

mod add;
mod address;
mod check;
mod cleanup;
mod list;
mod remove;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Addresses that are shut out. Every request of one is answered with 403.
#[derive(Debug, Subcommand)]
pub(crate) enum Ban {
    List(list::List),
    Add(add::Add),
    Remove(remove::Remove),
    Check(check::Check),
    Cleanup(cleanup::Cleanup),
}

impl Ban {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation, database).await,
            Self::Add(command) => command.run(invocation, database).await,
            Self::Remove(command) => command.run(invocation, database).await,
            Self::Check(command) => command.run(invocation, database).await,
            Self::Cleanup(command) => command.run(invocation, database).await,
        }
    }
}
