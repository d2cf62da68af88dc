//! `admin config`: the configuration in force, whether it is right, and changes of it.

mod catalog;
mod gateway;
mod import;
mod mail;
mod provider;
mod rate_limits;
mod reconcile;
mod reload;
mod secret;
mod show;
mod validate;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Look at the configuration and change it.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    Show(show::Show),
    Validate(validate::Validate),
    Reload(reload::Reload),
    Reconcile(reconcile::Reconcile),
    #[command(subcommand)]
    Gateway(gateway::Gateway),
    #[command(subcommand)]
    Catalog(catalog::Catalog),
    #[command(subcommand)]
    Provider(provider::Provider),
    #[command(subcommand)]
    Mail(mail::Mail),
    #[command(subcommand)]
    RateLimits(rate_limits::RateLimits),
    #[command(subcommand)]
    Secret(secret::Secret),
    #[command(subcommand)]
    Import(import::Import),
}

impl Config {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Show(command) => command.run(invocation),
            Self::Validate(command) => command.run(invocation),
            Self::Reload(command) => command.run(invocation).await,
            Self::Reconcile(command) => command.run(invocation).await,
            Self::Gateway(group) => group.run(invocation).await,
            Self::Catalog(group) => group.run(invocation).await,
            Self::Provider(group) => group.run(invocation).await,
            Self::Mail(group) => group.run(invocation).await,
            Self::RateLimits(group) => group.run(invocation).await,
            Self::Secret(group) => group.run(invocation).await,
            Self::Import(group) => group.run(invocation).await,
        }
    }
}
