//! The rules a set of extensions must keep. Each function is one rule and returns every breach of it.

use std::collections::{BTreeMap, BTreeSet};

use systemprompt_database::{SchemaDefinition, SchemaSource, install};
use systemprompt_model::UserType;

use crate::facet::{self, Checked, Endpoints, Permissions, Projections, Roles, Routes, Schemas};
use crate::role::normal_key;
use crate::set::{Entry, Set, normal_id};
use crate::{Access, BUILT_IN, ExtensionRouter, ExtensionRouterConfig, LoaderError};

pub(crate) fn all(set: &Set) -> Vec<LoaderError> {
    let mut problems = ids(set);
    problems.extend(profile(set));
    problems.extend(dependencies(set));
    problems.extend(core_version(set));
    problems.extend(facets(set));
    problems.extend(access(set));
    problems.extend(grants(set));
    problems.extend(sql(set));
    problems
}

/// What can be seen in one facet alone.
fn facets(set: &Set) -> Vec<LoaderError> {
    let checked =
        |enabled| move |entry| Checked { extension: Entry::id(entry), enabled, contributions: &entry.contributions };
    let extensions: Vec<Checked<'_>> =
        set.enabled.iter().map(checked(true)).chain(set.disabled.iter().map(checked(false))).collect();
    facet::check(&extensions)
}

fn ids(set: &Set) -> Vec<LoaderError> {
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
    set.all()
        .filter_map(|entry| {
            let message = broken(entry.id())?.to_owned();
            Some(LoaderError::InvalidExtensionId { id: entry.id().to_owned(), message })
        })
        .collect()
}

/// What the profile says about extensions that are not there, or cannot be missed.
fn profile(set: &Set) -> Vec<LoaderError> {
    let known = |id: &str| set.find(id);
    let profile = &set.profile;
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

fn dependencies(set: &Set) -> Vec<LoaderError> {
    let mut problems = Vec::new();
    for entry in &set.enabled {
        for dependency in &entry.dependencies {
            if set.enabled.iter().any(|other| other.id() == *dependency) {
                continue;
            }
            problems.push(LoaderError::MissingDependency {
                extension: entry.id().to_owned(),
                dependency: (*dependency).to_owned(),
                disabled: set.disabled.iter().any(|other| other.id() == *dependency),
            });
        }
    }
    problems.extend(set.circles.iter().map(|chain| LoaderError::CircularDependency { chain: chain.clone() }));
    problems
}

fn core_version(set: &Set) -> Vec<LoaderError> {
    let actual = env!("CARGO_PKG_VERSION");
    set.enabled
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

/// The rules for mounts, of what the extensions really built, and that it is what they announced.
pub(crate) fn built_routes(built: &[(&Entry, Vec<ExtensionRouter>)]) -> Vec<LoaderError> {
    let configs = |routers: &[ExtensionRouter]| routers.iter().map(ExtensionRouter::config).collect::<Vec<_>>();
    let mut problems = Vec::new();
    for (entry, routers) in built {
        let configs = configs(routers);
        let announced = entry.declares::<Routes>();
        if announced.is_empty() && !configs.is_empty() {
            tracing::warn!(
                extension = entry.id(),
                routes = list(&configs),
                "the extension announces no router_config, so conflicts of its routes show only at start-up"
            );
        } else if list(announced) != list(&configs) {
            problems.push(LoaderError::RouterConfigMismatch {
                extension: entry.id().to_owned(),
                declared: list(announced),
                built: list(&configs),
            });
        }
    }
    problems.extend(facet::check_mounts(built.iter().map(|(entry, routers)| (entry.id(), configs(routers)))));
    problems
}

/// Rules of access that nobody could ever meet: they name a permission that no extension declares.
fn access(set: &Set) -> Vec<LoaderError> {
    use UserType::{A2a, Admin, Anon, Mcp, Service, User};
    let permissions = set.enabled.iter().flat_map(Entry::declares::<Permissions>);
    let declared: BTreeSet<String> = permissions.map(|permission| normal_key(permission.key)).collect();
    let known = |key: &str| declared.contains(&normal_key(key));
    let user_type = |scope: &str| [A2a, Admin, Anon, Mcp, Service, User].iter().any(|of| of.as_str() == scope);
    let mut problems = Vec::new();
    for entry in &set.enabled {
        let mounts = entry.declares::<Routes>().iter().filter_map(|mount| Some((mount.base_path, mount.access?)));
        let endpoints = entry.declares::<Endpoints>().iter().map(|endpoint| (endpoint.path.as_str(), endpoint.access));
        for (path, access) in mounts.chain(endpoints) {
            let unknown: Vec<&str> = match access {
                Access::Permission(key) if !known(key) => vec![key],
                Access::Scopes(scopes) => {
                    scopes.iter().copied().filter(|scope| !user_type(scope) && !known(scope)).collect()
                }
                Access::Permission(_)
                | Access::Public
                | Access::Own
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

/// Roles that grant what they may not.
fn grants(set: &Set) -> Vec<LoaderError> {
    let owners: BTreeMap<String, &str> = set
        .enabled
        .iter()
        .flat_map(|entry| entry.declares::<Permissions>().iter().map(|of| (normal_key(of.key), entry.id())))
        .collect();
    let mut problems = Vec::new();
    for entry in &set.enabled {
        for role in entry.declares::<Roles>() {
            for permission in &role.permissions {
                if let Some(message) = broken_grant_rule(set, entry, &owners, &role.name, permission) {
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
    set: &Set,
    entry: &Entry,
    declared: &BTreeMap<String, &str>,
    role: &str,
    permission: &str,
) -> Option<String> {
    if permission == "*" {
        let approved = set.profile.approved_wildcard_roles.iter().any(|name| name == role);
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
/// tables changed without saying so, and projections into tables of others, which a rebuild would empty. With a schema in
/// a file, only the installer can tell, since it knows the directory.
fn sql(set: &Set) -> Vec<LoaderError> {
    let in_file = |schema: &SchemaDefinition| matches!(schema.sql, SchemaSource::File(_));
    if set.enabled.iter().any(|entry| entry.declares::<Schemas>().iter().any(in_file)) {
        return Vec::new();
    }
    let modules = set.modules();
    let mut problems: Vec<LoaderError> = install::check(&modules, None).into_iter().map(LoaderError::from).collect();
    let tables = install::declared_tables(&modules, None);
    for entry in &set.enabled {
        for table in entry.declares::<Projections>().iter().flat_map(|projection| projection.tables()) {
            let owners: Vec<&str> = tables
                .iter()
                .filter(|((_, name), _)| name == table)
                .map(|(_, declared)| declared.extension.as_str())
                .collect();
            if owners.contains(&entry.id()) {
                continue;
            }
            let message = match owners.first() {
                Some(owner) => format!("it belongs to '{owner}'"),
                None => "none of the extension's schemas creates it".to_owned(),
            };
            problems.push(LoaderError::InvalidName {
                extension: entry.id().to_owned(),
                kind: "projected table",
                name: (*table).to_owned(),
                message,
            });
        }
    }
    problems
}
