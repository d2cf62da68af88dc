//! `governance secrets`: what the policy `secret_scan` finds, and by which rules.

mod masked;
mod of_project;
mod rules;
mod scan_history;
mod test;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// What the policy `secret_scan` finds, and by which rules.
#[derive(Debug, Subcommand)]
pub(crate) enum Secrets {
    Test(test::Test),
    #[command(subcommand)]
    Rules(rules::Rules),
    ScanHistory(scan_history::ScanHistory),
}

impl Secrets {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Test(command) => command.run(invocation),
            Self::Rules(group) => group.run(invocation),
            Self::ScanHistory(command) => {
                invocation.with_database(async |database| command.run(invocation, database).await).await
            }
        }
    }
}
