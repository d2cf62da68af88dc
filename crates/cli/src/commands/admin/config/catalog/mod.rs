//! `admin config catalog`: providers and their models.

mod entry;
mod model;
mod provider;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Providers and their models.
#[derive(Debug, Subcommand)]
pub(crate) enum Catalog {
    #[command(subcommand)]
    Provider(provider::Provider),
    #[command(subcommand)]
    Model(model::Model),
}

impl Catalog {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Provider(group) => group.run(invocation).await,
            Self::Model(group) => group.run(invocation).await,
        }
    }
}
