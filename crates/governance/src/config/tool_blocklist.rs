//! The settings of the policy `tool_blocklist`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call_rule::CallRule;
use super::mode::{OfferedMode, PolicyMode};
use super::tool_pattern::ToolPattern;

/// `tool_blocklist`: tools that destroy are for administrators, and some calls for nobody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ToolBlocklistConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// Overrides the mode of the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// A word that must not occur in the tool's name (`drop` finds `drop_table` and `dropTable`, not `dropdown`), or, with
    /// a `*` or `?` in it, a pattern of the whole name. Letter case does not matter.
    pub patterns: Vec<ToolPattern>,
    /// Calls that are blocked by what they are asked to do: a pattern of tools and conditions on their input. The first rule
    /// that fits blocks.
    pub rules: Vec<CallRule>,
    /// What happens to prompts that offer a model tools whose calls are all blocked. Calls the model asks for are refused
    /// anyway.
    #[serde(skip_serializing_if = "OfferedMode::is_default")]
    pub offered: OfferedMode,
}

impl Default for ToolBlocklistConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: None,
            patterns: ["delete", "drop", "destroy"].map(|word| ToolPattern::Word(word.to_owned())).to_vec(),
            rules: Vec::new(),
            offered: OfferedMode::Note,
        }
    }
}
