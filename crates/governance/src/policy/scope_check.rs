//! `scope_check`: tools whose name begins in certain ways are for administrators.

use async_trait::async_trait;
use systemprompt_extension::policy::{DenialKind, Policy, PolicyInput, Subject, Verdict, Violation};

use crate::config::ScopeCheckConfig;

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

    fn depends_on_content(&self) -> bool {
        false
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let Subject::ToolCall { name } = input.subject else { return Verdict::Skip("not a tool call".into()) };
        let principal = &input.by.principal;
        match self.admin_only_prefixes.iter().find(|prefix| name.starts_with(prefix.as_str())) {
            Some(prefix) if !principal.is_admin() => Verdict::Fail(
                Violation::new(
                    DenialKind::NotEntitled,
                    "scope_violation",
                    format!(
                        "tools whose name begins with `{prefix}` are for administrators; the caller is `{}`",
                        principal.user_type
                    ),
                )
                .with_advice(
                    "Go on without this tool; which are for administrators is `admin_only_prefixes` of the policy \
                     `scope_check` in services/governance/config.yaml",
                ),
            ),
            _ => Verdict::Pass,
        }
    }
}
