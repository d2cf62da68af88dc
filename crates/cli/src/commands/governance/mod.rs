//! `governance`: what was decided, and what waits to be.

mod approvals;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Decide what waits for a decision.
#[derive(Debug, Subcommand)]
pub(crate) enum Governance {
    #[command(subcommand)]
    Approvals(approvals::Approvals),
}

impl Governance {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Approvals(group) => {
                Box::pin(invocation.with_database(async |database| group.run(invocation, database).await)).await
            }
        }
    }
}
