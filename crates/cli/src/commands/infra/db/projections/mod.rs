//! `infra db projections`: the tables derived from the ledger.

mod list;
mod rebuild;
mod status;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// The tables derived from the ledger.
#[derive(Debug, Subcommand)]
pub(crate) enum Projections {
    List(list::List),
    Status(status::Status),
    Rebuild(rebuild::Rebuild),
}

impl Projections {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::List(command) => command.run(invocation),
            Self::Status(command) => command.run(invocation, database).await,
            Self::Rebuild(command) => command.run(invocation, database).await,
        }
    }
}
