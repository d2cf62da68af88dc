//! Our own errors in this format: the error model of Google's APIs.

use serde::Serialize;

use crate::answer::reading::Reading;
use crate::error::{ErrorAnswer, ErrorKind};

#[derive(Serialize)]
struct Body<'a> {
    error: Error<'a>,
}

#[derive(Serialize)]
struct Error<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail<'a>>,
}

/// `google.rpc.ErrorInfo`, `google.rpc.RequestInfo`.
#[derive(Serialize)]
#[serde(untagged)]
enum Detail<'a> {
    Reason {
        #[serde(rename = "@type")]
        kind: &'static str,
        reason: String,
        domain: &'static str,
    },
    Request {
        #[serde(rename = "@type")]
        kind: &'static str,
        #[serde(rename = "requestId")]
        request_id: &'a str,
    },
}

/// The body of an answer with this error.
pub(super) fn body(error: &ErrorAnswer, request_id: Option<&str>) -> Vec<u8> {
    let reason = error.code.map(|code| Detail::Reason {
        kind: "type.googleapis.com/google.rpc.ErrorInfo",
        reason: code.to_ascii_uppercase(),
        domain: "systemprompt",
    });
    let request =
        request_id.map(|request_id| Detail::Request { kind: "type.googleapis.com/google.rpc.RequestInfo", request_id });
    let details = reason.into_iter().chain(request).collect();
    let error = Error { code: error.status, message: &error.message, status: status(error), details };
    serde_json::to_vec(&Body { error }).expect("strings serialise")
}

/// What ends a stream with the error of a body: the body alone, as Google has it. Its clients for JavaScript and Go throw
/// nothing for an error that is the data of an event, and a blank line behind it would make an empty event of it.
pub(super) fn events(body: &[u8], _: Option<&str>, _: Option<&Reading>) -> Vec<u8> {
    [body.trim_ascii(), b"\n"].concat()
}

/// The name that Google's errors have for what a status says.
fn status(error: &ErrorAnswer) -> &'static str {
    match (error.kind, error.status) {
        (ErrorKind::InvalidRequest | ErrorKind::TooLarge, _) => "INVALID_ARGUMENT",
        (ErrorKind::Authentication, _) => "UNAUTHENTICATED",
        (ErrorKind::Permission, _) => "PERMISSION_DENIED",
        (ErrorKind::NotFound, _) => "NOT_FOUND",
        (ErrorKind::RateLimit, _) => "RESOURCE_EXHAUSTED",
        (ErrorKind::Api, 504) => "DEADLINE_EXCEEDED",
        (ErrorKind::Api, 500) => "INTERNAL",
        (ErrorKind::Api, _) => "UNAVAILABLE",
    }
}
