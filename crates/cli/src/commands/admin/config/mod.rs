//! `admin config`: the configuration in force, and whether it is right.

mod show;
mod validate;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::Invocation;

/// Look at the configuration.
#[derive(Debug, Subcommand)]
pub(crate) enum Config {
    Show(show::Show),
    Validate(validate::Validate),
}

impl Config {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::Show(command) => command.run(invocation),
            Self::Validate(command) => command.run(invocation),
        }
    }
}
