//! Our own errors in the caller's format.

use serde::Serialize;

use crate::{Format, RequestError};

/// An error as a caller gets it. The constructors are the rows of the error table; all fields may still be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The HTTP status.
    pub status: u16,
    /// `error.type` in `anthropic-messages`.
    pub anthropic_type: &'static str,
    /// `error.type` in `openai-chat`.
    pub openai_type: &'static str,
    /// `error.code` in `openai-chat`.
    pub code: Option<&'static str>,
    /// One sentence for the person who reads it.
    pub message: String,
}

/// What a refusal by a policy starts with, so that people know the provider did not say it.
const DENIED: &str = "blocked by systemprompt governance: ";

impl ErrorAnswer {
    /// 400: the body cannot be read, a field is missing or wrong, a required header is missing.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, "invalid_request_error", message)
    }

    /// 401: no credential, one that is not valid, or a session that is not the caller's.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self { code: Some("invalid_api_key"), ..Self::new(401, "authentication_error", message) }
    }

    /// 403: the caller may not use the route this model leads to.
    pub fn not_entitled(message: impl Into<String>) -> Self {
        Self::new(403, "permission_error", message)
    }

    /// 404: the gateway is switched off.
    pub fn gateway_disabled() -> Self {
        Self::new(404, "not_found_error", "Gateway not enabled")
    }

    /// 404: no route leads anywhere for this model.
    pub fn model_not_found(model: &str) -> Self {
        let message = format!("No gateway route matches model `{}`", shorten(model));
        Self { code: Some("model_not_found"), ..Self::new(404, "not_found_error", message) }
    }

    /// 405: the path exists, the method does not.
    pub fn method_not_allowed(allowed: &str) -> Self {
        Self::new(405, "invalid_request_error", format!("this path answers {allowed} only"))
    }

    /// 408: the body did not arrive in time.
    pub fn body_timeout(seconds: u64) -> Self {
        Self::new(408, "invalid_request_error", format!("the request body did not arrive within {seconds} seconds"))
    }

    /// 413: the body is larger than `limit` bytes.
    pub fn body_too_large(limit: usize) -> Self {
        let message = format!("the request body is larger than {limit} bytes");
        Self { openai_type: "invalid_request_error", ..Self::new(413, "request_too_large", message) }
    }

    /// 429: a quota or a rate limit is used up. The answer should also carry `retry-after`.
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Self { code: Some("insufficient_quota"), ..Self::new(429, "rate_limit_error", message) }
    }

    /// 400: a policy refused the request, or the model is not exposed. 400 because desktop clients take 401 and 403 for
    /// a broken credential and start a new sign-in.
    pub fn denied(reason: &str) -> Self {
        Self { code: Some("policy_denied"), ..Self::new(400, "invalid_request_error", format!("{DENIED}{reason}")) }
    }

    /// 403: the answer was withheld by a safety scan.
    pub fn answer_blocked(reason: &str) -> Self {
        Self { code: Some("content_blocked"), ..Self::new(403, "permission_error", format!("{DENIED}{reason}")) }
    }

    /// The provider answered with this status and no body. Its meaning is kept where a caller can act on it.
    pub fn upstream_without_body(upstream_status: u16) -> Self {
        let status = match upstream_status {
            400 | 404 | 422 | 429 => upstream_status,
            408 | 504 => 504,
            _ => 502,
        };
        let message = format!("the upstream provider answered with status {upstream_status} and no explanation");
        Self::new(status, "api_error", message)
    }

    /// 502: no connection to the provider, or it closed before it answered.
    pub fn upstream_unreachable() -> Self {
        Self::new(502, "api_error", "upstream provider unreachable")
    }

    /// 504: the provider did not answer in time.
    pub fn upstream_timeout(message: impl Into<String>) -> Self {
        Self::new(504, "api_error", message)
    }

    /// 502: the provider's answer is not what its protocol says, or it ended too early. Mostly sent inside a stream.
    pub fn upstream_interrupted(message: impl Into<String>) -> Self {
        Self::new(502, "api_error", message)
    }

    /// 503: the provider's secret is missing or the profile is not ready.
    pub fn not_ready(message: impl Into<String>) -> Self {
        Self::new(503, "api_error", message)
    }

    /// 503: the request could not be recorded, so it was not sent.
    pub fn ledger_unavailable() -> Self {
        Self::new(503, "api_error", "the audit ledger is unavailable; nothing was sent to the provider")
    }

    /// 503: the server is shutting down.
    pub fn shutting_down() -> Self {
        Self::new(503, "api_error", "the gateway is shutting down; send the request again")
    }

    /// 500: a fault of ours.
    pub fn internal() -> Self {
        Self::new(500, "api_error", "internal error; the gateway's log has the details under this request's id")
    }

    /// The body of an answer with this error. `request_id` appears in `anthropic-messages` only; both have the header.
    pub fn body(&self, format: Format, request_id: Option<&str>) -> Vec<u8> {
        let body = match format {
            Format::AnthropicMessages => serde_json::to_vec(&AnthropicBody {
                r#type: "error",
                error: AnthropicError { r#type: self.anthropic_type, message: &self.message },
                request_id,
            }),
            Format::OpenAiChat => serde_json::to_vec(&OpenAiBody {
                error: OpenAiError { message: &self.message, r#type: self.openai_type, param: None, code: self.code },
            }),
        };
        body.expect("strings serialise")
    }

    /// The event that ends a stream with this error.
    pub fn sse_event(&self, format: Format, request_id: Option<&str>) -> Vec<u8> {
        let name: &[u8] = match format {
            Format::AnthropicMessages => b"event: error\n",
            Format::OpenAiChat => b"",
        };
        [name, b"data: ", &self.body(format, request_id), b"\n\n"].concat()
    }

    fn new(status: u16, kind: &'static str, message: impl Into<String>) -> Self {
        Self { status, anthropic_type: kind, openai_type: kind, code: None, message: message.into() }
    }
}

impl From<&RequestError> for ErrorAnswer {
    fn from(error: &RequestError) -> Self {
        Self::invalid_request(error.to_string())
    }
}

/// Text of the caller's that is repeated in an error: at most 200 characters.
fn shorten(text: &str) -> &str {
    text.char_indices().nth(200).map_or(text, |(end, _)| &text[..end])
}

#[derive(Serialize)]
struct AnthropicBody<'a> {
    r#type: &'static str,
    error: AnthropicError<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'static str,
    message: &'a str,
}

#[derive(Serialize)]
struct OpenAiBody<'a> {
    error: OpenAiError<'a>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    r#type: &'static str,
    param: Option<&'static str>,
    code: Option<&'static str>,
}
