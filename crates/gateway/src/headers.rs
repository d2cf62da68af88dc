//! The headers between the caller and us: which of the caller's mean something, and which every answer carries.

use std::fmt::Write as _;

use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use systemprompt_model::{ActionId, SessionId, TraceId};

use crate::traceparent::TraceParent;

/// The ledger id of a request, on every answer to a recorded request.
pub const REQUEST_ID: HeaderName = systemprompt_extension::REQUEST_ID;
/// The same under a brand-neutral name.
pub const GATEWAY_REQUEST_ID: HeaderName = HeaderName::from_static("x-gateway-request-id");
/// The trace id, on every answer.
pub const TRACE_ID: HeaderName = HeaderName::from_static("x-trace-id");
/// The provider's own id of the request.
pub const UPSTREAM_REQUEST_ID: HeaderName = HeaderName::from_static("x-upstream-request-id");
/// Binds a request to a session.
pub const SESSION_ID: HeaderName = HeaderName::from_static("x-session-id");
/// In which of its agents a coding assistant asks.
const AGENT_ID: HeaderName = HeaderName::from_static("x-claude-code-agent-id");
/// Headers in which clients say which of their own sessions a request belongs to; the first that says something counts.
/// Many call theirs `x-session-id`: what is no session of ours there is one of theirs.
const CLIENT_SESSIONS: [HeaderName; 8] = [
    HeaderName::from_static("x-claude-code-session-id"),
    HeaderName::from_static("x-client-session-id"),
    HeaderName::from_static("x-opencode-session"),
    SESSION_ID,
    HeaderName::from_static("session_id"),
    HeaderName::from_static("session-id"),
    HeaderName::from_static("x-session-affinity"),
    HeaderName::from_static("thread-id"),
];

/// The longest id of a client that is used, in bytes; the rest is cut off.
const LONGEST_ID: usize = 128;
/// The longest name of a client that is used, in bytes.
const LONGEST_NAME: usize = 256;

/// Names the conversation a request belongs to.
pub const CONVERSATION_ID: HeaderName = HeaderName::from_static("x-gateway-conversation-id");
/// Restricts the model list to one client family.
pub const INFERENCE_PROTOCOL: HeaderName = HeaderName::from_static("x-inference-protocol");

/// What the caller's headers say about the request, credentials aside.
#[derive(Debug, Default)]
pub struct CallerHeaders {
    /// The session the caller wants the request bound to.
    pub session: Option<SessionId>,
    /// `x-session-id` is there and names no session of ours.
    pub foreign_session: bool,
    /// A session id the client made up itself; kept as correlation.
    pub client_session: Option<String>,
    /// The agent of the client that asks, by the client's own id.
    pub agent: Option<String>,
    /// The conversation, if the caller names one.
    pub conversation: Option<String>,
    /// The client program, from the user agent, shortened.
    pub client: Option<String>,
    /// The trace the caller is part of (W3C `traceparent`).
    pub client_trace: Option<String>,
}

impl CallerHeaders {
    /// Reads the headers that concern the gateway. Whatever they say is fit to be stored and shown.
    pub fn read(headers: &HeaderMap) -> Self {
        let text = |name: &HeaderName, limit| headers.get(name).and_then(|value| visible(value, limit));
        let session = headers.get_all(SESSION_ID).iter().find_map(|value| value.to_str().ok()?.trim().parse().ok());
        let mut client_sessions = CLIENT_SESSIONS.into_iter().filter(|name| *name != SESSION_ID || session.is_none());
        Self {
            session,
            foreign_session: session.is_none() && headers.contains_key(SESSION_ID),
            client_session: client_sessions.find_map(|name| text(&name, LONGEST_ID)),
            agent: text(&AGENT_ID, LONGEST_ID),
            conversation: text(&CONVERSATION_ID, LONGEST_ID),
            client: text(&USER_AGENT, LONGEST_NAME),
            client_trace: TraceParent::of(headers).map(|parent| hex::encode(parent.trace_id)),
        }
    }
}

/// What a header says, in at most `limit` bytes: whatever is no text and whatever a terminal would obey is escaped.
fn visible(value: &HeaderValue, limit: usize) -> Option<String> {
    let mut shown = String::new();
    for character in String::from_utf8_lossy(value.as_bytes()).trim().chars() {
        let whole = shown.len();
        // Besides control characters those that change the direction in which text is read.
        if character.is_control()
            || matches!(character, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        {
            let _ = write!(shown, "{}", character.escape_unicode());
        } else {
            shown.push(character);
        }
        if shown.len() > limit {
            shown.truncate(whole);
            break;
        }
    }
    (!shown.is_empty()).then_some(shown)
}

/// Sets the headers every answer carries. The official SDKs look for the request id under the name their vendor uses.
pub fn stamp(headers: &mut HeaderMap, trace: TraceId, request: Option<ActionId>) {
    let value = |text: String| HeaderValue::try_from(text).expect("an id is ASCII");
    headers.insert(TRACE_ID, value(trace.to_string()));
    if let Some(request) = request {
        let id = value(request.to_string());
        // Clients of one vendor's SDK may ask in the other's dialect.
        headers.insert(HeaderName::from_static("x-request-id"), id.clone());
        headers.insert(HeaderName::from_static("request-id"), id.clone());
        headers.insert(GATEWAY_REQUEST_ID, id.clone());
        headers.insert(REQUEST_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&'static str, &[u8])]) -> CallerHeaders {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).expect("a header value"));
        }
        CallerHeaders::read(&map)
    }

    #[test]
    fn a_foreign_session_is_the_clients() {
        for (value, expected) in [
            (&b"ses_f84c6ba38ffe6UeTRaX25G3KTr"[..], Some("ses_f84c6ba38ffe6UeTRaX25G3KTr")),
            (b"019a7c41-7ea4-7b6e-8f0f-2f5d1c7b9a10", Some("019a7c41-7ea4-7b6e-8f0f-2f5d1c7b9a10")),
            (b"issue-61", Some("issue-61")),
            (b"sess_", Some("sess_")),
            (b"", None),
            (b"\t", None),
            ("sitzung-ä".as_bytes(), Some("sitzung-ä")),
            (b"\xff\xfe", Some("\u{fffd}\u{fffd}")),
            ("a\u{9b}2Jb\u{202e}".as_bytes(), Some("a\\u{9b}2Jb\\u{202e}")),
        ] {
            let read = read(&[("x-session-id", value)]);
            assert!(read.session.is_none() && read.foreign_session, "{value:?}");
            assert_eq!(read.client_session.as_deref(), expected, "{value:?}");
        }
        let ours = read(&[("x-session-id", b"sess_019a7c41-7ea4-7b6e-8f0f-2f5d1c7b9a10")]);
        assert!(ours.session.is_some() && !ours.foreign_session);
        assert_eq!(ours.client_session, None);
    }

    #[test]
    fn clients_say_their_sessions_in_several_headers() {
        for name in CLIENT_SESSIONS {
            let map = HeaderMap::from_iter([(name.clone(), HeaderValue::from_static(" one "))]);
            assert_eq!(CallerHeaders::read(&map).client_session.as_deref(), Some("one"), "{name}");
        }
        let both = read(&[("thread-id", b"thread"), ("x-claude-code-session-id", b"claude"), ("x-session-id", b"x")]);
        assert_eq!(both.client_session.as_deref(), Some("claude"));
        let empty = read(&[("x-claude-code-session-id", b" "), ("x-session-affinity", b"s"), ("x-session-id", b"")]);
        assert_eq!(empty.client_session.as_deref(), Some("s"));
    }

    #[test]
    fn what_clients_say_is_bounded() {
        let long = "ü".repeat(300);
        let read = read(&[
            ("session-id", long.as_bytes()),
            ("x-claude-code-agent-id", b"agent-7"),
            ("user-agent", long.as_bytes()),
        ]);
        assert_eq!(read.client_session.map(|id| id.len()), Some(LONGEST_ID));
        assert_eq!(read.client.map(|name| name.len()), Some(LONGEST_NAME));
        assert_eq!(read.agent.as_deref(), Some("agent-7"));
    }
}
