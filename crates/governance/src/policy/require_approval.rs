//! `require_approval`: some calls wait until a second person has approved them.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use systemprompt_extension::policy::{DenialKind, Policy, PolicyInput, Subject, Verdict, Violation};

use super::calls::{Calls, Hit};
use crate::approvals::store::Approvals;
use crate::approvals::{Standing, Wanted};
use crate::config::RequireApprovalConfig;

/// The policy.
pub(crate) struct RequireApproval {
    calls: Calls,
    ttl: TimeDelta,
    once: bool,
    approvals: Arc<Approvals>,
}

impl RequireApproval {
    /// What records call it.
    pub(crate) const ID: &'static str = "require_approval";

    pub(crate) fn new(config: &RequireApprovalConfig, approvals: Arc<Approvals>) -> Self {
        let ttl = TimeDelta::seconds(i64::from(config.ttl_secs));
        Self { calls: Calls::new(&config.rules), ttl, once: config.once, approvals }
    }

    async fn stand(&self, input: &PolicyInput<'_>, tool: &str, hit: &Hit<'_>) -> Verdict {
        let principal = &input.by.principal;
        let rule = hit.reason.map_or_else(|| format!("rule {}", hit.number), str::to_owned);
        let wanted = Wanted {
            digest: digest(input, tool),
            tool,
            rule: &rule,
            user: principal.account(),
            user_name: &principal.user_name,
            session: input.by.session,
            action: input.action,
            ttl: self.ttl,
            once: self.once,
        };
        match self.approvals.stand(&wanted).await {
            Ok(Standing::Approved) => Verdict::Pass,
            Ok(Standing::Pending(approval)) => {
                let reason = format!("the call waits for the approval {} ({rule})", approval.id);
                Verdict::Fail(Violation::new(DenialKind::NotEntitled, "approval_required", reason).with_advice(format!(
                    "An administrator who did not ask for it approves it with `systemprompt governance approvals approve \
                     {}`; then make the same call again",
                    approval.id
                )))
            }
            Ok(Standing::Denied(approval)) => {
                let by = approval.decided_by.unwrap_or_default();
                let why = approval.note.map_or_else(String::new, |note| format!(": {note}"));
                let reason = format!("{by} denied the call (approval {}){why}", approval.id);
                Verdict::Fail(Violation::new(DenialKind::NotEntitled, "approval_denied", reason))
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "approvals cannot be asked for, so the call is refused");
                Verdict::Fail(Violation::unavailable("approvals cannot be checked at present"))
            }
        }
    }
}

/// What makes a call the same: who asks, in which session, for which tool, with which input.
fn digest(input: &PolicyInput<'_>, tool: &str) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(b"systemprompt.approval.1");
    digest.update(input.by.principal.user_id.as_uuid().as_bytes());
    digest.update(input.by.session.map_or([0; 16], |session| session.as_uuid().into_bytes()));
    digest.update((tool.len() as u64).to_be_bytes());
    digest.update(tool);
    digest.update(input.content);
    digest.finalize().into()
}

#[async_trait]
impl Policy for RequireApproval {
    fn id(&self) -> &'static str {
        Self::ID
    }

    /// It has said so of the call; where the call goes makes no difference.
    fn depends_on_content(&self) -> bool {
        false
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let Subject::ToolCall { name } = input.subject else { return Verdict::Skip("not a tool call".into()) };
        match self.calls.find(name, input.content, input.by.principal.is_admin()) {
            Some(hit) => self.stand(input, name, &hit).await,
            None => Verdict::Pass,
        }
    }
}
