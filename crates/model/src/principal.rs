//! Who is acting.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{ApiKeyId, SessionId, TokenId, UserId};

/// The class of caller a token speaks for; decides route policies and rate-limit tiers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UserType {
    /// An administrator of the installation.
    Admin,
    /// A person with an account.
    User,
    /// A program of the installation itself.
    Service,
    /// Another agent.
    A2a,
    /// An MCP server.
    Mcp,
    /// Nobody in particular.
    Anon,
}

impl UserType {
    /// Every class.
    pub const ALL: [Self; 6] = [Self::Admin, Self::User, Self::Service, Self::A2a, Self::Mcp, Self::Anon];

    /// The name used in tokens, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::User => "user",
            Self::Service => "service",
            Self::A2a => "a2a",
            Self::Mcp => "mcp",
            Self::Anon => "anon",
        }
    }
}

impl fmt::Display for UserType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What the caller proved its identity with.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Credential {
    /// A personal access token, `sp-live-…`.
    ApiKey(ApiKeyId),
    /// A signed token of ours.
    Token {
        /// The token's own id, for revocation.
        id: TokenId,
        /// The session it belongs to.
        session: SessionId,
    },
    /// None of ours: being that user of the machine's operating system.
    OperatingSystem {
        /// The user's number.
        uid: u32,
    },
    /// None: it is the installation itself.
    Installation,
}

/// Who is asking, as established by `identity` from a credential and never by the caller's own word.
#[derive(Debug, Clone)]
pub struct Principal {
    /// The account everything is attributed to.
    pub user_id: UserId,
    /// Its unique name, for logs and messages.
    pub user_name: String,
    /// Its class.
    pub user_type: UserType,
    /// Its roles, sorted.
    pub roles: Vec<String>,
    /// Further facts rules may refer to, such as `department`.
    pub attributes: BTreeMap<String, String>,
    /// What it proved itself with.
    pub credential: Credential,
}

impl Principal {
    /// The user of the operating system at the command line. Who can read the database and its keys administers it
    /// anyway; this says who it was. Has no account, so its id is nil.
    pub fn operator(name: &str, uid: u32) -> Self {
        Self {
            user_id: UserId::from_uuid(uuid::Uuid::nil()),
            user_name: name.to_owned(),
            user_type: UserType::Admin,
            roles: Vec::new(),
            attributes: BTreeMap::new(),
            credential: Credential::OperatingSystem { uid },
        }
    }

    /// The installation itself. Has no account, so its id is nil.
    pub fn system() -> Self {
        Self {
            user_id: UserId::from_uuid(uuid::Uuid::nil()),
            user_name: "system".to_owned(),
            user_type: UserType::Service,
            roles: Vec::new(),
            attributes: BTreeMap::new(),
            credential: Credential::Installation,
        }
    }

    /// The account, unless it is somebody without one.
    pub fn account(&self) -> Option<UserId> {
        Some(self.user_id).filter(|id| !id.as_uuid().is_nil())
    }

    /// Whether the account administers the installation.
    pub fn is_admin(&self) -> bool {
        self.user_type == UserType::Admin
    }
}

/// What kind of thing acts on a user's behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ActorKind {
    /// The person.
    User,
    /// A visitor without an account.
    Anonymous,
    /// A user of the operating system, at the command line.
    Operator,
    /// The installation itself.
    System,
    /// A scheduled job.
    Job,
    /// An MCP server.
    Mcp,
    /// An agent.
    Agent,
}

impl ActorKind {
    /// The name stored in ledger rows.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Anonymous => "anonymous",
            Self::Operator => "operator",
            Self::System => "system",
            Self::Job => "job",
            Self::Mcp => "mcp",
            Self::Agent => "agent",
        }
    }
}

impl FromStr for ActorKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::User, Self::Anonymous, Self::Operator, Self::System, Self::Job, Self::Mcp, Self::Agent]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a kind of actor"))
    }
}

/// One link of the chain of those who act for a user.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Actor {
    /// What it is.
    pub kind: ActorKind,
    /// Its id within its kind.
    pub id: String,
}

/// Who acts, from the current actor (first) to the one the work began with (last). Never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(transparent)]
pub struct ActorChain(Vec<Actor>);

impl ActorChain {
    /// A user acting directly.
    pub fn user(id: UserId) -> Self {
        Self(vec![Actor { kind: ActorKind::User, id: id.to_string() }])
    }

    /// A user of the operating system, at the command line.
    pub fn operator(name: &str, uid: u32) -> Self {
        Self(vec![Actor { kind: ActorKind::Operator, id: format!("{name} (uid {uid})") }])
    }

    /// The installation itself.
    pub fn system() -> Self {
        Self(vec![Actor { kind: ActorKind::System, id: "systemprompt".to_owned() }])
    }

    /// The chain with `actor` now acting on behalf of everyone before.
    #[must_use]
    pub fn delegated_to(mut self, actor: Actor) -> Self {
        self.0.insert(0, actor);
        self
    }

    /// Who acts now.
    pub fn current(&self) -> &Actor {
        &self.0[0]
    }

    /// All links, the current actor first.
    pub fn links(&self) -> &[Actor] {
        &self.0
    }
}
