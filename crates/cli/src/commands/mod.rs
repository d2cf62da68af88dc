//! The command tree. A group's `mod.rs` lists its commands; a command's file has its arguments, what it does, and how
//! its result looks. The doc comments of the arguments are the help texts and the reference.

mod admin;
mod connect;
mod governance;
mod hook;
mod infra;
mod plugins;
mod reference;
pub(crate) mod up;

use std::ffi::OsString;

use clap::{CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::error::CliResult;
use crate::globals::Globals;
use crate::project::Invocation;
use crate::texts::filled;

/// Govern, record and serve every use of AI, on your own machines.
#[derive(Debug, Parser)]
#[command(
    name = "systemprompt",
    version,
    propagate_version = true,
    max_term_width = 110,
    arg_required_else_help = true
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) globals: Globals,
    #[command(subcommand)]
    pub(crate) command: Command,
}

impl Cli {
    /// The whole command line, with what all of its arguments have in common.
    pub(crate) fn tree() -> clap::Command {
        filled(Self::command())
    }

    /// Reads the words of a command line, the name of the program first.
    pub(crate) fn read(words: impl Iterator<Item = OsString>) -> Result<Self, clap::Error> {
        let mut matches = Self::tree().try_get_matches_from(words)?;
        Self::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut Self::tree()))
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Up),
    #[command(subcommand)]
    Admin(admin::Admin),
    Connect(connect::Connect),
    #[command(subcommand)]
    Governance(governance::Governance),
    Hook(hook::Hook),
    #[command(subcommand)]
    Infra(infra::Infra),
    #[command(subcommand, visible_alias = "extensions")]
    Plugins(plugins::Plugins),
    #[command(hide = true)]
    Reference(reference::Reference),
}

impl Command {
    pub(crate) async fn run(self, invocation: Invocation) -> CliResult {
        match self {
            Self::Up(command) => Box::pin(command.run(invocation)).await,
            Self::Admin(group) => group.run(&invocation).await,
            Self::Connect(command) => command.run(&invocation).await,
            Self::Governance(group) => group.run(&invocation).await,
            Self::Hook(command) => command.run(&invocation).await,
            Self::Infra(group) => group.run(&invocation).await,
            Self::Plugins(group) => group.run(&invocation),
            Self::Reference(command) => command.run(&invocation, Cli::command()),
        }
    }
}
