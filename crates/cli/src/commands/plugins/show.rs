//! `plugins show`.

use clap::Args;
use systemprompt_extension::{Access, ExtensionCapabilities, ExtensionRegistry};

use crate::error::{CliError, CliResult};
use crate::project::Invocation;
use crate::view::{Layout, Record, View, yes};

/// One extension with all it declares.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id.
    id: String,
}

impl Show {
    pub(crate) fn run(self, invocation: &Invocation, registry: &ExtensionRegistry) -> CliResult {
        let snapshot = registry.snapshot();
        let extension = snapshot.get(&self.id).ok_or_else(|| {
            let known: Vec<_> = snapshot.extensions.iter().map(|extension| extension.id).collect();
            CliError::new("unknown_extension", format!("no extension is called `{}`", self.id))
                .help(format!("there are {}", known.join(", ")))
        })?;
        invocation.printer.show(extension);
        Ok(())
    }
}

impl View for ExtensionCapabilities {
    fn text(&self, layout: Layout) -> String {
        let lines = |items: Vec<String>| (!items.is_empty()).then(|| items.join("\n"));
        let record = Record::new()
            .with("id", self.id.to_owned())
            .with("name", self.name.to_owned())
            .with("version", self.version.to_owned())
            .with("enabled", yes(self.enabled))
            .with("required", yes(self.required))
            .with("position", self.position.map(|position| position.to_string()))
            .with("depends on", lines(self.dependencies.iter().map(|id| (*id).to_owned()).collect()))
            .with(
                "schemas",
                lines(
                    self.schemas
                        .iter()
                        .map(|schema| format!("{}.{} ({})", schema.schema, schema.table, schema.source))
                        .collect(),
                ),
            )
            .with(
                "migrations",
                lines(
                    self.migrations
                        .iter()
                        .map(|migration| format!("{:03} {}", migration.version, migration.name))
                        .collect(),
                ),
            )
            .with(
                "routes",
                lines(
                    self.routes
                        .iter()
                        .map(|route| {
                            format!(
                                "{} ({})",
                                route.prefixes.join(", "),
                                route.access.map_or("each endpoint its own".into(), Access::describe)
                            )
                        })
                        .chain(self.well_known.iter().map(|path| format!("{path} (public)")))
                        .collect(),
                ),
            )
            .with(
                "configuration",
                lines(
                    self.sections
                        .iter()
                        .cloned()
                        .chain(self.config.as_ref().map(|config| format!("extensions.{}", config.prefix)))
                        .collect(),
                ),
            )
            .with(
                "roles",
                lines(self.roles.iter().map(|role| format!("{} ({})", role.name, role.display_name)).collect()),
            )
            .with("permissions", lines(self.permissions.iter().map(|permission| permission.key.to_owned()).collect()));
        layout.record(&record)
    }
}
