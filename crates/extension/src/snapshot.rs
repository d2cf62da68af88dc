//! The inventory: what every extension contributes, as commands and pages print it.

use serde::Serialize;
use systemprompt_database::{Migration, SchemaDefinition, SchemaSource};

use crate::registry::Entry;
use crate::validate::place_in_words;
use crate::{Access, Endpoint, ExtensionRegistry, ExtensionRouterConfig, Mount, Source};

/// What every extension of a registry contributes. Printed by `plugins list|show|capabilities` and by the discovery
/// endpoint, none of which ask an extension again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CapabilitySnapshot {
    /// Enabled extensions in load order, then the disabled ones by id.
    pub extensions: Vec<ExtensionCapabilities>,
}

/// What one extension contributes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ExtensionCapabilities {
    /// The id.
    pub id: &'static str,
    /// The name for people.
    pub name: &'static str,
    /// The version.
    pub version: &'static str,
    /// Where it comes from.
    pub source: Source,
    /// Whether it takes part.
    pub enabled: bool,
    /// Its place in load order, from 1; none when it is disabled.
    pub position: Option<usize>,
    /// Whether configuration may not disable it.
    pub required: bool,
    /// Orders it among extensions it has no dependency on.
    pub priority: u32,
    /// Orders it among those of the same priority.
    pub migration_weight: u32,
    /// Extensions that come earlier and must be there.
    pub dependencies: Vec<&'static str>,
    /// Extensions that come earlier if they are there.
    pub optional_dependencies: Vec<&'static str>,
    /// Its schema definitions.
    pub schemas: Vec<SchemaCapability>,
    /// Its migrations, ascending.
    pub migrations: Vec<MigrationCapability>,
    /// The ids of its seeds.
    pub seeds: Vec<&'static str>,
    /// Tables of other extensions its migrations change.
    pub cross_extension_tables: Vec<&'static str>,
    /// Where it announces routes.
    pub routes: Vec<RouteCapability>,
    /// What can be asked of these routes, where the extension says so.
    pub endpoints: Vec<Endpoint>,
    /// Its documents below `/.well-known/`, as whole paths.
    pub well_known: Vec<String>,
    /// Its own configuration.
    pub config: Option<ConfigCapability>,
    /// Other parts of the configuration it owns, in words.
    pub sections: Vec<String>,
    /// Its roles.
    pub roles: Vec<RoleCapability>,
    /// Its permissions.
    pub permissions: Vec<PermissionCapability>,
}

/// One schema definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaCapability {
    /// The table, or the label of a definition that is not about one table.
    pub table: String,
    /// The PostgreSQL schema.
    pub schema: String,
    /// `inline`, or the path of the file.
    pub source: String,
    /// Columns that must exist once everything is installed.
    pub required_columns: Vec<String>,
}

/// One migration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct MigrationCapability {
    /// Its number.
    pub version: u32,
    /// What it does.
    pub name: &'static str,
    /// The digest of its text.
    pub checksum: String,
    /// Whether it can be taken back.
    pub reversible: bool,
    /// Whether it runs outside a transaction.
    pub no_transaction: bool,
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RouteCapability {
    /// Where; for a router with several prefixes the first.
    pub base_path: &'static str,
    /// Everywhere it answers.
    pub prefixes: Vec<&'static str>,
    /// Who may reach it; none where each endpoint says so itself.
    pub access: Option<Access>,
    /// How it is joined to the server's router.
    pub mount: Mount,
}

/// An extension's own configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ConfigCapability {
    /// The prefix.
    pub prefix: String,
    /// Whether a schema is enforced.
    pub has_schema: bool,
}

/// One role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoleCapability {
    /// The name.
    pub name: String,
    /// The name for people.
    pub display_name: String,
    /// What it grants.
    pub permissions: Vec<String>,
}

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PermissionCapability {
    /// The key.
    pub key: &'static str,
    /// What it allows.
    pub description: &'static str,
    /// Who has it by default.
    pub default_roles: Vec<&'static str>,
}

impl CapabilitySnapshot {
    /// The extension with this id, enabled or not.
    pub fn get(&self, id: &str) -> Option<&ExtensionCapabilities> {
        self.extensions.iter().find(|extension| extension.id == id)
    }

    pub(crate) fn of(registry: &ExtensionRegistry) -> Self {
        let enabled = registry.entries().iter().enumerate().map(|(at, entry)| capabilities(entry, Some(at + 1)));
        let disabled = registry.disabled_entries().iter().map(|entry| capabilities(entry, None));
        Self { extensions: enabled.chain(disabled).collect() }
    }
}

fn capabilities(entry: &Entry, position: Option<usize>) -> ExtensionCapabilities {
    let mut migrations: Vec<_> = entry.migrations.iter().map(MigrationCapability::from).collect();
    migrations.sort_by_key(|migration| migration.version);
    ExtensionCapabilities {
        id: entry.metadata.id,
        name: entry.metadata.name,
        version: entry.metadata.version,
        source: entry.source,
        enabled: position.is_some(),
        position,
        required: entry.required,
        priority: entry.priority,
        migration_weight: entry.weight,
        dependencies: entry.dependencies.clone(),
        optional_dependencies: entry.optional_dependencies.clone(),
        schemas: entry.schemas.iter().map(SchemaCapability::from).collect(),
        migrations,
        seeds: entry.seeds.iter().map(|seed| seed.id).collect(),
        cross_extension_tables: entry.cross_tables.clone(),
        routes: entry.routes.iter().map(RouteCapability::from).collect(),
        endpoints: entry.endpoints.clone(),
        well_known: entry.well_known.iter().map(crate::WellKnownRoute::full_path).collect(),
        config: entry
            .config_prefix
            .clone()
            .map(|prefix| ConfigCapability { prefix, has_schema: entry.config_schema.is_some() }),
        sections: entry.sections.iter().map(|section| place_in_words(&section.place)).collect(),
        roles: entry
            .roles
            .iter()
            .map(|role| RoleCapability {
                name: role.name.clone(),
                display_name: role.display_name.clone(),
                permissions: role.permissions.clone(),
            })
            .collect(),
        permissions: entry
            .permissions
            .iter()
            .map(|permission| PermissionCapability {
                key: permission.key,
                description: permission.description,
                default_roles: permission.default_roles.clone(),
            })
            .collect(),
    }
}

impl From<&SchemaDefinition> for SchemaCapability {
    fn from(definition: &SchemaDefinition) -> Self {
        Self {
            table: definition.table.clone(),
            schema: definition.schema_name().to_owned(),
            source: match &definition.sql {
                SchemaSource::Inline(_) => "inline".to_owned(),
                SchemaSource::File(path) => path.display().to_string(),
            },
            required_columns: definition.required_columns.clone(),
        }
    }
}

impl From<&Migration> for MigrationCapability {
    fn from(migration: &Migration) -> Self {
        Self {
            version: migration.version,
            name: migration.name,
            checksum: migration.checksum(),
            reversible: migration.down.is_some(),
            no_transaction: migration.no_transaction,
        }
    }
}

impl From<&ExtensionRouterConfig> for RouteCapability {
    fn from(config: &ExtensionRouterConfig) -> Self {
        Self { base_path: config.base_path, prefixes: config.prefixes(), access: config.access, mount: config.mount() }
    }
}
