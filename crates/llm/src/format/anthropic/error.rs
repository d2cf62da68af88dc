//! Our own errors in this format.

use std::borrow::Cow;

use serde::Serialize;

use crate::answer::reading::Reading;
use crate::answer::summary::TOO_LONG;
use crate::error::{ErrorAnswer, ErrorKind};
use crate::sse;

/// What the vendor says of a conversation that is longer than the model can take.
const TOO_LONG_WORDS: &str = "prompt is too long";

#[derive(Serialize)]
struct Body<'a> {
    r#type: &'static str,
    error: Error<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Error<'a> {
    r#type: &'static str,
    message: Cow<'a, str>,
}

/// The body of an answer with this error.
pub(super) fn body(error: &ErrorAnswer, request_id: Option<&str>) -> Vec<u8> {
    let message = match error.code {
        // The format has no codes. Programs know it by these words.
        Some(TOO_LONG) if !error.message.contains(TOO_LONG_WORDS) => {
            format!("{TOO_LONG_WORDS}: {}", error.message).into()
        }
        _ => Cow::Borrowed(error.message.as_str()),
    };
    let body = Body { r#type: "error", error: Error { r#type: kind(error.kind), message }, request_id };
    serde_json::to_vec(&body).expect("strings serialise")
}

const fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest => "invalid_request_error",
        ErrorKind::TooLarge => "request_too_large",
        ErrorKind::Authentication => "authentication_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::NotFound => "not_found_error",
        ErrorKind::RateLimit => "rate_limit_error",
        ErrorKind::Api => "api_error",
    }
}

/// The event that ends a stream with the error of a body.
pub(super) fn events(body: &[u8], _: Option<&str>, _: Option<&Reading>) -> Vec<u8> {
    sse::event(b"event: error\n", body)
}
