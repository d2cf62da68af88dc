//! `plugins`: what is built into this binary. Nothing is started; everything comes from the capability snapshot.

use serde::Serialize;
use systemprompt_extension::{ExtensionCapabilities, ExtensionRegistry};

use crate::args::{Capability, Plugins};
use crate::error::{CliError, CliResult, Exit};
use crate::printer::{Printer, Record, Table};
use crate::project::Invocation;

/// Runs a `plugins` command.
pub(crate) fn run(invocation: &Invocation, command: &Plugins) -> CliResult {
    let registry = registry(invocation);
    let printer = &invocation.printer;
    match command {
        Plugins::List { filter, capability } => list(printer, &registry, filter.as_deref(), *capability),
        Plugins::Show { id } => show(printer, &registry, id),
        Plugins::Validate => validate(printer, &registry),
        Plugins::Capabilities { kind, extension, enabled } => {
            capabilities(printer, &registry, *kind, extension.as_deref(), *enabled)
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

#[derive(Serialize)]
struct Row<'a> {
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

fn list(
    printer: &Printer,
    registry: &ExtensionRegistry,
    filter: Option<&str>,
    capability: Option<Capability>,
) -> CliResult {
    let rows: Vec<_> = registry
        .snapshot()
        .extensions
        .iter()
        .filter(|extension| {
            filter.is_none_or(|text| {
                extension.id.contains(text) || extension.name.to_lowercase().contains(&text.to_lowercase())
            })
        })
        .filter(|extension| capability.is_none_or(|capability| declares(extension, capability)))
        .map(|extension| Row {
            id: extension.id,
            name: extension.name,
            version: extension.version,
            priority: extension.priority,
            source: "compiled",
            enabled: extension.enabled,
            capabilities: counts(extension),
        })
        .collect();
    let table = || {
        let mut table = Table::new(&[
            "id",
            "name",
            "version",
            "enabled",
            "#schemas",
            "#migrations",
            "#routes",
            "#config",
            "#roles",
        ]);
        for row in &rows {
            let numbers = [
                row.capabilities.schemas,
                row.capabilities.migrations,
                row.capabilities.routes,
                row.capabilities.config,
                row.capabilities.roles,
            ];
            let enabled = if row.enabled { "yes" } else { "no" };
            let texts = [row.id, row.name, row.version, enabled].map(str::to_owned);
            table.row(texts.into_iter().chain(numbers.map(|number| number.to_string())));
        }
        table
    };
    printer.list(&rows, table, "No extension matches.");
    Ok(())
}

fn show(printer: &Printer, registry: &ExtensionRegistry, id: &str) -> CliResult {
    let snapshot = registry.snapshot();
    let extension = snapshot.get(id).ok_or_else(|| {
        let known: Vec<_> = snapshot.extensions.iter().map(|extension| extension.id).collect();
        CliError::new("unknown_extension", format!("no extension is called `{id}`"))
            .help(format!("there are {}", known.join(", ")))
    })?;
    printer.record(extension, || {
        let lines = |items: Vec<String>| (!items.is_empty()).then(|| items.join("\n"));
        Record::new()
            .with("id", extension.id.to_owned())
            .with("name", extension.name.to_owned())
            .with("version", extension.version.to_owned())
            .with("enabled", if extension.enabled { "yes" } else { "no" }.to_owned())
            .with("required", if extension.required { "yes" } else { "no" }.to_owned())
            .with("position", extension.position.map(|position| position.to_string()))
            .with("depends on", lines(extension.dependencies.iter().map(|id| (*id).to_owned()).collect()))
            .with(
                "schemas",
                lines(
                    extension
                        .schemas
                        .iter()
                        .map(|schema| format!("{}.{} ({})", schema.schema, schema.table, schema.source))
                        .collect(),
                ),
            )
            .with(
                "migrations",
                lines(
                    extension
                        .migrations
                        .iter()
                        .map(|migration| format!("{:03} {}", migration.version, migration.name))
                        .collect(),
                ),
            )
            .with(
                "routes",
                lines(
                    extension
                        .routes
                        .iter()
                        .map(|route| {
                            format!(
                                "{} ({})",
                                route.prefixes.join(", "),
                                if route.requires_auth { "credential" } else { "public" }
                            )
                        })
                        .chain(extension.well_known.iter().map(|path| format!("{path} (public)")))
                        .collect(),
                ),
            )
            .with(
                "configuration",
                lines(
                    extension
                        .sections
                        .iter()
                        .cloned()
                        .chain(extension.config.as_ref().map(|config| format!("extensions.{}", config.prefix)))
                        .collect(),
                ),
            )
            .with(
                "roles",
                lines(extension.roles.iter().map(|role| format!("{} ({})", role.name, role.display_name)).collect()),
            )
            .with(
                "permissions",
                lines(extension.permissions.iter().map(|permission| permission.key.to_owned()).collect()),
            )
    });
    Ok(())
}

#[derive(Serialize)]
struct Verdict {
    valid: bool,
    extension_count: usize,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    extension_id: Option<String>,
    error_type: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

fn validate(printer: &Printer, registry: &ExtensionRegistry) -> CliResult {
    let errors: Vec<_> = registry
        .validate_all()
        .iter()
        .map(|error| Finding {
            extension_id: error.extension().map(str::to_owned),
            error_type: error.code(),
            message: error.to_string(),
            hint: error.hint(),
        })
        .collect();
    let verdict = Verdict { valid: errors.is_empty(), extension_count: registry.len(), errors, warnings: Vec::new() };
    printer.result(&verdict, || {
        if verdict.valid {
            return format!("{} extensions, no problems.", verdict.extension_count);
        }
        let line = |finding: &Finding| match &finding.hint {
            Some(hint) => format!("{} [{}]\n  fix: {hint}", finding.message, finding.error_type),
            None => format!("{} [{}]", finding.message, finding.error_type),
        };
        verdict.errors.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    if verdict.valid {
        return Ok(());
    }
    Err(CliError::status(Exit::Failure))
}

#[derive(Serialize)]
struct Declared {
    kind: &'static str,
    extension: &'static str,
    name: String,
    enabled: bool,
}

fn capabilities(
    printer: &Printer,
    registry: &ExtensionRegistry,
    kind: Option<Capability>,
    only: Option<&str>,
    enabled: bool,
) -> CliResult {
    let mut declared = Vec::new();
    for extension in &registry.snapshot().extensions {
        if only.is_some_and(|only| only != extension.id) || (enabled && !extension.enabled) {
            continue;
        }
        let mut add = |capability: Capability, label, names: Vec<String>| {
            if kind.is_none_or(|kind| kind == capability) {
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
    let table = || {
        let mut table = Table::new(&["kind", "name", "extension"]);
        for item in &declared {
            table.row([item.kind.to_owned(), item.name.clone(), item.extension.to_owned()]);
        }
        table
    };
    printer.list(&declared, table, "Nothing of this kind is declared.");
    Ok(())
}
