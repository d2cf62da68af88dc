//! `admin`: people, keys and configuration.

mod access_control;
mod config;
mod gateway;
mod setup;
mod users;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// People, keys and configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Admin {
    Setup(setup::Setup),
    #[command(subcommand)]
    AccessControl(access_control::AccessControl),
    #[command(subcommand)]
    Config(config::Config),
    #[command(subcommand)]
    Gateway(gateway::Gateway),
    #[command(subcommand)]
    Users(users::Users),
}

impl Admin {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Setup(command) => command.run(invocation).await,
            Self::AccessControl(group) => group.run(invocation).await,
            Self::Config(group) => group.run(invocation).await,
            Self::Gateway(group) => group.run(invocation).await,
            Self::Users(group) => group.run(invocation).await,
        }
    }
}
