//! Which session a request belongs to, as far as the request itself says.

use chrono::{DateTime, TimeDelta, Utc};
use sha2::{Digest, Sha256};
use systemprompt_model::{ApiKeyId, SessionId};

use crate::session::LIFETIME;

/// The longest client name that is used, in bytes; the rest is cut off.
const LONGEST_NAME: usize = 128;

/// What a request says about the session it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SessionHint<'a> {
    /// The session it names in the header `x-session-id`.
    pub explicit: Option<SessionId>,
    /// The id the client has for its own session, at most a few hundred bytes.
    pub client_session: Option<&'a str>,
    /// The `user-agent`. What comes before the first slash or space tells clients apart; a new version does not.
    pub client: Option<&'a str>,
    /// Tells conversations of one client apart; not used if the client says its session.
    pub conversation: u64,
    /// Whether a request with an API key must name its session (`gateway.require_session_id`).
    pub required: bool,
    /// A session that follows from the request is over after so long without one.
    pub pause: TimeDelta,
}

impl Default for SessionHint<'_> {
    fn default() -> Self {
        Self {
            explicit: None,
            client_session: None,
            client: None,
            conversation: 0,
            required: false,
            pause: TimeDelta::minutes(30),
        }
    }
}

/// What sessions follow from: a key, a client, and its session or conversation. One session of it follows the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Origin([u8; 32]);

impl<'a> SessionHint<'a> {
    /// The client's name.
    pub(crate) fn client_name(&self) -> Option<&'a str> {
        self.client?.split(['/', ' ']).find(|name| !name.is_empty()).map(shortened)
    }

    /// What the session of this request follows from.
    pub(crate) fn origin(&self, key: ApiKeyId) -> Origin {
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
        Origin(digest.finalize().into())
    }
}

impl Origin {
    /// What the session follows from that conversations of this key share which get none of their own.
    pub(crate) fn shared(key: ApiKeyId) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"systemprompt.session.shared.1");
        digest.update(key.as_uuid().into_bytes());
        Self(digest.finalize().into())
    }

    /// The digest under which sessions are found again.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The id of the session that comes after `last`, or of the first one. Every replica comes to the same id, so that two
    /// that begin a session at once begin the same.
    ///
    /// The first one has the week in its id: when all sessions of long ago are forgotten, none comes back.
    pub(crate) fn session_after(&self, last: Option<SessionId>, now: DateTime<Utc>) -> SessionId {
        let mut digest = Sha256::new();
        digest.update(self.0);
        match last {
            Some(last) => digest.update(last.as_uuid().as_bytes()),
            None => digest.update(now.timestamp().div_euclid(LIFETIME.num_seconds()).to_be_bytes()),
        }
        let id: [u8; 32] = digest.finalize().into();
        let id: [u8; 16] = std::array::from_fn(|i| id[i]);
        SessionId::from_uuid(uuid::Builder::from_custom_bytes(id).into_uuid())
    }
}

fn shortened(text: &str) -> &str {
    &text[..text.floor_char_boundary(LONGEST_NAME)]
}

#[cfg(test)]
mod tests {
    use systemprompt_model::Ambient;

    use super::*;

    #[test]
    fn a_session_follows_from_key_client_and_conversation() {
        let ambient = Ambient::system();
        let (key, other_key) = (ApiKeyId::generate(&ambient), ApiKeyId::generate(&ambient));
        let hint =
            SessionHint { client: Some("claude-cli/1.0 (external, cli)"), conversation: 1, ..SessionHint::default() };
        let origin = hint.origin(key);
        assert_eq!(SessionHint { client: Some("claude-cli/2.1"), required: true, ..hint }.origin(key), origin);
        let (one, other) = (Some("one"), Some("other"));
        assert_eq!(
            SessionHint { client_session: one, conversation: 1, ..hint }.origin(key),
            SessionHint { client_session: one, conversation: 2, ..hint }.origin(key),
        );
        for (other_hint, other_key) in [
            (hint, other_key),
            (SessionHint { client: Some("claude-cl"), ..hint }, key),
            (SessionHint { client: None, ..hint }, key),
            (SessionHint { conversation: 2, ..hint }, key),
            (SessionHint { client_session: one, ..hint }, key),
            (SessionHint { client_session: other, ..hint }, key),
        ] {
            assert_ne!(other_hint.origin(other_key), origin, "{other_hint:?}");
        }
    }

    #[test]
    fn one_session_follows_the_other_and_none_comes_back() {
        let origin = SessionHint::default().origin(ApiKeyId::generate(&Ambient::system()));
        let now = DateTime::UNIX_EPOCH + LIFETIME * 2_000;
        let first = origin.session_after(None, now);
        assert_eq!(origin.session_after(None, now + TimeDelta::minutes(1)), first);
        let second = origin.session_after(Some(first), now + TimeDelta::hours(1));
        assert_eq!(origin.session_after(Some(first), now + TimeDelta::hours(2)), second);
        let third = origin.session_after(Some(second), now);
        let much_later = origin.session_after(None, now + LIFETIME * 9);
        let all = [first, second, third, much_later];
        assert!(all.iter().enumerate().all(|(i, id)| !all[..i].contains(id)), "{all:?}");
    }
}
