//! `require_approval`: some calls wait until a second person has approved them.
//!
//! An approval is for a call: who asks, in which session, for which tool, with which input, whose JSON may be written
//! differently, or with those parts of it that the operator says count. So a call that a model asks for and the same one that
//! a client is about to make are one.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::TimeDelta;
use serde_json::Value;
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
    approvers: Vec<String>,
    identity: Identity,
    approvals: Arc<Approvals>,
}

impl RequireApproval {
    /// What records call it.
    pub(crate) const ID: &'static str = "require_approval";

    pub(crate) fn new(config: &RequireApprovalConfig, approvals: Arc<Approvals>) -> Self {
        let ttl = TimeDelta::seconds(i64::from(config.ttl_secs));
        let RequireApprovalConfig { once, proposals, .. } = *config;
        let (calls, identity) = (Calls::new(&config.rules), Identity::new(config));
        Self { calls, ttl, once, proposals, approvers: config.approvers.roles.clone(), identity, approvals }
    }

    async fn stand(&self, input: &PolicyInput<'_>, call: ToolCall<'_>, hit: &Hit<'_>) -> Verdict {
        let principal = &input.by.principal;
        let rule = hit.why();
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
            digest: digest(input, call.name, &self.identity, &self.approvers),
            tool: call.name,
            rule: &rule,
            approvers: &self.approvers,
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
                let who = if approval.approvers.is_empty() {
                    format!(
                        "An administrator who did not ask for it approves it with `systemprompt governance approvals approve {}`",
                        approval.id
                    )
                } else {
                    let roles = approval.approvers.join("` or `");
                    format!(
                        "Somebody with the role `{roles}` who did not ask for it approves it: POST \
                         /api/public/admin/governance/approvals/{}/approve",
                        approval.id
                    )
                };
                Verdict::Fail(object("approval_required", reason).with_advice(format!("{who}; then {again}")))
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

/// Which parts of an input tell one call from another.
enum Identity {
    All,
    Only(Vec<Path>),
    AllBut(Vec<Path>),
}

/// Steps to a place in an input.
type Path = Vec<String>;

impl Identity {
    fn new(config: &RequireApprovalConfig) -> Self {
        let paths = |paths: &[String]| -> Vec<Path> {
            paths.iter().map(|path| path.split('.').map(str::to_owned).collect()).collect()
        };
        match (config.arguments.as_slice(), config.ignore.as_slice()) {
            ([], []) => Self::All,
            ([], ignored) => Self::AllBut(paths(ignored)),
            (arguments, _) => Self::Only(paths(arguments)),
        }
    }

    /// What of an input counts.
    fn of(&self, input: Value) -> Value {
        match self {
            Self::All => input,
            // Each with the places at which it stands, so that nothing is taken for something that stands elsewhere.
            Self::Only(paths) => {
                let at = |path: &Path| {
                    let mut found = Vec::new();
                    gather(&input, path, &mut Vec::new(), &mut found);
                    Value::Array(found)
                };
                let found: Vec<Value> = paths.iter().map(at).collect();
                // What has none of them is told by all of it.
                let has_none = found.iter().all(|found| found.as_array().is_some_and(Vec::is_empty));
                if has_none { serde_json::json!({ "all": input }) } else { Value::Array(found) }
            }
            Self::AllBut(paths) => paths.iter().fold(input, |mut rest, path| {
                leave_out(&mut rest, path);
                rest
            }),
        }
    }
}

/// What stands at `path`, each with the steps that lead there.
fn gather(value: &Value, path: &[String], steps: &mut Vec<Value>, found: &mut Vec<Value>) {
    let Some((step, rest)) = path.split_first() else {
        found.push(Value::Array(vec![Value::Array(steps.clone()), value.clone()]));
        return;
    };
    let mut go = |step: Value, value: &Value| {
        steps.push(step);
        gather(value, rest, steps, found);
        steps.pop();
    };
    match value {
        Value::Object(map) => {
            let mut members: Vec<_> = map.iter().filter(|(key, _)| step == "*" || *key == step).collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            for (key, value) in members {
                go(key.as_str().into(), value);
            }
        }
        Value::Array(items) => {
            let wanted: Option<usize> = step.parse().ok();
            for (index, value) in items.iter().enumerate().filter(|(at, _)| step == "*" || wanted == Some(*at)) {
                go(index.into(), value);
            }
        }
        _ => {}
    }
}

/// Takes out what stands at `path`.
fn leave_out(value: &mut Value, path: &[String]) {
    let Some((step, rest)) = path.split_first() else { return };
    match (value, rest) {
        (Value::Object(map), []) if step == "*" => map.clear(),
        (Value::Object(map), []) => drop(map.remove(step)),
        (Value::Object(map), rest) => {
            for (_, value) in map.iter_mut().filter(|(key, _)| step == "*" || *key == step) {
                leave_out(value, rest);
            }
        }
        (Value::Array(items), rest) => {
            let wanted: Option<usize> = step.parse().ok();
            for (_, item) in items.iter_mut().enumerate().filter(|(at, _)| step == "*" || wanted == Some(*at)) {
                // Where it stood is left, so that what follows stays at its place.
                if rest.is_empty() { *item = Value::Null } else { leave_out(item, rest) }
            }
        }
        _ => {}
    }
}

/// What makes a call the same: who decides, who asks, in which session, for which tool, with which input.
fn digest(input: &PolicyInput<'_>, tool: &str, identity: &Identity, approvers: &[String]) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(b"systemprompt.approval.3");
    // What others have approved is not approved by those who decide now.
    digest.update((approvers.len() as u64).to_be_bytes());
    for role in approvers {
        digest.update((role.len() as u64).to_be_bytes());
        digest.update(role);
    }
    digest.update(input.by.principal.user_id.as_uuid().as_bytes());
    digest.update(input.by.session.map_or([0; 16], |session| session.as_uuid().into_bytes()));
    digest.update((tool.len() as u64).to_be_bytes());
    digest.update(tool);
    match serde_json::from_slice(input.content) {
        Ok(json) => digest.update(written_one_way(identity.of(json)).to_string()),
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
            let is_meant = |name: &str| self.calls.are_about_all_of(name, is_admin, input.offered_tools.destructive());
            let reason = |tools| format!("the model is offered tools whose calls wait for an approval: {tools}");
            let object = |tools| Violation::new(DenialKind::NotEntitled, "approval_required", reason(tools));
            return judge_offered(input, is_meant, OfferedMode::Note, object);
        };
        match self.calls.find(call.name, input.content, is_admin, input.offered_tools.destructive()) {
            Some(hit) => self.stand(input, call, &hit).await,
            None => Verdict::Pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn what_counts_of_an_input_is_what_the_operator_says() {
        let call = r#"{"command": "deploy", "at": 1, "edits": [{"path": "a", "id": 1}, {"path": "b", "id": 2}]}"#;
        let later = r#"{"command": "deploy", "at": 2, "edits": [{"path": "a", "id": 3}, {"path": "b", "id": 4}]}"#;
        let other = r#"{"command": "deploy", "at": 1, "edits": [{"path": "b", "id": 1}, {"path": "a", "id": 2}]}"#;
        let of = |config: Value, input: &str| {
            let config: RequireApprovalConfig = serde_json::from_value(config).expect("fits");
            let input = serde_json::from_str(input).expect("JSON");
            written_one_way(Identity::new(&config).of(input)).to_string()
        };
        for config in [json!({"arguments": ["command", "edits.*.path"]}), json!({"ignore": ["at", "edits.*.id"]})] {
            assert_eq!(of(config.clone(), call), of(config.clone(), later), "{config}");
            assert_ne!(of(config.clone(), call), of(config.clone(), other), "{config}");
            let moved = r#"{"at": "deploy", "edits": {"a": {"path": "a"}, "b": {"path": "b"}}}"#;
            assert_ne!(of(config.clone(), call), of(config.clone(), moved), "{config}: it stands elsewhere");
        }
        assert_ne!(of(json!({}), call), of(json!({}), later), "all of it, unless somebody says otherwise");
        let nothing = of(json!({"arguments": ["command"]}), r#"{"at": 1}"#);
        assert_ne!(nothing, of(json!({"arguments": ["command"]}), r#"{"command": null}"#));
    }
}
