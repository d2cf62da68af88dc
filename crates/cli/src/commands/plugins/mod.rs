//! `plugins`: what is built into this binary. Nothing is started; everything comes from the capability snapshot.

mod capabilities;
mod facet_name;
mod list;
mod show;
#[cfg(test)]
mod tests;
mod validate;

use clap::Subcommand;
use systemprompt_extension::ExtensionRegistry;

use crate::error::CliResult;
use crate::project::Invocation;

/// What is built into this binary.
#[derive(Debug, Subcommand)]
pub(crate) enum Plugins {
    List(list::List),
    Show(show::Show),
    Validate(validate::Validate),
    Capabilities(capabilities::Capabilities),
}

impl Plugins {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        let registry = registry(invocation);
        match self {
            Self::List(command) => command.run(invocation, &registry),
            Self::Show(command) => command.run(invocation, &registry),
            Self::Validate(command) => command.run(invocation, &registry),
            Self::Capabilities(command) => command.run(invocation, &registry),
        }
    }
}

/// What is linked; with a readable profile, without what it disables.
fn registry(invocation: &Invocation) -> ExtensionRegistry {
    let linked = ExtensionRegistry::discover();
    match invocation.project() {
        Ok(project) => linked.configured(&project.configuration.profile.extensions),
        Err(_) => linked,
    }
}
