//! `admin config import`.

mod litellm;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Take over the configuration of another gateway.
#[derive(Debug, Subcommand)]
pub(crate) enum Import {
    Litellm(litellm::Litellm),
}

impl Import {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Litellm(command) => command.run(invocation).await,
        }
    }
}
