//! The rules a set of extensions must keep. Each function is one rule and returns every breach of it.

use std::collections::{BTreeMap, BTreeSet};

use systemprompt_config::Place;
use systemprompt_database::{SchemaDefinition, SchemaSource, install};
use systemprompt_model::UserType;

use crate::registry::{Entry, normal_id};
use crate::role::normal_key;
use crate::route::{broken_base_path_rule, broken_prefix_rule, is_common_ground, lies_under};
use crate::{
    Access, BUILT_IN, ExtensionRegistry, ExtensionRouter, ExtensionRouterConfig, LoaderError, Mount, RESERVED_PATHS,
};

/// Roles that exist without any extension.
const BUILT_IN_ROLES: &[&str] = &["a2a", "admin", "anonymous", "mcp", "service", "user"];

pub(crate) fn all(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let mut problems = ids(registry);
    problems.extend(profile(registry));
    problems.extend(dependencies(registry));
    problems.extend(core_version(registry));
    problems.extend(announced_routes(registry));
    problems.extend(access(registry));
    problems.extend(well_known(registry));
    problems.extend(config_prefixes(registry));
    problems.extend(sections(registry));
    problems.extend(roles(registry));
    problems.extend(sql(registry));
    problems
}

fn ids(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let broken = |id: &str| {
        let mut characters = id.chars();
        if matches!(id, "core" | "system" | "all" | "none") {
            Some("it is taken by the product")
        } else if !characters.next().is_some_and(|c| c.is_ascii_lowercase()) {
            Some("it must start with a lower-case letter")
        } else if !characters.all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_')) {
            Some("it must consist of lower-case ASCII letters, digits, '-' and '_'")
        } else if id.len() > 63 {
            Some("it must not be longer than 63 characters")
        } else {
            None
        }
    };
    registry
        .all()
        .filter_map(|entry| {
            let message = broken(entry.id())?.to_owned();
            Some(LoaderError::InvalidExtensionId { id: entry.id().to_owned(), message })
        })
        .collect()
}

/// What the profile says about extensions that are not there, or cannot be missed.
fn profile(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let known = |id: &str| registry.all().find(|entry| normal_id(entry.id()) == normal_id(id));
    let profile = registry.profile();
    let disabled = profile.disabled.iter().filter_map(|id| match known(id) {
        None => Some(LoaderError::UnknownExtension(id.clone())),
        Some(entry) if entry.required => Some(LoaderError::CannotDisableRequired(id.clone())),
        Some(_) if profile.required.iter().any(|required| normal_id(required) == normal_id(id)) => {
            Some(LoaderError::CannotDisableRequired(id.clone()))
        }
        Some(_) => None,
    });
    let required = profile.required.iter().filter(|id| known(id).is_none());
    disabled.chain(required.map(|id| LoaderError::MissingRequiredExtension(id.clone()))).collect()
}

pub(crate) fn dependencies(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let mut problems = Vec::new();
    for entry in registry.entries() {
        for dependency in &entry.dependencies {
            if registry.entries().iter().any(|other| other.id() == *dependency) {
                continue;
            }
            problems.push(LoaderError::MissingDependency {
                extension: entry.id().to_owned(),
                dependency: (*dependency).to_owned(),
                disabled: registry.disabled_entries().iter().any(|other| other.id() == *dependency),
            });
        }
    }
    problems.extend(registry.circles().iter().map(|chain| LoaderError::CircularDependency { chain: chain.clone() }));
    problems
}

fn core_version(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let actual = env!("CARGO_PKG_VERSION");
    registry
        .entries()
        .iter()
        .filter_map(|entry| {
            let required = entry.min_core_version?;
            let enough = version(required).is_some_and(|required| Some(required) <= version(actual));
            (!enough).then(|| LoaderError::IncompatibleCore {
                extension: entry.id().to_owned(),
                required: required.to_owned(),
                actual: actual.to_owned(),
            })
        })
        .collect()
}

/// `MAJOR[.MINOR[.PATCH]]` as numbers; what follows a `-` or `+` does not count.
fn version(text: &str) -> Option<[u32; 3]> {
    let release = text.split(['-', '+']).next()?;
    let mut numbers = [0; 3];
    let parts: Vec<&str> = release.split('.').collect();
    if parts.len() > numbers.len() {
        return None;
    }
    for (number, part) in numbers.iter_mut().zip(parts) {
        *number = part.parse().ok()?;
    }
    Some(numbers)
}

pub(crate) fn announced_routes(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    routes(registry.entries().iter().map(|entry| (entry.id(), entry.routes.clone())).collect())
}

/// The same rules for what the extensions really built, and that it is what they announced.
pub(crate) fn built_routes(built: &[(&Entry, Vec<ExtensionRouter>)]) -> Vec<LoaderError> {
    let configs = |routers: &[ExtensionRouter]| routers.iter().map(ExtensionRouter::config).collect::<Vec<_>>();
    let mut problems = Vec::new();
    for (entry, routers) in built {
        let unguarded = routers.iter().filter(|router| router.is_self_guarded() && !BUILT_IN.contains(&entry.id()));
        problems.extend(unguarded.map(|router| LoaderError::InvalidBasePath {
            extension: entry.id().to_owned(),
            path: router.base_path.to_owned(),
            message: "only built-in features may guard their routes themselves".to_owned(),
        }));
        let configs = configs(routers);
        if entry.routes.is_empty() && !configs.is_empty() {
            tracing::warn!(
                extension = entry.id(),
                routes = list(&configs),
                "the extension announces no router_config, so conflicts of its routes show only at start-up"
            );
        } else if list(&entry.routes) != list(&configs) {
            problems.push(LoaderError::RouterConfigMismatch {
                extension: entry.id().to_owned(),
                declared: list(&entry.routes),
                built: list(&configs),
            });
        }
    }
    problems.extend(routes(built.iter().map(|(entry, routers)| (entry.id(), configs(routers))).collect()));
    problems
}

/// Rules of access that nobody could ever meet: they name a permission that no extension declares.
fn access(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    use UserType::{A2a, Admin, Anon, Mcp, Service, User};
    let declared: BTreeSet<String> = registry.permissions().iter().map(|(_, of)| normal_key(of.key)).collect();
    let known = |key: &str| declared.contains(&normal_key(key));
    let user_type = |scope: &str| [A2a, Admin, Anon, Mcp, Service, User].iter().any(|of| of.as_str() == scope);
    let mut problems = Vec::new();
    for entry in registry.entries() {
        let mounts = entry.routes.iter().filter_map(|mount| Some((mount.base_path, mount.access?)));
        let endpoints = entry.endpoints.iter().map(|endpoint| (endpoint.path.as_str(), endpoint.access));
        for (path, access) in mounts.chain(endpoints) {
            let unknown: Vec<&str> = match access {
                Access::Permission(key) if !known(key) => vec![key],
                Access::Scopes(scopes) => {
                    scopes.iter().copied().filter(|scope| !user_type(scope) && !known(scope)).collect()
                }
                Access::Permission(_)
                | Access::Public
                | Access::Authenticated
                | Access::User
                | Access::Admin
                | Access::AdminOrLocal => Vec::new(),
            };
            problems.extend(unknown.into_iter().map(|permission| LoaderError::UnknownPermission {
                extension: entry.id().to_owned(),
                path: path.to_owned(),
                permission: permission.to_owned(),
            }));
        }
    }
    problems
}

/// Mounts in words, whatever order they were given in.
fn list(configs: &[ExtensionRouterConfig]) -> String {
    let mut words: Vec<String> = configs.iter().map(ToString::to_string).collect();
    words.sort_unstable();
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

fn routes(mounts: Vec<(&'static str, Vec<ExtensionRouterConfig>)>) -> Vec<LoaderError> {
    let mut problems = Vec::new();
    let mut claimed: Vec<(&str, &str)> = Vec::new();
    for (id, configs) in mounts {
        for config in configs {
            for path in config.prefixes() {
                if let Some(message) = broken_mount_rule(id, &config, path) {
                    problems.push(LoaderError::InvalidBasePath {
                        extension: id.to_owned(),
                        path: path.to_owned(),
                        message: message.to_owned(),
                    });
                    continue;
                }
                if let Some(reserved) = reserved_against(id, path) {
                    problems.push(LoaderError::ReservedPathCollision {
                        extension: id.to_owned(),
                        path: path.to_owned(),
                        reserved: reserved.to_owned(),
                    });
                    continue;
                }
                if let Some((other, _)) = claimed.iter().find(|claim| conflicts((id, path), **claim)) {
                    problems.push(LoaderError::RoutePathConflict {
                        a: (*other).to_owned(),
                        b: id.to_owned(),
                        path: path.to_owned(),
                    });
                }
                claimed.push((id, path));
            }
        }
    }
    problems
}

fn broken_mount_rule(id: &str, config: &ExtensionRouterConfig, path: &str) -> Option<&'static str> {
    let built_in = BUILT_IN.contains(&id);
    match config.mount() {
        Mount::Nested => broken_base_path_rule(path),
        Mount::Absolute(_) if !built_in => Some("only built-in features may mount outside /api"),
        Mount::Absolute(_) => broken_prefix_rule(path),
    }
}

fn reserved_against(id: &str, path: &str) -> Option<&'static str> {
    if BUILT_IN.contains(&id) {
        return None;
    }
    RESERVED_PATHS.iter().copied().find(|reserved| lies_under(path, reserved))
}

/// Built-in features may share a subtree (`/api/v1/admin` and `/api/v1/admin/users`), since they are developed together.
fn conflicts((id, path): (&str, &str), (other_id, other): (&str, &str)) -> bool {
    if path == other {
        return true;
    }
    let built_in = BUILT_IN.contains(&id) && BUILT_IN.contains(&other_id);
    let below = |inner, outer| lies_under(inner, outer) && !is_common_ground(outer);
    !built_in && (below(path, other) || below(other, path))
}

pub(crate) fn well_known(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let mut problems = Vec::new();
    let mut claimed = BTreeMap::new();
    for entry in registry.entries() {
        for route in &entry.well_known {
            let path = route.full_path();
            if let Some(message) = broken_prefix_rule(&path) {
                problems.push(LoaderError::InvalidBasePath {
                    extension: entry.id().to_owned(),
                    path,
                    message: message.to_owned(),
                });
            } else if let Some(other) = claimed.insert(path.clone(), entry.id()) {
                problems.push(LoaderError::RoutePathConflict { a: other.to_owned(), b: entry.id().to_owned(), path });
            }
        }
    }
    problems
}

fn config_prefixes(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let mut problems = Vec::new();
    let mut claimed = BTreeMap::new();
    for entry in registry.all() {
        let Some(prefix) = entry.config_prefix.as_deref() else { continue };
        let message = if ExtensionRegistry::RESERVED_PREFIXES.contains(&prefix) {
            Some("it is a key of `extensions:` itself")
        } else if !prefix.starts_with(|c: char| c.is_ascii_lowercase())
            || !prefix.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
        {
            Some("it must start with a lower-case letter and consist of lower-case letters, digits and '_'")
        } else {
            None
        };
        if let Some(message) = message {
            problems.push(LoaderError::InvalidConfigPrefix {
                extension: entry.id().to_owned(),
                prefix: prefix.to_owned(),
                message: message.to_owned(),
            });
        }
        if let Some(other) = claimed.insert(prefix, entry.id()) {
            problems.push(LoaderError::DuplicateConfigPrefix {
                prefix: prefix.to_owned(),
                a: other.to_owned(),
                b: entry.id().to_owned(),
            });
        }
        if let Some(schema) = &entry.config_schema
            && let Err(error) = jsonschema::validator_for(schema)
        {
            problems.push(LoaderError::ConfigValidationFailed {
                extension: entry.id().to_owned(),
                message: crate::ConfigError::SchemaValidation(error.to_string()).to_string(),
            });
        }
    }
    problems
}

fn sections(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let mut problems = Vec::new();
    let mut claimed: BTreeMap<&Place, &str> = BTreeMap::new();
    for entry in registry.all() {
        for section in &entry.sections {
            if let Some(other) = claimed.insert(&section.place, entry.id()) {
                problems.push(LoaderError::DuplicateSection {
                    section: place_in_words(&section.place),
                    a: other.to_owned(),
                    b: entry.id().to_owned(),
                });
            }
        }
    }
    problems
}

pub(crate) fn place_in_words(place: &Place) -> String {
    match place {
        Place::Profile { key } => format!("`{key}` of the profile"),
        Place::Service { path, key } => format!("`{key}` of services/{path}"),
        Place::Extension { prefix } => format!("`extensions.{prefix}`"),
    }
}

fn roles(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let mut problems = Vec::new();
    let mut roles: BTreeMap<&str, &str> = BUILT_IN_ROLES.iter().map(|role| (*role, "core")).collect();
    let mut permissions: BTreeMap<String, &str> = BTreeMap::new();
    for entry in registry.entries() {
        let duplicate = |kind, name: &str, other: &str| LoaderError::DuplicateRole {
            kind,
            name: name.to_owned(),
            a: other.to_owned(),
            b: entry.id().to_owned(),
        };
        for role in &entry.roles {
            match roles.insert(&role.name, entry.id()) {
                Some("core") if BUILT_IN.contains(&entry.id()) => {}
                Some(other) => problems.push(duplicate("role", &role.name, other)),
                None => {}
            }
        }
        for permission in &entry.permissions {
            if let Some(other) = permissions.insert(normal_key(permission.key), entry.id()) {
                problems.push(duplicate("permission", permission.key, other));
            }
        }
    }
    for entry in registry.entries() {
        for role in &entry.roles {
            for permission in &role.permissions {
                if let Some(message) = broken_grant_rule(registry, entry, &permissions, &role.name, permission) {
                    problems.push(LoaderError::InvalidRole {
                        extension: entry.id().to_owned(),
                        role: role.name.clone(),
                        permission: permission.clone(),
                        message,
                    });
                }
            }
        }
    }
    problems
}

fn broken_grant_rule(
    registry: &ExtensionRegistry,
    entry: &Entry,
    declared: &BTreeMap<String, &str>,
    role: &str,
    permission: &str,
) -> Option<String> {
    if permission == "*" {
        let approved = registry.profile().approved_wildcard_roles.iter().any(|name| name == role);
        return (!approved && !BUILT_IN.contains(&entry.id()))
            .then(|| "the operator has not approved this role for everything".to_owned());
    }
    match declared.get(&normal_key(permission)).copied() {
        Some(owner) if owner == entry.id() || entry.dependencies.contains(&owner) => None,
        Some(owner) => Some(format!("it belongs to '{owner}', which is not a dependency")),
        None => Some("no extension declares it".to_owned()),
    }
}

/// What the SQL of all extensions breaks: statements that do not belong where they are, tables with two owners, foreign
/// tables changed without saying so. With a schema in a file, only the installer can tell, since it knows the directory.
fn sql(registry: &ExtensionRegistry) -> Vec<LoaderError> {
    let in_file = |schema: &SchemaDefinition| matches!(schema.sql, SchemaSource::File(_));
    if registry.entries().iter().any(|entry| entry.schemas.iter().any(in_file)) {
        return Vec::new();
    }
    install::check(&registry.modules(), None).into_iter().map(LoaderError::from).collect()
}
