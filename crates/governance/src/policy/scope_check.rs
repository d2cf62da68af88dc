//! `scope_check`: tools whose name begins in certain ways are for administrators.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_extension::policy::{DenialKind, Policy, PolicyInput, Subject, Verdict, Violation};

use crate::config::PolicyMode;

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
}

impl Default for ScopeCheckConfig {
    fn default() -> Self {
        Self { enabled: true, mode: None, admin_only_prefixes: vec!["mcp__systemprompt__".to_owned()] }
    }
}

/// The policy.
pub(crate) struct ScopeCheck {
    admin_only_prefixes: Vec<String>,
}

impl ScopeCheck {
    pub(crate) fn new(config: &ScopeCheckConfig) -> Self {
        Self { admin_only_prefixes: config.admin_only_prefixes.clone() }
    }
}

#[async_trait]
impl Policy for ScopeCheck {
    fn id(&self) -> &'static str {
        "scope_check"
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let Subject::ToolCall { name } = input.subject else { return Verdict::Skip("not a tool call".into()) };
        let principal = &input.by.principal;
        match self.admin_only_prefixes.iter().find(|prefix| name.starts_with(prefix.as_str())) {
            Some(prefix) if !principal.is_admin() => Verdict::Fail(Violation::new(
                DenialKind::NotEntitled,
                "scope_violation",
                format!(
                    "tools whose name begins with `{prefix}` are for administrators; the caller is `{}`",
                    principal.user_type
                ),
            )),
            _ => Verdict::Pass,
        }
    }
}
