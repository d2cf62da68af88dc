//! Errors in this format.

use serde_json::json;

use crate::answer::reading::Reading;
use crate::error::{ErrorAnswer, ErrorKind};

/// The body of an answer with this error.
pub(super) fn body(error: &ErrorAnswer, _: Option<&str>) -> Vec<u8> {
    json!({ "message": error.message, "__type": kind(error.kind) }).to_string().into_bytes()
}

const fn kind(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidRequest | ErrorKind::TooLarge => "ValidationException",
        ErrorKind::Authentication | ErrorKind::Permission => "AccessDeniedException",
        ErrorKind::NotFound => "ResourceNotFoundException",
        ErrorKind::RateLimit => "ThrottlingException",
        ErrorKind::Api => "InternalServerException",
    }
}

/// The event that ends a stream with the error of a body.
pub(super) fn events(body: &[u8], _: Option<&str>, _: Option<&Reading>) -> Vec<u8> {
    crate::sse::event(b"", body)
}
