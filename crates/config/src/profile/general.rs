//! `target`, `site` and `system_admin`: what an installation is and whose.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where an instance runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// On your own machine, with any database.
    #[default]
    Local,
    /// On a tenant of a control plane, in a container.
    Cloud,
}

/// What this installation is called.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Site {
    /// The name of the site.
    #[schemars(length(min = 1))]
    pub name: String,
    /// A link to its sources.
    #[serde(default)]
    pub github_link: Option<String>,
}

/// The principal that owns system records, created at the first start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SystemAdmin {
    /// The user name.
    #[schemars(length(min = 1))]
    pub username: String,
    /// The e-mail address.
    #[serde(default)]
    pub email: Option<String>,
}
