//! The headers between the caller and us: which of the caller's mean something, and which every answer carries.

use http::header::{HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use systemprompt_identity::client_session_id;
use systemprompt_llm::Format;
use systemprompt_model::{ActionId, SessionId, TraceId};

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
/// Names the conversation a request belongs to.
pub const CONVERSATION_ID: HeaderName = HeaderName::from_static("x-gateway-conversation-id");
/// Restricts the model list to one client family.
pub const INFERENCE_PROTOCOL: HeaderName = HeaderName::from_static("x-inference-protocol");

/// A header is not usable; the message names it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the header {name} {problem}")]
pub struct BadHeader {
    /// Its name.
    pub name: &'static str,
    /// What is wrong.
    pub problem: &'static str,
}

/// What the caller's headers say about the request, credentials aside.
#[derive(Debug, Default)]
pub struct CallerHeaders {
    /// The session the caller wants the request bound to.
    pub session: Option<SessionId>,
    /// A session id the client made up itself; kept as correlation.
    pub client_session: Option<String>,
    /// The conversation, if the caller names one.
    pub conversation: Option<String>,
    /// The client program, from the user agent, shortened.
    pub client: Option<String>,
    /// The trace the caller is part of (W3C `traceparent`).
    pub client_trace: Option<String>,
}

impl CallerHeaders {
    /// Reads the headers that concern the gateway.
    pub fn read(headers: &HeaderMap) -> Result<Self, BadHeader> {
        let session = match headers.get(SESSION_ID) {
            None => None,
            Some(value) => Some(value.to_str().ok().and_then(|text| text.trim().parse().ok()).ok_or(BadHeader {
                name: "x-session-id",
                problem: "is not a session id (sess_<uuid>); leave it out to have the session derived",
            })?),
        };
        let text = |name: &HeaderName, limit: usize| {
            headers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .map(str::trim)
                .filter(|text| !text.is_empty())
                .map(|text| text.chars().take(limit).collect::<String>())
        };
        Ok(Self {
            session,
            client_session: client_session_id(headers).map(str::to_owned),
            conversation: text(&CONVERSATION_ID, 128),
            client: text(&USER_AGENT, 256),
            client_trace: headers
                .get("traceparent")
                .and_then(|value| value.to_str().ok())
                .and_then(trace_of)
                .map(str::to_owned),
        })
    }
}

/// The trace id of a W3C `traceparent` header, version 00.
fn trace_of(traceparent: &str) -> Option<&str> {
    let mut parts = traceparent.split('-');
    let (version, trace) = (parts.next()?, parts.next()?);
    let valid = version == "00"
        && trace.len() == 32
        && trace.bytes().all(|byte| byte.is_ascii_hexdigit())
        && trace.bytes().any(|byte| byte != b'0');
    valid.then_some(trace)
}

/// Sets the headers every answer carries. The official SDKs look for the request id under the name their vendor uses.
pub fn stamp(headers: &mut HeaderMap, dialect: Format, trace: TraceId, request: Option<ActionId>) {
    let value = |text: String| HeaderValue::from_str(&text).expect("an id is ASCII");
    headers.insert(TRACE_ID, value(trace.to_string()));
    if let Some(request) = request {
        let id = value(request.to_string());
        headers.insert(HeaderName::from_static(dialect.request_id_header()), id.clone());
        headers.insert(GATEWAY_REQUEST_ID, id.clone());
        headers.insert(REQUEST_ID, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_well_formed_traces_are_kept() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(trace_of(&format!("00-{trace}-00f067aa0ba902b7-01")), Some(trace));
        assert_eq!(trace_of("00-00000000000000000000000000000000-00f067aa0ba902b7-01"), None);
        assert_eq!(trace_of("ff-x-y-z"), None);
    }

    #[test]
    fn a_malformed_session_id_is_an_error_not_a_new_session() {
        let mut headers = HeaderMap::new();
        headers.insert(SESSION_ID, HeaderValue::from_static("mine"));
        assert!(CallerHeaders::read(&headers).is_err());
    }
}
