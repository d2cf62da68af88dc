//! `tool_blocklist`: tools that destroy are for administrators, and some calls for nobody.

use async_trait::async_trait;
use systemprompt_extension::policy::{DenialKind, Phase, Policy, PolicyInput, Subject, Verdict, Violation};

use super::calls::{Calls, Hit};
use super::tool_call::{ToolCall, judge_offered};
use crate::config::{OfferedMode, ToolBlocklistConfig, ToolPattern};

/// The policy.
pub(crate) struct ToolBlocklist {
    patterns: Vec<ToolPattern>,
    calls: Calls,
    offered: OfferedMode,
}

impl ToolBlocklist {
    pub(crate) fn new(config: &ToolBlocklistConfig) -> Self {
        Self { patterns: config.patterns.clone(), calls: Calls::new(&config.rules), offered: config.offered }
    }

    fn pattern_of(&self, tool: &str) -> Option<&ToolPattern> {
        self.patterns.iter().find(|pattern| pattern.fits(tool))
    }
}

#[async_trait]
impl Policy for ToolBlocklist {
    fn id(&self) -> &'static str {
        "tool_blocklist"
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        match (phase, subject) {
            (Phase::Before, _) => true,
            (Phase::After, Subject::ToolCall { name }) => {
                self.pattern_of(name).is_some() || self.calls.may_be_about(name)
            }
            (Phase::After, _) => false,
        }
    }

    fn depends_on_content(&self) -> bool {
        self.calls.depends_on_input()
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let is_admin = input.by.principal.is_admin();
        let Some(call) = ToolCall::of(input) else {
            let is_meant = |name: &str| {
                self.calls.are_about_all_of(name, is_admin, input.offered_tools.destructive())
                    || !is_admin && self.pattern_of(name).is_some()
            };
            let reason = |tools| format!("the model is offered tools that are blocked: {tools}");
            let object = |tools| blocked(reason(tools), "the tools are `patterns` and `rules`");
            return judge_offered(input, is_meant, self.offered, object);
        };
        if let Some(hit) = self.calls.find(call.name, input.content, is_admin, input.offered_tools.destructive()) {
            return Verdict::Fail(call.objection(by_rule(&hit)));
        }
        if is_admin {
            return Verdict::Skip("administrators are exempt".into());
        }
        match self.pattern_of(call.name) {
            Some(pattern) => Verdict::Fail(call.objection(blocked(
                format!("the tool's name matches the blocked pattern `{}`", pattern.as_str()),
                "the words are `patterns`",
            ))),
            None => Verdict::Pass,
        }
    }
}

fn by_rule(hit: &Hit<'_>) -> Violation {
    let why = match (hit.reason, hit.destroys) {
        (Some(reason), _) => format!(": {reason}"),
        (None, Some(destroys)) => format!(": {destroys}"),
        (None, None) => String::new(),
    };
    let number = hit.number;
    blocked(format!("the call is blocked by rule {number}{why}"), "the calls are `rules`")
}

fn blocked(reason: String, setting: &str) -> Violation {
    Violation::new(DenialKind::NotEntitled, "tool_blocked", reason).with_advice(format!(
        "Go on without this tool, or have an administrator call it; {setting} of the policy `tool_blocklist` in \
         services/governance/config.yaml"
    ))
}
