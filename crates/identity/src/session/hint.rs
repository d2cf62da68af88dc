//! Which session a request belongs to, as far as the request itself says.

use chrono::{DateTime, Utc};
use http::HeaderMap;
use sha2::{Digest, Sha256};
use systemprompt_model::{ApiKeyId, SessionId};

use crate::session::LIFETIME;

/// The longest client name or client session id that is used, in bytes; the rest is cut off.
const LONGEST_NAME: usize = 128;
/// Headers in which coding assistants say which of their own sessions a request belongs to.
const CLIENT_SESSION_HEADERS: [&str; 4] =
    ["x-claude-code-session-id", "x-client-session-id", "x-opencode-session", "session_id"];

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
    use chrono::TimeDelta;
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
