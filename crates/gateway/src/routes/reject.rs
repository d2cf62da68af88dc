//! Requests the server does not let through are refused in the caller's dialect, which their path tells.

use axum::extract::Request;
use axum::response::Response;
use systemprompt_extension::Rejection;
use systemprompt_llm::Format;

use super::error::RouteError;
use super::exchange::dialect_of;
use super::otel;
use crate::config::PolicyDenyStatus;
use crate::headers;

/// Says why the server does not let a request through.
pub(super) fn reject(rejection: Rejection, request: &Request) -> Response {
    let path = request.uri().path();
    if otel::is_at(path) {
        return otel::reject(rejection, request);
    }
    let dialect = if path.ends_with("/messages") {
        Format::AnthropicMessages
    } else if path.ends_with("/chat/completions") {
        Format::OpenAiChat
    } else if path.ends_with("/responses") {
        Format::OpenAiResponses
    } else if path.contains("/v1beta/") {
        Format::Gemini
    } else {
        dialect_of(request.headers())
    };
    let mut response = RouteError::from(rejection).to_response(dialect, PolicyDenyStatus::default());
    if let Some(trace) = request.extensions().get() {
        headers::stamp(response.headers_mut(), *trace, None);
    }
    response
}
