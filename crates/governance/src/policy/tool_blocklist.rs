//! `tool_blocklist`: tools that destroy are for administrators, and some calls for nobody.

use async_trait::async_trait;
use systemprompt_extension::policy::{DenialKind, Policy, PolicyInput, Subject, Verdict, Violation};

use super::calls::{Calls, Hit};
use crate::config::{ToolBlocklistConfig, ToolPattern};

/// The policy.
pub(crate) struct ToolBlocklist {
    patterns: Vec<ToolPattern>,
    calls: Calls,
}

impl ToolBlocklist {
    pub(crate) fn new(config: &ToolBlocklistConfig) -> Self {
        Self { patterns: config.patterns.clone(), calls: Calls::new(&config.rules) }
    }
}

#[async_trait]
impl Policy for ToolBlocklist {
    fn id(&self) -> &'static str {
        "tool_blocklist"
    }

    fn depends_on_content(&self) -> bool {
        self.calls.depends_on_input()
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let Subject::ToolCall { name } = input.subject else { return Verdict::Skip("not a tool call".into()) };
        let is_admin = input.by.principal.is_admin();
        if let Some(hit) = self.calls.find(name, input.content, is_admin) {
            return Verdict::Fail(by_rule(&hit));
        }
        if is_admin {
            return Verdict::Skip("administrators are exempt".into());
        }
        match self.patterns.iter().find(|pattern| pattern.fits(name)) {
            Some(pattern) => Verdict::Fail(blocked(
                format!("the tool's name matches the blocked pattern `{}`", pattern.as_str()),
                "the words are `patterns`",
            )),
            None => Verdict::Pass,
        }
    }
}

fn by_rule(hit: &Hit<'_>) -> Violation {
    let why = hit.reason.map_or_else(String::new, |reason| format!(": {reason}"));
    let number = hit.number;
    blocked(format!("the call is blocked by rule {number}{why}"), "the calls are `rules`")
}

fn blocked(reason: String, setting: &str) -> Violation {
    Violation::new(DenialKind::NotEntitled, "tool_blocked", reason).with_advice(format!(
        "Go on without this tool, or have an administrator call it; {setting} of the policy `tool_blocklist` in \
         services/governance/config.yaml"
    ))
}
