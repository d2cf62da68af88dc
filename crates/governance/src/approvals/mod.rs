//! Calls that wait for a second person.
//!
//! A call that a rule of `require_approval` is about is refused, and waits here under an id. Somebody who did not ask for it
//! decides, an administrator or whoever has one of the roles that the policy names; then the same call — the same person,
//! session, tool and input — passes, or is refused with the reason.
//! A call is seen twice where a model asks for it in an answer and a client asks by a hook before making it. That is one call:
//! an approval that is good once is good for one such answer and for making the call.
//! Calls are told apart by a digest, so nothing of their input is kept here.

mod queries;
pub(crate) mod routes;
pub mod store;

use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use systemprompt_model::{ActionId, ApprovalId, Principal, SessionId, UserId};

use crate::administer::{About, Change};

pub(crate) const SCHEMA: &str = include_str!("../../schema/approvals.sql");

/// A call that waits, or did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Approval {
    /// Its id.
    pub id: ApprovalId,
    /// `pending`, `approved`, `denied`, `used` or `expired`.
    pub state: String,
    /// The tool that was to be used.
    pub tool_name: String,
    /// Why it waits.
    pub rule: String,
    /// Who asked; absent for somebody without an account.
    pub user_id: Option<UserId>,
    /// The same, by name.
    pub user_name: String,
    /// In which session.
    pub session_id: Option<SessionId>,
    /// What was refused because of it.
    pub action_id: ActionId,
    /// When it was asked for first.
    pub requested_at: DateTime<Utc>,
    /// Until when it waits, or what was decided holds.
    pub expires_at: DateTime<Utc>,
    /// Who decided.
    pub decided_by: Option<String>,
    /// When.
    pub decided_at: Option<DateTime<Utc>>,
    /// Why it was decided so.
    pub note: Option<String>,
    /// The roles whose holders decide; administrators do where there are none.
    pub approvers: Vec<String>,
}

impl Approval {
    /// Whether it is for this person to decide, unless they asked for it.
    pub fn is_for(&self, principal: &Principal) -> bool {
        if self.approvers.is_empty() {
            return principal.is_admin();
        }
        self.approvers.iter().any(|role| principal.roles.contains(role))
    }
}

/// What is decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// The call may be made.
    Approve,
    /// It may not.
    Deny,
}

impl Resolution {
    const fn state(self) -> &'static str {
        match self {
            Self::Approve => "approved",
            Self::Deny => "denied",
        }
    }

    /// The name of the change.
    const fn operation(self) -> &'static str {
        match self {
            Self::Approve => "approval.approve",
            Self::Deny => "approval.deny",
        }
    }
}

/// Who decides.
#[derive(Debug, Clone)]
pub struct Decider {
    /// The account; absent for the operator at the command line.
    pub user: Option<UserId>,
    /// What people call them.
    pub name: String,
}

/// Why nothing was decided.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// There is none of this id.
    #[error("there is no approval `{0}`")]
    Unknown(ApprovalId),
    /// It does not wait any more.
    #[error("approval `{id}` does not wait any more: it is {state}")]
    NotPending {
        /// Which.
        id: ApprovalId,
        /// What it is.
        state: String,
    },
    /// Whoever asked cannot decide.
    #[error("whoever asked for a call cannot decide about it; somebody else has to")]
    Own,
    /// The database could not be asked.
    #[error("approvals cannot be read or written at the moment")]
    Database(#[from] sqlx::Error),
}

/// A call that needs an approval.
pub(crate) struct Wanted<'a> {
    pub(crate) digest: [u8; 32],
    pub(crate) tool: &'a str,
    pub(crate) rule: &'a str,
    /// The roles whose holders decide, if not administrators.
    pub(crate) approvers: &'a [String],
    pub(crate) user: Option<UserId>,
    pub(crate) user_name: &'a str,
    pub(crate) session: Option<SessionId>,
    pub(crate) action: ActionId,
    pub(crate) ttl: TimeDelta,
    /// Whether an approval is used up by the call.
    pub(crate) once: bool,
    /// Whether a model asks for it and nobody makes it yet.
    pub(crate) is_proposal: bool,
}

/// How a call stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It was approved.
    Approved,
    /// Nobody has decided yet.
    Pending(Approval),
    /// It was denied.
    Denied(Approval),
}

/// The change that a decision is.
pub fn change_of(approval: &Approval, resolution: Resolution, note: Option<&str>) -> Change {
    let about = About::new("approval", approval.id);
    let change = Change::new(resolution.operation(), about, &serde_json::json!({"note": note}));
    if approval.approvers.is_empty() { change } else { change.by_holders_of(approval.approvers.clone()) }
}
