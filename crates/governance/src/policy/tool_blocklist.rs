//! `tool_blocklist`: tools that destroy are for administrators.

use async_trait::async_trait;
use systemprompt_extension::policy::{DenialKind, Policy, PolicyInput, Subject, Verdict, Violation};

use crate::config::{ToolBlocklistConfig, ToolPattern};

/// The policy.
pub(crate) struct ToolBlocklist {
    patterns: Vec<ToolPattern>,
}

impl ToolBlocklist {
    pub(crate) fn new(config: &ToolBlocklistConfig) -> Self {
        Self { patterns: config.patterns.clone() }
    }
}

#[async_trait]
impl Policy for ToolBlocklist {
    fn id(&self) -> &'static str {
        "tool_blocklist"
    }

    fn depends_on_content(&self) -> bool {
        false
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let Subject::ToolCall { name } = input.subject else { return Verdict::Skip("not a tool call".into()) };
        if input.by.principal.is_admin() {
            return Verdict::Skip("administrators are exempt".into());
        }
        match self.patterns.iter().find(|pattern| pattern.fits(name)) {
            Some(pattern) => Verdict::Fail(
                Violation::new(
                    DenialKind::NotEntitled,
                    "tool_blocked",
                    format!("the tool's name matches the blocked pattern `{}`", pattern.as_str()),
                )
                .with_advice(
                    "Go on without this tool, or have an administrator call it; the words are `patterns` of the policy \
                     `tool_blocklist` in services/governance/config.yaml",
                ),
            ),
            None => Verdict::Pass,
        }
    }
}
