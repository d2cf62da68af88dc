//! `admin config rate-limits`: how many requests each kind of caller may send to each group of endpoints.

mod change;
mod compare;
mod difference;
mod file;
mod named;
mod preset;
mod show;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// How many requests each kind of caller may send.
#[derive(Debug, Subcommand)]
pub(crate) enum RateLimits {
    Show(show::Show),
    Tier(show::Tier),
    Set(change::Set),
    Enable(change::Enable),
    Disable(change::Disable),
    Reset(change::Reset),
    Compare(compare::Compare),
    Diff(compare::Diff),
    #[command(subcommand)]
    Preset(preset::Preset),
    Export(file::Export),
    Import(file::Import),
}

impl RateLimits {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Show(command) => command.run(invocation),
            Self::Tier(command) => command.run(invocation),
            Self::Set(command) => command.run(invocation).await,
            Self::Enable(command) => command.run(invocation).await,
            Self::Disable(command) => command.run(invocation).await,
            Self::Reset(command) => command.run(invocation).await,
            Self::Compare(command) => command.run(invocation),
            Self::Diff(command) => command.run(invocation),
            Self::Preset(group) => group.run(invocation).await,
            Self::Export(command) => command.run(invocation),
            Self::Import(command) => command.run(invocation).await,
        }
    }
}
