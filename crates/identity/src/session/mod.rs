//! Sessions: stretches of work by one user with one client. Kept, and given to requests, by [`store::Sessions`].

pub(crate) mod hint;
pub(crate) mod origin;
pub(crate) mod queries;
pub(crate) mod routes;
pub(crate) mod store;

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use systemprompt_model::{ApiKeyId, SessionId, UserId};

/// How long a session lives.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::days(7);

/// Where a session came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SessionSource {
    /// A browser.
    Web,
    /// A program with an API key.
    Api,
    /// The command line.
    Cli,
    /// An OAuth client.
    Oauth,
    /// An MCP client.
    Mcp,
    /// The desktop helper.
    Bridge,
    /// Not known.
    Unknown,
}

impl SessionSource {
    /// The name in the database and in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Api => "api",
            Self::Cli => "cli",
            Self::Oauth => "oauth",
            Self::Mcp => "mcp",
            Self::Bridge => "bridge",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for SessionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SessionSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Self::Web, Self::Api, Self::Cli, Self::Oauth, Self::Mcp, Self::Bridge, Self::Unknown]
            .into_iter()
            .find(|source| source.as_str() == text)
            .ok_or_else(|| format!("`{text}` is not a source of sessions"))
    }
}

/// A stretch of work by one user with one client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Session {
    /// Its id.
    #[serde(rename = "session_id")]
    pub id: SessionId,
    /// Whose it is.
    pub user_id: UserId,
    /// When it began.
    pub started_at: DateTime<Utc>,
    /// When something last happened in it, to within some seconds.
    pub last_activity_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// When it ends by itself.
    pub expires_at: DateTime<Utc>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
    /// The client's name, e.g. `claude-cli`; `[redacted]` if it holds a credential.
    pub client_id: Option<String>,
    /// The client's own id of the session; if it holds a credential, `sha256:` and its digest in hexadecimal.
    pub client_session_id: Option<String>,
    /// Where it came from.
    #[serde(rename = "session_source")]
    pub source: SessionSource,
    /// Requests made in it.
    pub request_count: i64,
    /// Tokens sent.
    pub input_tokens: i64,
    /// Tokens received.
    pub output_tokens: i64,
    /// What they cost, in millionths of a dollar.
    pub cost_microdollars: i64,
}

impl Session {
    /// Whether requests may be made in it at `now`.
    pub fn is_live(&self, now: DateTime<Utc>) -> bool {
        self.revoked_at.is_none() && self.ended_at.is_none() && now < self.expires_at
    }
}

/// What is needed to open a session explicitly.
#[derive(Debug, Clone, Copy)]
pub struct NewSession<'a> {
    /// Whose it is.
    pub user: UserId,
    /// Where it comes from.
    pub source: SessionSource,
    /// The client's name.
    pub client: Option<&'a str>,
    /// The key it was opened with.
    pub api_key: Option<ApiKeyId>,
    /// The `user-agent` header.
    pub user_agent: Option<&'a str>,
    /// The caller's address.
    pub ip_address: Option<&'a str>,
    /// How long it lives; seven days if not said.
    pub lifetime: Option<TimeDelta>,
}

impl NewSession<'_> {
    /// A session of which nothing more is known.
    pub fn new(user: UserId, source: SessionSource) -> Self {
        Self { user, source, client: None, api_key: None, user_agent: None, ip_address: None, lifetime: None }
    }
}
