//! `infra logs governance`: what was decided, in numbers.

mod report;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// What was decided, in numbers.
#[derive(Debug, Subcommand)]
pub(crate) enum Governance {
    Report(report::Report),
}

impl Governance {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::Report(command) => command.run(invocation, database).await,
        }
    }
}
