//! Our own errors in this format.

use serde::Serialize;

use crate::answer::reading::Reading;
use crate::error::{ErrorAnswer, ErrorKind};
use crate::sse;

#[derive(Serialize)]
struct Body<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}

/// The body of an answer with this error. The request's id has no place in it; it is in the header.
pub(super) fn body(error: &ErrorAnswer, _: Option<&str>) -> Vec<u8> {
    let error = Error { message: &error.message, r#type: kind(error.kind), param: None, code: error.code };
    serde_json::to_vec(&Body { error }).expect("strings serialise")
}

const fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::TooLarge => "invalid_request_error",
        ErrorKind::Authentication => "authentication_error",
        ErrorKind::Permission => "permission_error",
        ErrorKind::NotFound => "not_found_error",
        ErrorKind::RateLimit => "rate_limit_error",
        ErrorKind::Api => "api_error",
    }
}

/// The event that ends a stream with the error of a body.
pub(super) fn events(body: &[u8], _: Option<&str>, _: Option<&Reading>) -> Vec<u8> {
    sse::event(b"", body)
}
