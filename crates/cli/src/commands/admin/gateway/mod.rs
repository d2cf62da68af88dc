//! `admin gateway`: the model gateway at work.

mod cache;
mod quotas;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// The model gateway at work.
#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    #[command(subcommand)]
    Cache(cache::Cache),
    #[command(subcommand)]
    Quotas(quotas::Quotas),
}

impl Gateway {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Cache(group) => group.run(invocation).await,
            Self::Quotas(group) => group.run(invocation).await,
        }
    }
}
