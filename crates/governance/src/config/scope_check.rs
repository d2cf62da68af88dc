//! The settings of the policy `scope_check`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::mode::{OfferedMode, PolicyMode};

/// `scope_check`: tools whose name begins with one of these prefixes are for administrators.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScopeCheckConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// Overrides the mode of the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// The prefixes, case-sensitive.
    pub admin_only_prefixes: Vec<String>,
    /// What happens to prompts of others that offer such tools to a model. Calls the model asks for are refused anyway.
    #[serde(skip_serializing_if = "OfferedMode::is_default")]
    pub offered: OfferedMode,
}

impl Default for ScopeCheckConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: None,
            admin_only_prefixes: vec!["mcp__systemprompt__".to_owned()],
            offered: OfferedMode::Note,
        }
    }
}
