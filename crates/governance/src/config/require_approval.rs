//! The settings of the policy `require_approval`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::call_rule::CallRule;
use super::flaw::Flaw;
use super::mode::PolicyMode;

/// `require_approval`: some calls wait until a second person, an administrator, has approved them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequireApprovalConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// Overrides the mode of the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// The calls that wait.
    pub rules: Vec<CallRule>,
    /// How long a call waits for somebody to decide, and how long what was decided holds, in seconds; 60 to 604800.
    pub ttl_secs: u32,
    /// Whether an approval is good for one call. Otherwise it is for all calls like it, until it expires.
    pub once: bool,
    /// What happens to an answer in which a model asks for such a call that nobody has approved.
    #[serde(skip_serializing_if = "ProposalMode::is_default")]
    pub proposals: ProposalMode,
}

/// What happens to an answer in which a model asks for a call that needs an approval.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ProposalMode {
    /// It is withheld, and the call waits.
    #[default]
    Hold,
    /// That is recorded: the client asks by a hook before it makes the call, and the call waits then.
    Note,
}

impl ProposalMode {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for RequireApprovalConfig {
    fn default() -> Self {
        Self { enabled: true, mode: None, rules: Vec::new(), ttl_secs: 3600, once: true, proposals: ProposalMode::Hold }
    }
}

impl RequireApprovalConfig {
    /// Everything that is wrong with it although it fits the schema.
    pub(crate) fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        if !(60..=604_800).contains(&self.ttl_secs) {
            flaws.push(Flaw::new(format!("{at}/ttl_secs"), "must be between 60 and 604800 seconds"));
        }
        if self.enabled && self.rules.is_empty() {
            flaws.push(Flaw::new(format!("{at}/rules"), "is empty, so nothing would wait; say which calls do"));
        }
        for (index, rule) in self.rules.iter().enumerate() {
            rule.flaws(&format!("{at}/rules/{index}"), flaws);
        }
    }
}
