//! `admin config mail`.

mod test;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// How mail is sent.
#[derive(Debug, Subcommand)]
pub(crate) enum Mail {
    Test(test::Test),
}

impl Mail {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Test(command) => command.run(invocation).await,
        }
    }
}
