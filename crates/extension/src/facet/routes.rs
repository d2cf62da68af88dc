//! The facet of mounts, and the rules for where anything may be mounted.

use serde_json::json;

use super::kind::{Declared, Described, Facet};
use crate::route::{broken_base_path_rule, broken_prefix_rule, is_common_ground, lies_under};
use crate::{Access, BUILT_IN, Extension, ExtensionRouterConfig, LoaderError, Mount, RESERVED_PATHS};

/// Where routers are mounted.
#[derive(Debug)]
pub enum Routes {}

impl Facet for Routes {
    type Contribution = ExtensionRouterConfig;

    const ABOUT: &'static str = "Where its routers are mounted, and for whom.";
    const METHOD: &'static str = "router_configs";

    fn of(extension: &dyn Extension) -> Vec<ExtensionRouterConfig> {
        extension.router_configs()
    }

    fn describe(config: &ExtensionRouterConfig) -> Described {
        let who = config.access.map_or("whom each endpoint names".into(), Access::describe);
        let details = json!({
            "base_path": config.base_path,
            "prefixes": config.prefixes(),
            "access": config.access,
            "mount": config.mount(),
        });
        Described::new(config.prefixes().join(", "), who, details)
    }

    fn check(declared: &[Declared<'_, ExtensionRouterConfig>]) -> Vec<LoaderError> {
        check_mounts(declared.iter().map(|declared| (declared.extension, declared.contributions.to_vec())))
    }
}

/// Every breach of the rules for mounts, announced or built.
pub(crate) fn check_mounts(
    mounts: impl Iterator<Item = (&'static str, Vec<ExtensionRouterConfig>)>,
) -> Vec<LoaderError> {
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
