//! `admin users api-key`: what programs show to be let in.

mod issue;
mod keys;
mod list;
mod revoke;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum ApiKey {
    Issue(issue::Issue),
    List(list::List),
    Revoke(revoke::Revoke),
}

impl ApiKey {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::Issue(command) => command.run(invocation, database).await,
            Self::List(command) => command.run(invocation, database).await,
            Self::Revoke(command) => command.run(invocation, database).await,
        }
    }
}
