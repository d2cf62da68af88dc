//! `require_approval`: some calls wait until a second person has approved them.
//!
//! An approval is for a call: who asks, in which session, for which tool, with which input, whose JSON may be written
//! differently. So a call that a model asks for and the same one that a client is about to make are one.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use sha2::{Digest as _, Sha256};
use systemprompt_extension::policy::{DenialKind, Phase, Policy, PolicyInput, Subject, Verdict, Violation};

use super::calls::{Calls, Hit, written_one_way};
use super::tool_call::{ToolCall, judge_offered};
use crate::approvals::store::Approvals;
use crate::approvals::{Standing, Wanted};
use crate::config::{OfferedMode, ProposalMode, RequireApprovalConfig};

/// The policy.
pub(crate) struct RequireApproval {
    calls: Calls,
    ttl: TimeDelta,
    once: bool,
    proposals: ProposalMode,
    approvals: Arc<Approvals>,
}

impl RequireApproval {
    /// What records call it.
    pub(crate) const ID: &'static str = "require_approval";

    pub(crate) fn new(config: &RequireApprovalConfig, approvals: Arc<Approvals>) -> Self {
        let ttl = TimeDelta::seconds(i64::from(config.ttl_secs));
        let RequireApprovalConfig { once, proposals, .. } = *config;
        Self { calls: Calls::new(&config.rules), ttl, once, proposals, approvals }
    }

    async fn stand(&self, input: &PolicyInput<'_>, call: ToolCall<'_>, hit: &Hit<'_>) -> Verdict {
        let principal = &input.by.principal;
        let rule = hit.reason.map_or_else(|| format!("rule {}", hit.number), str::to_owned);
        let object = |code, reason: String| call.objection(Violation::new(DenialKind::NotEntitled, code, reason));
        if call.is_proposal() && self.proposals == ProposalMode::Note {
            let noted = object("approval_required", format!("the call needs an approval before it is made ({rule})"));
            return Verdict::Note(noted.reason.into());
        }
        if !input.complete {
            // Two calls could begin alike.
            let reason = format!("the call needs an approval ({rule}), and is too large for one");
            return Verdict::Fail(object("approval_impossible", reason).with_advice("Make it in smaller parts"));
        }
        let wanted = Wanted {
            digest: digest(input, call.name),
            tool: call.name,
            rule: &rule,
            user: principal.account(),
            user_name: &principal.user_name,
            session: input.by.session,
            action: input.action,
            ttl: self.ttl,
            once: self.once,
            is_proposal: call.is_proposal(),
        };
        match self.approvals.stand(&wanted).await {
            Ok(Standing::Approved) => Verdict::Pass,
            Ok(Standing::Pending(approval)) => {
                let reason = format!("the call waits for the approval {} ({rule})", approval.id);
                let again =
                    if call.is_proposal() { "have the model ask for it again" } else { "make the same call again" };
                Verdict::Fail(object("approval_required", reason).with_advice(format!(
                    "An administrator who did not ask for it approves it with `systemprompt governance approvals approve \
                     {}`; then {again}",
                    approval.id
                )))
            }
            Ok(Standing::Denied(approval)) => {
                let by = approval.decided_by.unwrap_or_default();
                let why = approval.note.map_or_else(String::new, |note| format!(": {note}"));
                let reason = format!("{by} denied the call (approval {}){why}", approval.id);
                Verdict::Fail(object("approval_denied", reason))
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
    digest.update(b"systemprompt.approval.2");
    digest.update(input.by.principal.user_id.as_uuid().as_bytes());
    digest.update(input.by.session.map_or([0; 16], |session| session.as_uuid().into_bytes()));
    digest.update((tool.len() as u64).to_be_bytes());
    digest.update(tool);
    match serde_json::from_slice(input.content) {
        Ok(json) => digest.update(written_one_way(json).to_string()),
        Err(_) => digest.update(input.content),
    }
    digest.finalize().into()
}

#[async_trait]
impl Policy for RequireApproval {
    fn id(&self) -> &'static str {
        Self::ID
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        match (phase, subject) {
            (Phase::Before, _) => true,
            (Phase::After, Subject::ToolCall { name }) => self.calls.may_be_about(name),
            (Phase::After, _) => false,
        }
    }

    /// It has said so of the call; where the call goes makes no difference.
    fn depends_on_content(&self) -> bool {
        false
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        let is_admin = input.by.principal.is_admin();
        let Some(call) = ToolCall::of(input) else {
            let is_meant = |name: &str| self.calls.are_about_all_of(name, is_admin);
            let reason = |tools| format!("the model is offered tools whose calls wait for an approval: {tools}");
            let object = |tools| Violation::new(DenialKind::NotEntitled, "approval_required", reason(tools));
            return judge_offered(input, is_meant, OfferedMode::Note, object);
        };
        match self.calls.find(call.name, input.content, is_admin) {
            Some(hit) => self.stand(input, call, &hit).await,
            None => Verdict::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_the_same_however_its_input_is_written() {
        let one_way = |text: &str| written_one_way(serde_json::from_str(text).expect("JSON")).to_string();
        let call = one_way(r#"{"command": "make deploy", "retries": 1.0, "env": {"b": [1e3, null], "a": "\u00e4"}}"#);
        assert_eq!(call, one_way(r#"{"env":{"a":"ä","b":[1000,null]},"retries":1,"command":"make deploy"}"#));
        for other in [
            r#"{"env":{"a":"ä","b":[1000]},"retries":1,"command":"make deploy"}"#,
            r#"{"env":{"a":"ä","b":[1000,null]},"retries":"1","command":"make deploy"}"#,
            r#"{"env":{"a":"ä","b":[1000,null]},"retries":1.5,"command":"make deploy"}"#,
        ] {
            assert_ne!(call, one_way(other));
        }
    }
}
