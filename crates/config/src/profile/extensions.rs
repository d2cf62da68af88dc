//! `extensions` and `services`: what runs, and with which settings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::problems::Problems;

/// Which extensions run, and their settings by prefix.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Extensions {
    /// Ids of extensions that are not loaded.
    pub disabled: Vec<String>,
    /// Ids of extensions without which the server does not start.
    pub required: Vec<String>,
    /// An extension that fails to start is marked unhealthy instead of stopping the server.
    pub lenient_start: bool,
    /// `SYSTEMPROMPT_EXT__<PREFIX>__<KEY>` in the environment overrides `extensions.<prefix>.<key>`.
    pub allow_env_overrides: bool,
    /// Roles of extensions that may grant every permission (`*`).
    pub approved_wildcard_roles: Vec<String>,
    /// The settings of each extension. Only prefixes of linked extensions are accepted.
    #[serde(flatten)]
    pub settings: BTreeMap<String, Value>,
}

/// Settings of the agents and MCP servers of this project.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServicePorts {
    /// Added to all agent and MCP ports, so that several copies of a project can run on one host.
    pub port_offset: u16,
}

pub(super) fn check(extensions: &Extensions, problems: &mut Problems<'_>) {
    for id in &extensions.required {
        if extensions.disabled.contains(id) {
            problems.error("/extensions/required", format!("the extension `{id}` is required and disabled"));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::profile::problems_of;

    #[test]
    fn an_extension_is_not_both_required_and_disabled() {
        let problems = problems_of("extensions: {required: [a, b], disabled: [b]}");
        assert_eq!(problems, ["extensions.required: the extension `b` is required and disabled"]);
    }
}
