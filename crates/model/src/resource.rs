//! Things whose use access rules govern.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What an action is done to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Its kind.
    pub kind: ResourceKind,
    /// Its id within its kind.
    pub id: String,
}

/// The kinds of thing something is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A thing access rules speak about.
    Entity(EntityKind),
    /// A part of the installation itself, which administrators change: `user/…`, `api_key/…`, `configuration`.
    Installation,
}

impl Resource {
    /// A thing access rules speak about.
    pub fn entity(kind: EntityKind, id: impl Into<String>) -> Self {
        Self { kind: ResourceKind::Entity(kind), id: id.into() }
    }

    /// A part of the installation itself.
    pub fn installation(part: impl Into<String>) -> Self {
        Self { kind: ResourceKind::Installation, id: part.into() }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`", self.kind.as_str(), self.id)
    }
}

impl ResourceKind {
    /// The name used in records and messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Entity(kind) => kind.as_str(),
            Self::Installation => "installation",
        }
    }
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
