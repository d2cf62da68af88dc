//! `governance`: what was decided, and what waits to be.

mod approvals;
mod secrets;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Decide what waits for a decision, and see what is taken for a secret.
#[derive(Debug, Subcommand)]
pub(crate) enum Governance {
    #[command(subcommand)]
    Approvals(approvals::Approvals),
    #[command(subcommand)]
    Secrets(secrets::Secrets),
}

impl Governance {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Approvals(group) => {
                Box::pin(invocation.with_database(async |database| group.run(invocation, database).await)).await
            }
            Self::Secrets(group) => group.run(invocation).await,
        }
    }
}
