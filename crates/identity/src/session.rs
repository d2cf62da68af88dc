use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, TimeDelta, Utc};
use http::HeaderMap;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use systemprompt_model::{ApiKeyId, SessionId, UserId};

/// How long a session lives.
pub(crate) const LIFETIME: TimeDelta = TimeDelta::days(7);
/// The longest client name or client session id that is used, in bytes; the rest is cut off.
const LONGEST_NAME: usize = 128;
/// Headers in which coding assistants say which of their own sessions a request belongs to.
const CLIENT_SESSION_HEADERS: [&str; 4] =
    ["x-claude-code-session-id", "x-client-session-id", "x-opencode-session", "session_id"];

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

/// What a request says about the session it belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SessionHint<'a> {
    /// The session it names in the header `x-session-id`.
    pub explicit: Option<SessionId>,
    /// The client's own session id; see [`client_session_id`].
    pub client_session: Option<&'a str>,
    /// The `user-agent`. What comes before the first slash or space tells clients apart; a new version does not.
    pub client: Option<&'a str>,
    /// Tells conversations of one client apart; not used if the client says its session.
    pub conversation: u64,
    /// Whether a request with an API key must name its session (`gateway.require_session_id`).
    pub required: bool,
}

/// The id a coding assistant has for its own session, from `x-claude-code-session-id` and the like: visible ASCII, cut
/// off after 128 bytes.
pub fn client_session_id(headers: &HeaderMap) -> Option<&str> {
    CLIENT_SESSION_HEADERS
        .into_iter()
        .filter_map(|name| headers.get(name)?.to_str().ok())
        .map(|text| shortened(text.trim()))
        .find(|text| !text.is_empty())
}

impl<'a> SessionHint<'a> {
    /// The client's name.
    pub(crate) fn client_name(&self) -> Option<&'a str> {
        self.client?.split(['/', ' ']).find(|name| !name.is_empty()).map(shortened)
    }

    /// The session of this key, client and conversation at `now`, and when it ends.
    ///
    /// Every replica comes to the same answer without asking. A session lives in a window of seven days; windows of
    /// different conversations begin at different times, so that they do not all change sessions at once.
    pub(crate) fn derive(&self, key: ApiKeyId, now: DateTime<Utc>) -> (SessionId, DateTime<Utc>) {
        let mut digest = Sha256::new();
        let key = key.as_uuid().into_bytes();
        digest.update(b"systemprompt.session.1");
        digest.update(key);
        let client = self.client_name().unwrap_or_default();
        digest.update((client.len() as u64).to_be_bytes());
        digest.update(client);
        if let Some(session) = self.client_session {
            digest.update([1]);
            digest.update(session);
        } else {
            digest.update([0]);
            digest.update(self.conversation.to_be_bytes());
        }
        window(digest.finalize().into(), now)
    }
}

/// The session of this key for conversations that get none of their own, at `now`, and when it ends.
pub(crate) fn shared(key: ApiKeyId, now: DateTime<Utc>) -> (SessionId, DateTime<Utc>) {
    let mut digest = Sha256::new();
    digest.update(b"systemprompt.session.shared.1");
    digest.update(key.as_uuid().into_bytes());
    window(digest.finalize().into(), now)
}

/// The session of `subject` at `now`, and when it ends.
fn window(subject: [u8; 32], now: DateTime<Utc>) -> (SessionId, DateTime<Utc>) {
    let length = LIFETIME.num_seconds();
    let shift = i64::from(u32::from_be_bytes([subject[0], subject[1], subject[2], subject[3]])) % length;
    let window = (now.timestamp() + shift).div_euclid(length);
    let expires_at = DateTime::from_timestamp((window + 1) * length - shift, 0)
        .expect("a week after a representable time is representable");

    let mut digest = Sha256::new();
    digest.update(subject);
    digest.update(window.to_be_bytes());
    let id: [u8; 32] = digest.finalize().into();
    let id: [u8; 16] = std::array::from_fn(|i| id[i]);
    (SessionId::from_uuid(uuid::Builder::from_custom_bytes(id).into_uuid()), expires_at)
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_NAME)]
}

#[cfg(test)]
mod tests {
    use systemprompt_model::Ambient;

    use super::*;

    #[test]
    fn clients_say_their_sessions_in_several_headers() {
        let mut headers = HeaderMap::new();
        assert_eq!(client_session_id(&headers), None);
        let long = "x".repeat(300);
        for (name, value, expected) in [
            ("session_id", "codex", Some("codex")),
            ("x-claude-code-session-id", " ", Some("codex")),
            ("x-claude-code-session-id", " claude ", Some("claude")),
            ("x-claude-code-session-id", &long, Some(&long[..128])),
        ] {
            headers.insert(name, value.parse().expect("a header value"));
            assert_eq!(client_session_id(&headers), expected, "{name}: {value}");
        }
    }

    #[test]
    fn a_session_follows_from_key_client_and_conversation() {
        let ambient = Ambient::system();
        let (key, other_key) = (ApiKeyId::generate(&ambient), ApiKeyId::generate(&ambient));
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let hint =
            SessionHint { client: Some("claude-cli/1.0 (external, cli)"), conversation: 1, ..SessionHint::default() };
        let (id, expires_at) = hint.derive(key, now);
        assert_eq!(hint.derive(key, now), (id, expires_at));
        assert_eq!(SessionHint { client: Some("claude-cli/2.1"), required: true, ..hint }.derive(key, now).0, id);
        let (one, other) = (Some("one"), Some("other"));
        assert_eq!(
            SessionHint { client_session: one, conversation: 1, ..hint }.derive(key, now),
            SessionHint { client_session: one, conversation: 2, ..hint }.derive(key, now),
        );
        for (other_hint, other_key) in [
            (hint, other_key),
            (SessionHint { client: Some("claude-cl"), ..hint }, key),
            (SessionHint { client: None, ..hint }, key),
            (SessionHint { conversation: 2, ..hint }, key),
            (SessionHint { client_session: one, ..hint }, key),
            (SessionHint { client_session: other, ..hint }, key),
        ] {
            assert_ne!(other_hint.derive(other_key, now).0, id, "{other_hint:?}");
        }
    }

    #[test]
    fn a_derived_session_lives_for_at_most_a_week_and_then_becomes_another() {
        let key = ApiKeyId::generate(&Ambient::system());
        let now = DateTime::UNIX_EPOCH + TimeDelta::days(20_000);
        let hint = SessionHint::default();
        let (id, expires_at) = hint.derive(key, now);
        assert!(now < expires_at && expires_at <= now + LIFETIME);
        assert_eq!(hint.derive(key, expires_at - TimeDelta::seconds(1)), (id, expires_at));
        let (next, next_expires_at) = hint.derive(key, expires_at);
        assert_ne!(next, id);
        assert_eq!(next_expires_at, expires_at + LIFETIME);
    }
}
