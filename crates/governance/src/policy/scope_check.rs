//! `scope_check`: tools whose name begins in certain ways are for administrators.
//!
//! What counts is who the caller is, whose account acts, also for what a model asks for: a model has no rights of its own.

use async_trait::async_trait;
use systemprompt_extension::policy::{DenialKind, Phase, Policy, PolicyInput, Subject, Verdict, Violation};

use super::tool_call::{ToolCall, judge_offered};
use crate::config::{OfferedMode, ScopeCheckConfig};

/// The policy.
pub(crate) struct ScopeCheck {
    admin_only_prefixes: Vec<String>,
    offered: OfferedMode,
}

impl ScopeCheck {
    pub(crate) fn new(config: &ScopeCheckConfig) -> Self {
        Self { admin_only_prefixes: config.admin_only_prefixes.clone(), offered: config.offered }
    }

    fn prefix_of(&self, tool: &str) -> Option<&str> {
        self.admin_only_prefixes.iter().map(String::as_str).find(|prefix| tool.starts_with(prefix))
    }
}

#[async_trait]
impl Policy for ScopeCheck {
    fn id(&self) -> &'static str {
        "scope_check"
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        match (phase, subject) {
            (Phase::Before, _) => true,
            (Phase::After, Subject::ToolCall { name }) => self.prefix_of(name).is_some(),
            (Phase::After, _) => false,
        }
    }

    fn depends_on_content(&self) -> bool {
        false
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let principal = &input.by.principal;
        let Some(call) = ToolCall::of(input) else {
            let is_meant = |name: &str| !principal.is_admin() && self.prefix_of(name).is_some();
            let reason = |tools| format!("the model is offered tools that are for administrators: {tools}");
            return judge_offered(input, is_meant, self.offered, |tools| violation(reason(tools)));
        };
        match self.prefix_of(call.name) {
            Some(prefix) if !principal.is_admin() => Verdict::Fail(call.objection(violation(format!(
                "tools whose name begins with `{prefix}` are for administrators; the caller is `{}`",
                principal.user_type
            )))),
            _ => Verdict::Pass,
        }
    }
}

fn violation(reason: String) -> Violation {
    Violation::new(DenialKind::NotEntitled, "scope_violation", reason).with_advice(
        "Go on without this tool; which are for administrators is `admin_only_prefixes` of the policy `scope_check` in \
         services/governance/config.yaml",
    )
}
