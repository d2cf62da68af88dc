//! `admin config secret`.

mod set;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// The secrets of the profile.
#[derive(Debug, Subcommand)]
pub(crate) enum Secret {
    Set(set::Set),
}

impl Secret {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Set(command) => command.run(invocation).await,
        }
    }
}
