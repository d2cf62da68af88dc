//! `plugins capabilities`.

use clap::Args;
use serde::Serialize;
use systemprompt_extension::ExtensionRegistry;

use super::Capability;
use crate::error::CliResult;
use crate::project::Invocation;
use crate::view::{Page, Row};

/// Everything declared, by kind.
#[derive(Debug, Args)]
pub(crate) struct Capabilities {
    /// Only this kind.
    kind: Option<Capability>,
    /// Only this extension.
    #[arg(long)]
    extension: Option<String>,
    /// Leave out what is disabled.
    #[arg(long)]
    enabled: bool,
}

impl Capabilities {
    pub(crate) fn run(self, invocation: &Invocation, registry: &ExtensionRegistry) -> CliResult {
        let only = self.extension.as_deref();
        let mut declared = Vec::new();
        for extension in &registry.snapshot().extensions {
            if only.is_some_and(|only| only != extension.id) || (self.enabled && !extension.enabled) {
                continue;
            }
            let mut add = |capability: Capability, label, names: Vec<String>| {
                if self.kind.is_none_or(|kind| kind == capability) {
                    declared.extend(names.into_iter().map(|name| Declared {
                        kind: label,
                        extension: extension.id,
                        name,
                        enabled: extension.enabled,
                    }));
                }
            };
            add(Capability::Schemas, "schema", extension.schemas.iter().map(|schema| schema.table.clone()).collect());
            let routes = extension.routes.iter().flat_map(|route| &route.prefixes).map(|prefix| (*prefix).to_owned());
            add(Capability::Routes, "route", routes.chain(extension.well_known.iter().cloned()).collect());
            let prefix = extension.config.iter().map(|config| format!("extensions.{}", config.prefix));
            add(Capability::Config, "config", extension.sections.iter().cloned().chain(prefix).collect());
            add(Capability::Roles, "role", extension.roles.iter().map(|role| role.name.clone()).collect());
            add(
                Capability::Permissions,
                "permission",
                extension.permissions.iter().map(|permission| permission.key.to_owned()).collect(),
            );
        }
        invocation.printer.show(&Page::whole(declared));
        Ok(())
    }
}

#[derive(Serialize)]
struct Declared {
    kind: &'static str,
    extension: &'static str,
    name: String,
    enabled: bool,
}

impl Row for Declared {
    const COLUMNS: &'static [&'static str] = &["kind", "name", "extension"];
    const NONE: &'static str = "Nothing of this kind is declared.";

    fn cells(&self) -> Vec<String> {
        vec![self.kind.to_owned(), self.name.clone(), self.extension.to_owned()]
    }
}
