//! Our own errors, before a format puts them into words.

use crate::request::error::RequestError;

/// An error as a caller gets it. The constructors are the rows of the error table; all fields may still be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The HTTP status.
    pub status: u16,
    /// What kind of error it is; each format has its own word for it.
    pub kind: ErrorKind,
    /// The code of formats that have one, such as `openai-chat`.
    pub code: Option<&'static str>,
    /// One sentence for the person who reads it.
    pub message: String,
}

/// What kind of error a caller made or met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The request is not one we can serve.
    InvalidRequest,
    /// The request is too large.
    TooLarge,
    /// The caller did not say who they are, or not believably.
    Authentication,
    /// The caller may not do this.
    Permission,
    /// There is nothing of this name.
    NotFound,
    /// The caller asked too often.
    RateLimit,
    /// The provider or we ourselves failed.
    Api,
}

impl ErrorKind {
    /// What an error status of a provider means.
    pub(crate) const fn of_status(status: u16) -> Self {
        match status {
            401 => Self::Authentication,
            403 => Self::Permission,
            404 => Self::NotFound,
            413 => Self::TooLarge,
            429 => Self::RateLimit,
            400..500 => Self::InvalidRequest,
            _ => Self::Api,
        }
    }
}

/// What a refusal by a policy starts with, so that people know the provider did not say it.
const DENIED: &str = "blocked by systemprompt governance: ";

impl ErrorAnswer {
    /// 400: the body cannot be read, a field is missing or wrong, a required header is missing.
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(400, ErrorKind::InvalidRequest, message)
    }

    /// 401: no credential, one that is not valid, or a session that is not the caller's.
    pub fn unauthenticated(message: impl Into<String>) -> Self {
        Self { code: Some("invalid_api_key"), ..Self::new(401, ErrorKind::Authentication, message) }
    }

    /// 403: the caller may not use the route this model leads to.
    pub fn not_entitled(message: impl Into<String>) -> Self {
        Self::new(403, ErrorKind::Permission, message)
    }

    /// 404: the gateway is switched off.
    pub fn gateway_disabled() -> Self {
        Self::new(404, ErrorKind::NotFound, "Gateway not enabled")
    }

    /// 404: no route leads anywhere for this model.
    pub fn model_not_found(model: &str) -> Self {
        let message = format!("No gateway route matches model `{}`", shorten(model));
        Self { code: Some("model_not_found"), ..Self::new(404, ErrorKind::NotFound, message) }
    }

    /// 405: the path exists, the method does not.
    pub fn method_not_allowed(allowed: &str) -> Self {
        Self::new(405, ErrorKind::InvalidRequest, format!("this path answers {allowed} only"))
    }

    /// 413: the body is larger than `limit` bytes.
    pub fn body_too_large(limit: usize) -> Self {
        let message = format!("the request body is larger than {limit} bytes");
        Self::new(413, ErrorKind::TooLarge, message)
    }

    /// 429: a quota or a rate limit is used up. The answer should also carry `retry-after`.
    pub fn rate_limited(message: impl Into<String>) -> Self {
        Self { code: Some("insufficient_quota"), ..Self::new(429, ErrorKind::RateLimit, message) }
    }

    /// A policy refused the request. The status is for whoever answers to set (451 by default, `gateway.policy_deny_status`);
    /// 400 as it stands. Desktop clients take 401 and 403 for a broken credential and start a new sign-in.
    pub fn denied(reason: &str) -> Self {
        Self { code: Some("policy_denied"), ..Self::new(400, ErrorKind::InvalidRequest, format!("{DENIED}{reason}")) }
    }

    /// A policy withheld the answer. The status is for whoever answers to set (451 by default, `gateway.policy_deny_status`);
    /// 403 as it stands, and inside a stream none is told.
    pub fn answer_blocked(reason: &str) -> Self {
        Self { code: Some("content_blocked"), ..Self::new(403, ErrorKind::Permission, format!("{DENIED}{reason}")) }
    }

    /// 500: a fault of ours.
    pub fn internal() -> Self {
        Self::new(500, ErrorKind::Api, "internal error; the gateway's log has the details under this request's id")
    }

    /// The provider answered with this status and no body. Its meaning is kept where a caller can act on it.
    pub fn upstream_without_body(upstream_status: u16) -> Self {
        let status = match upstream_status {
            400 | 404 | 422 | 429 => upstream_status,
            408 | 504 => 504,
            _ => 502,
        };
        let message = format!("the upstream provider answered with status {upstream_status} and no explanation");
        Self::new(status, ErrorKind::Api, message)
    }

    /// 502: no connection to the provider, or it closed before it answered.
    pub fn upstream_unreachable() -> Self {
        Self::new(502, ErrorKind::Api, "upstream provider unreachable")
    }

    /// 502: the provider does not accept our credential. Not 401, which would send the caller to look for a fault in its own.
    pub fn provider_credential_refused(reason: &str) -> Self {
        let code = "provider_credential_refused";
        let message = format!("{code}: {reason}; whoever operates the gateway has to renew it");
        Self { code: Some(code), ..Self::new(502, ErrorKind::Api, message) }
    }

    /// 504: the provider did not answer in time.
    pub fn upstream_timeout(message: impl Into<String>) -> Self {
        Self::new(504, ErrorKind::Api, message)
    }

    /// 502: the provider's answer is not what its protocol says, or it ended too early. Mostly sent inside a stream.
    pub fn upstream_interrupted(message: impl Into<String>) -> Self {
        Self::new(502, ErrorKind::Api, message)
    }

    /// 503: the provider's secret is missing or the profile is not ready.
    pub fn not_ready(message: impl Into<String>) -> Self {
        Self::new(503, ErrorKind::Api, message)
    }

    /// 503: the request could not be recorded, so it was not sent.
    pub fn ledger_unavailable() -> Self {
        Self::new(503, ErrorKind::Api, "the audit ledger is unavailable; nothing was sent to the provider")
    }

    /// 503: the server is shutting down.
    pub fn shutting_down() -> Self {
        Self::new(503, ErrorKind::Api, "the gateway is shutting down; send the request again")
    }

    fn new(status: u16, kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { status, kind, code: None, message: message.into() }
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
