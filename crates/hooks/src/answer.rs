//! What a coding client is answered.

use axum::response::{IntoResponse, Json, Response};
use schemars::JsonSchema;
use serde::Serialize;

/// The event a client meant that does not say which.
const UNNAMED: &str = "PreToolUse";
/// What reasons begin with, so that people see where they come from.
const MARK: &str = "[GOVERNANCE]";

/// What is decided about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Permission {
    /// It may go on.
    Allow,
    /// It may not.
    Deny,
}

impl Permission {
    /// The name in answers and metrics.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
        }
    }
}

/// A decision, as clients read it. Always with status 200: another status is a broken hook to them, and they go on.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Answer {
    #[serde(rename = "hookSpecificOutput")]
    output: HookSpecificOutput,
    /// `block` for a prompt that is denied, and for what may be one: of prompts, clients read this.
    #[serde(skip_serializing_if = "Option::is_none")]
    decision: Option<&'static str>,
    /// Why a prompt is denied.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

#[derive(Debug, Clone, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct HookSpecificOutput {
    /// The event that was asked about.
    hook_event_name: String,
    permission_decision: Permission,
    /// In words, for the person and the model.
    permission_decision_reason: String,
}

impl Answer {
    /// Of an event with this name, if it has one.
    pub(crate) fn new(event: &str, permission: Permission, reason: &str) -> Self {
        let reason = format!("{MARK} {reason}");
        // An event of which nothing was read may be a prompt.
        let blocks = permission == Permission::Deny && event != UNNAMED;
        let event = if event.is_empty() { UNNAMED } else { event };
        Self {
            decision: blocks.then_some("block"),
            reason: blocks.then(|| reason.clone()),
            output: HookSpecificOutput {
                hook_event_name: event.to_owned(),
                permission_decision: permission,
                permission_decision_reason: reason,
            },
        }
    }

    /// A denial.
    pub(crate) fn deny(event: &str, reason: &str) -> Self {
        Self::new(event, Permission::Deny, reason)
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

/// What came of a report. Always with status 200.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub(crate) struct Receipt {
    /// Whether it was recorded now.
    pub(crate) recorded: bool,
    /// Why not, or what of it could not be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<String>,
}

impl Receipt {
    /// Of a report that was not recorded, for this reason.
    pub(crate) fn unrecorded(note: impl Into<String>) -> Self {
        Self { recorded: false, note: Some(note.into()) }
    }
}

impl IntoResponse for Receipt {
    fn into_response(self) -> Response {
        Json(self).into_response()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn answers_have_the_form_that_clients_read() {
        assert_eq!(
            to_value(Answer::new("PreToolUse", Permission::Allow, "fine")).unwrap(),
            json!({"hookSpecificOutput": {
                "hookEventName": "PreToolUse",
                "permissionDecision": "allow",
                "permissionDecisionReason": "[GOVERNANCE] fine",
            }})
        );
        // What has no name is taken for the event that matters most, and may be a prompt all the same.
        let unnamed = to_value(Answer::deny("", "no")).unwrap();
        assert_eq!(unnamed["hookSpecificOutput"]["hookEventName"], "PreToolUse");
        assert_eq!(unnamed["decision"], "block");
        let prompt = to_value(Answer::deny("UserPromptSubmit", "no")).unwrap();
        assert_eq!((&prompt["decision"], &prompt["reason"]), (&json!("block"), &json!("[GOVERNANCE] no")));
    }
}
