//! `admin config provider`.

mod test;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// How providers are.
#[derive(Debug, Subcommand)]
pub(crate) enum Provider {
    Test(test::Test),
}

impl Provider {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Test(command) => command.run(invocation).await,
        }
    }
}
