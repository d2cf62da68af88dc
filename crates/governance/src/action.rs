//! What is to be governed: who wants to do what to which thing, with exactly which content.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_model::{ActorChain, ContextId, Principal, RequestId, SessionId, TraceId};

/// One thing somebody wants to do, as a surface understood it. [`Gate::admit`](crate::Gate::admit) turns it into a
/// [`Permit`](crate::Permit) or a refusal.
#[derive(Debug, Clone)]
pub struct Action {
    /// The id of its ledger record.
    pub id: RequestId,
    /// Who asks.
    pub principal: Arc<Principal>,
    /// Who acts for whom.
    pub actors: ActorChain,
    /// The stretch of work it belongs to.
    pub session_id: SessionId,
    /// The conversation, when it is one of ours.
    pub context_id: Option<ContextId>,
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// What it is done to.
    pub resource: Resource,
    /// The exact bytes that will be sent. They are what the policies look at, and the permit gives them back.
    pub content: Bytes,
    /// What is done.
    pub kind: ActionKind,
    /// When the request reached us.
    pub received_at: DateTime<Utc>,
}

/// A thing access rules speak about.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Its kind.
    pub kind: EntityKind,
    /// Its id within its kind.
    pub id: String,
}

/// The kind of thing whose use is governed by access rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EntityKind {
    /// A route of the gateway: which models, at which provider.
    GatewayRoute,
    /// An MCP server.
    McpServer,
    /// An agent.
    Agent,
    /// A skill.
    Skill,
    /// A hook.
    Hook,
    /// A plugin.
    Plugin,
    /// A marketplace of plugins.
    Marketplace,
    /// A Slack workspace.
    SlackWorkspace,
    /// A Microsoft Teams tenant.
    TeamsTenant,
}

/// A text that names no kind of entity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a kind of entity")]
pub struct UnknownEntityKind(pub String);

impl EntityKind {
    /// Every kind.
    pub const ALL: [Self; 9] = [
        Self::GatewayRoute,
        Self::McpServer,
        Self::Agent,
        Self::Skill,
        Self::Hook,
        Self::Plugin,
        Self::Marketplace,
        Self::SlackWorkspace,
        Self::TeamsTenant,
    ];

    /// The name used in configuration, tables and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::GatewayRoute => "gateway_route",
            Self::McpServer => "mcp_server",
            Self::Agent => "agent",
            Self::Skill => "skill",
            Self::Hook => "hook",
            Self::Plugin => "plugin",
            Self::Marketplace => "marketplace",
            Self::SlackWorkspace => "slack_workspace",
            Self::TeamsTenant => "teams_tenant",
        }
    }
}

impl fmt::Display for EntityKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EntityKind {
    type Err = UnknownEntityKind;

    fn from_str(text: &str) -> Result<Self, UnknownEntityKind> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text).ok_or_else(|| UnknownEntityKind(text.to_owned()))
    }
}

/// What is done.
#[derive(Debug, Clone)]
pub enum ActionKind {
    /// Asking a model.
    Infer(Inference),
}

/// A request to a model. The texts are plain so that governance needs to know no wire format.
#[derive(Debug, Clone, Default)]
pub struct Inference {
    /// The dialect the caller spoke, e.g. `anthropic-messages`.
    pub dialect: String,
    /// The provider that will be asked; empty when the request is refused before one was chosen.
    pub provider: String,
    /// The model as the provider calls it; empty when the request is refused before one was chosen.
    pub model: String,
    /// The model as the caller called it.
    pub requested_model: String,
    /// The pattern of the route that matched; empty when none did.
    pub route_match: String,
    /// The conversation this belongs to, as the caller or the gateway identifies it.
    pub conversation_id: String,
    /// Whether the answer is to be streamed.
    pub stream: bool,
    /// Sampling temperature, if given.
    pub temperature: Option<f64>,
    /// Nucleus sampling, if given.
    pub top_p: Option<f64>,
    /// Most tokens of the answer, if given.
    pub max_tokens: Option<u64>,
    /// Texts that end the answer.
    pub stop_sequences: Vec<String>,
    /// How many tools are offered to the model.
    pub tools: usize,
    /// The client program, as far as it said.
    pub client: Option<String>,
    /// The trace id the client sent.
    pub client_trace_id: Option<String>,
}
