//! Our own errors in this format.

use serde_json::{Value, json};
use systemprompt_model::json::loose;

use super::stream::Events;
use crate::answer::reading::Reading;
use crate::error::{ErrorAnswer, ErrorKind};

/// The body of an answer with this error. The request's id has no place in it; it is in the header.
pub(super) fn body(error: &ErrorAnswer, _: Option<&str>) -> Vec<u8> {
    let words = json!({ "message": error.message, "type": kind(error.kind), "param": null, "code": error.code });
    json!({ "error": words }).to_string().into_bytes()
}

/// The word for a kind of error.
pub(super) const fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::TooLarge => "invalid_request_error",
        ErrorKind::Authentication => "authentication_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::NotFound => "not_found_error",
        ErrorKind::RateLimit => "rate_limit_error",
        ErrorKind::Api => "api_error",
    }
}

/// The events that end a stream with the error of a body.
pub(super) fn events(body: &[u8], request_id: Option<&str>, seen: Option<&Reading>) -> Vec<u8> {
    let [error] = loose::pick(body, ["error"]);
    let [message, kind, code] = loose::pick(error.unwrap_or(body), ["message", "type", "code"]);
    let said = |value: Option<&[u8]>| value.and_then(loose::text).map(std::borrow::Cow::into_owned);
    let message = said(message).or_else(|| said(error)).unwrap_or_else(|| String::from_utf8_lossy(body).into_owned());
    let (id, model, created) = seen.map_or((None, None, None), Reading::names);
    let id = id.map_or_else(|| format!("resp_{}", request_id.unwrap_or_default().replace('-', "")), str::to_owned);
    let (kind, code) = (said(kind), said(code));
    let (kind, code) = (kind.as_deref(), code.as_deref());
    let response = json!({
        "id": id,
        "object": "response",
        "created_at": created.unwrap_or(0),
        "status": "failed",
        "background": false,
        "error": of_response(kind, code, &message),
        "incomplete_details": null,
        "model": model.unwrap_or_default(),
        "output": [],
        "instructions": null,
        "metadata": {},
        "parallel_tool_calls": true,
        "store": false,
        "temperature": null,
        "tool_choice": "auto",
        "tools": [],
        "top_p": null,
        "usage": null,
    });
    let mut events = Events::from(seen.map_or(0, Reading::next_event));
    announce(&mut events, kind, code, &message);
    events.end("failed", &response);
    events.take()
}

/// The event for an error, which many clients look for. The others do for the terminal event, which has to follow: a client
/// that knows neither has no end at all, and not a clean one.
pub(super) fn announce(events: &mut Events, kind: Option<&str>, code: Option<&str>, message: &str) {
    let code = code.or(kind);
    // As the vendor documents it, and as it sends it: clients read the one or the other.
    let error = json!({ "type": kind, "code": code, "message": message, "param": null });
    events.push("error", &json!({ "code": code, "message": message, "param": null, "error": error }));
}

/// The error of a response.
pub(super) fn of_response(kind: Option<&str>, code: Option<&str>, message: &str) -> Value {
    json!({ "code": code_of_response(kind, code), "message": message })
}

/// The code in a response that failed. Clients decide by it whether to try again, and take one they don't know for a
/// reason to.
fn code_of_response(kind: Option<&str>, code: Option<&str>) -> String {
    const FINAL: [&str; 5] = [
        "context_length_exceeded",
        "insufficient_quota",
        "usage_not_included",
        "invalid_prompt",
        "rate_limit_exceeded",
    ];
    match (kind, code) {
        (_, Some(code)) if FINAL.contains(&code) => code.to_owned(),
        (Some("invalid_request_error" | "authentication_error" | "permission_error" | "not_found_error"), _) => {
            "invalid_prompt".to_owned()
        }
        (Some("rate_limit_error"), _) => "rate_limit_exceeded".to_owned(),
        _ => "server_error".to_owned(),
    }
}
