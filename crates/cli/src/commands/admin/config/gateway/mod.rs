//! `admin config gateway`: whether models can be asked, and where requests go.

mod default_provider;
mod route;

use clap::{Args, Subcommand};
use serde_json::json;
use systemprompt_config::edit::Step::Key;

use crate::error::CliResult;
use crate::profile_file::ProfileFile;
use crate::project::Invocation;

/// Whether models can be asked, and where requests go.
#[derive(Debug, Subcommand)]
pub(crate) enum Gateway {
    Enable(Enable),
    Disable(Disable),
    #[command(subcommand)]
    Route(route::Route),
    #[command(subcommand)]
    DefaultProvider(default_provider::DefaultProvider),
}

/// Let models be asked.
#[derive(Debug, Args)]
pub(crate) struct Enable {}

/// Let nobody ask a model.
#[derive(Debug, Args)]
pub(crate) struct Disable {}

impl Gateway {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Enable(Enable {}) => switch(invocation, true).await,
            Self::Disable(Disable {}) => switch(invocation, false).await,
            Self::Route(group) => group.run(invocation).await,
            Self::DefaultProvider(group) => group.run(invocation).await,
        }
    }
}

async fn switch(invocation: &Invocation, enabled: bool) -> CliResult {
    let mut profile = ProfileFile::open(invocation)?;
    profile.set(&[Key("gateway"), Key("enabled")], &enabled)?;
    let done = if enabled { "The gateway is enabled." } else { "The gateway is disabled: its endpoints answer 404." };
    profile.save("gateway.enable", &json!({"enabled": enabled}), done.to_owned()).await
}
