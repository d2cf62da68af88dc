//! `infra logs content`: what was said, gone before its time.

mod erase;
mod gone;
mod redact;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Erase what was said, and nothing of the log.
#[derive(Debug, Subcommand)]
pub(crate) enum Content {
    Erase(erase::Erase),
    Redact(redact::Redact),
}

impl Content {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::Erase(command) => command.run(invocation, database).await,
            Self::Redact(command) => command.run(invocation, database).await,
        }
    }
}
