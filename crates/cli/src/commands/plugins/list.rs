//! `plugins list`.

use clap::Args;
use serde::Serialize;
use systemprompt_extension::{ExtensionCapabilities, ExtensionRegistry};

use super::Capability;
use crate::error::CliResult;
use crate::project::Invocation;
use crate::view::{Page, Row, yes};

/// The extensions, in load order.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only ids or names that contain this.
    #[arg(long)]
    filter: Option<String>,
    /// Only those that declare this.
    #[arg(long)]
    capability: Option<Capability>,
}

impl List {
    pub(crate) fn run(self, invocation: &Invocation, registry: &ExtensionRegistry) -> CliResult {
        let filter = self.filter.as_deref();
        let items = registry
            .snapshot()
            .extensions
            .iter()
            .filter(|extension| {
                filter.is_none_or(|text| {
                    extension.id.contains(text) || extension.name.to_lowercase().contains(&text.to_lowercase())
                })
            })
            .filter(|extension| self.capability.is_none_or(|capability| declares(extension, capability)))
            .map(|extension| Listed {
                id: extension.id,
                name: extension.name,
                version: extension.version,
                priority: extension.priority,
                source: "compiled",
                enabled: extension.enabled,
                capabilities: counts(extension),
            })
            .collect();
        invocation.printer.show(&Page::whole(items));
        Ok(())
    }
}

#[derive(Serialize)]
struct Listed<'a> {
    id: &'a str,
    name: &'a str,
    version: &'a str,
    priority: u32,
    source: &'static str,
    enabled: bool,
    capabilities: Counts,
}

#[derive(Serialize)]
struct Counts {
    schemas: usize,
    migrations: usize,
    routes: usize,
    config: usize,
    roles: usize,
    permissions: usize,
}

fn counts(extension: &ExtensionCapabilities) -> Counts {
    Counts {
        schemas: extension.schemas.len(),
        migrations: extension.migrations.len(),
        routes: extension.routes.len() + extension.well_known.len(),
        config: extension.sections.len() + usize::from(extension.config.is_some()),
        roles: extension.roles.len(),
        permissions: extension.permissions.len(),
    }
}

fn declares(extension: &ExtensionCapabilities, capability: Capability) -> bool {
    let counts = counts(extension);
    0 < match capability {
        Capability::Schemas => counts.schemas,
        Capability::Routes => counts.routes,
        Capability::Config => counts.config,
        Capability::Roles => counts.roles,
        Capability::Permissions => counts.permissions,
    }
}

impl Row for Listed<'_> {
    const COLUMNS: &'static [&'static str] =
        &["id", "name", "version", "enabled", "#schemas", "#migrations", "#routes", "#config", "#roles"];
    const NONE: &'static str = "No extension matches.";

    fn cells(&self) -> Vec<String> {
        let counts = &self.capabilities;
        let numbers = [counts.schemas, counts.migrations, counts.routes, counts.config, counts.roles];
        let texts = [self.id.to_owned(), self.name.to_owned(), self.version.to_owned(), yes(self.enabled)];
        texts.into_iter().chain(numbers.map(|number| number.to_string())).collect()
    }
}
