//! Authorizers: who is asked, after the access rules, whether something may be done.
//!
//! The Gate asks the built-in rules first. What they allow is put to the authorizers of the installation, and they must all
//! allow it too. One is a webhook, and others are brought by [extensions](crate::Extension::governance_authorizers); all of
//! them get the same [`AuthorizationRequest`], which is also what the webhook is sent.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_model::{Actor, ContextId, EntityKind, SessionId, TaskId, TraceId, UserId};

use crate::JsonValue;
use crate::made::Made;

pub use crate::gateway::Fault;
pub use ::async_trait::async_trait;

/// May refuse what the access rules allow. One value for each server, asked by many tasks at once.
///
/// It is asked where the profile has `governance.authz.hook.mode: extension`, about every action that access rules are about,
/// and has `timeout_ms` to answer. One that fails, panics or does not answer in time refuses.
///
/// ```
/// use systemprompt_extension::authorizer::{
///     Authorization, AuthorizationRequest, Authorizer, Fault, async_trait,
/// };
///
/// /// Contractors use no agents.
/// struct NoContractors;
///
/// #[async_trait]
/// impl Authorizer for NoContractors {
///     async fn authorize(&self, request: &AuthorizationRequest) -> Result<Authorization, Fault> {
///         let is_contractor = request.roles.iter().any(|role| role == "contractor");
///         if is_contractor && request.entity.kind.as_str() == "agent" {
///             return Ok(Authorization::deny("agents are for employees"));
///         }
///         Ok(Authorization::Allow)
///     }
/// }
/// ```
#[async_trait]
pub trait Authorizer: Send + Sync {
    /// Allows it, or says why not.
    async fn authorize(&self, request: &AuthorizationRequest) -> Result<Authorization, Fault>;
}

/// An authorizer an extension brings.
pub type AuthorizerDef = Made<dyn Authorizer>;

/// What an authorizer is asked: whether this account may use this entity in this way, now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorizationRequest {
    /// What somebody wants to use.
    pub entity: AuthorizedEntity,
    /// The account that asks; absent for one without an account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<UserId>,
    /// Its roles.
    #[serde(default)]
    pub roles: Vec<String>,
    /// What else rules can say about it, by dimension: its departments and groups, and what extensions know.
    #[serde(default)]
    pub attributes: BTreeMap<String, Vec<String>>,
    /// The trace it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
    /// The session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SessionId>,
    /// In which way.
    #[serde(default)]
    pub context: AuthorizationContext,
    /// The conversation it belongs to, when it is one of ours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_id: Option<ContextId>,
    /// The task it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<TaskId>,
    /// Who acts for whom, from the current actor to the one the work began with.
    #[serde(default)]
    pub act_chain: Vec<Actor>,
}

/// What somebody wants to use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorizedEntity {
    /// Its kind.
    pub kind: EntityKind,
    /// Its id within its kind.
    pub id: String,
}

/// In which way somebody wants to use something.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuthorizationContext {
    /// `none`, `gateway.invocation`, `mcp.tool_call`, `inquiry` when somebody only wants to know and nothing is done, or what
    /// an extension calls it.
    pub kind: String,
    /// The model that is asked, by its configured name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The tool that is called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
    /// What an extension says about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<JsonValue>,
}

impl Default for AuthorizationContext {
    fn default() -> Self {
        Self { kind: "none".to_owned(), model: None, tool: None, payload: None }
    }
}

impl AuthorizationContext {
    /// A model is asked.
    pub fn invocation(model: &str) -> Self {
        Self { kind: "gateway.invocation".to_owned(), model: Some(model.to_owned()), ..Self::default() }
    }

    /// A tool is called.
    pub fn tool_call(tool: &str) -> Self {
        Self { kind: "mcp.tool_call".to_owned(), tool: Some(tool.to_owned()), ..Self::default() }
    }
}

/// What an authorizer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authorization {
    /// It may be done.
    Allow,
    /// It may not.
    Deny(AuthorizationDenial),
}

impl Authorization {
    /// It may not be done, because of a rule of the authorizer's own. The sentence is for the caller and the record.
    pub fn deny(message: impl Into<String>) -> Self {
        Self::Deny(AuthorizationDenial {
            kind: ReasonKind::PolicyViolation,
            message: Some(message.into()),
            policy: None,
        })
    }
}

/// Why an authorizer refuses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuthorizationDenial {
    /// What kind of no it is.
    pub kind: ReasonKind,
    /// A sentence for the caller and the record.
    pub message: Option<String>,
    /// What the authorizer calls the rule that decided.
    pub policy: Option<String>,
}

/// The kinds of no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ReasonKind {
    /// A rule about the account refuses it.
    UserDeny,
    /// A rule about one of its roles does.
    RoleDeny,
    /// A rule about something else that is known of it does.
    AttributeDeny,
    /// No rule allows it.
    NotAssigned,
    /// There is no such entity.
    UnknownEntity,
    /// Whoever was to decide cannot be asked.
    HookUnavailable,
    /// Some other rule refuses it.
    PolicyViolation,
    /// What is to be sent holds a credential.
    SecretLeak,
    /// The credential is not good for it.
    ScopeViolation,
    /// The tool is not to be used.
    ToolBlocked,
    /// It is too much in too short a time.
    RateLimitExceeded,
}

impl ReasonKind {
    /// Every kind.
    pub const ALL: [Self; 11] = [
        Self::UserDeny,
        Self::RoleDeny,
        Self::AttributeDeny,
        Self::NotAssigned,
        Self::UnknownEntity,
        Self::HookUnavailable,
        Self::PolicyViolation,
        Self::SecretLeak,
        Self::ScopeViolation,
        Self::ToolBlocked,
        Self::RateLimitExceeded,
    ];

    /// The name used in requests, answers and records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UserDeny => "user_deny",
            Self::RoleDeny => "role_deny",
            Self::AttributeDeny => "attribute_deny",
            Self::NotAssigned => "not_assigned",
            Self::UnknownEntity => "unknown_entity",
            Self::HookUnavailable => "hook_unavailable",
            Self::PolicyViolation => "policy_violation",
            Self::SecretLeak => "secret_leak",
            Self::ScopeViolation => "scope_violation",
            Self::ToolBlocked => "tool_blocked",
            Self::RateLimitExceeded => "rate_limit_exceeded",
        }
    }

    /// The kind of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }
}
