//! What the linked extensions declare about the database.

use systemprompt_database::{InstallOptions, Module};
use systemprompt_extension::ExtensionRegistry;

use crate::project::Invocation;

/// What the linked extensions declare about the database, and how it is installed.
pub(super) struct Declared {
    pub(super) modules: Vec<Module>,
    pub(super) options: InstallOptions,
}

impl Declared {
    pub(super) fn of(invocation: &Invocation) -> Self {
        let options = InstallOptions {
            system_dir: invocation.project().ok().map(|project| project.configuration.profile.paths.system.clone()),
            applied_by: env!("CARGO_PKG_VERSION").to_owned(),
            ..InstallOptions::default()
        };
        Self { modules: ExtensionRegistry::discover().modules(), options }
    }
}
