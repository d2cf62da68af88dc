//! `infra services`: the server of this home as a background process.

mod start;
mod status;
mod stop;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Start, stop and look at the server of this home.
#[derive(Debug, Subcommand)]
pub(crate) enum Services {
    Start(start::Start),
    Stop(stop::Stop),
    Status(status::Status),
}

impl Services {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Start(command) => command.run(invocation).await,
            Self::Stop(command) => command.run(invocation).await,
            Self::Status(command) => command.run(invocation).await,
        }
    }
}
