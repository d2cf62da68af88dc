//! Everything that can go wrong with a model request, and what the caller is told. This is the one place where an error
//! becomes a status and a body.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use systemprompt_extension::RateLimited;
use systemprompt_governance::access;
use systemprompt_governance::{Denial, DenialKind, Refusal};
use systemprompt_identity::{AuthError, IdentifyError, SessionError};
use systemprompt_llm::{ErrorAnswer, Format, RequestError};
use systemprompt_model::RequestId;

use crate::body::BodyError;
use crate::config::PolicyDenyStatus;
use crate::headers::BadHeader;
use crate::routing::NoRoute;
use crate::upstream::SendError;

/// A model request that got no answer from a model.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: FailureKind,
    /// Its ledger record, once it has one.
    pub(crate) request: Option<RequestId>,
}

/// Why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FailureKind {
    #[error("Gateway not enabled")]
    Disabled,
    #[error("missing required x-session-id header")]
    SessionRequired,
    #[error("x-inference-protocol is one of anthropic, openai, gemini")]
    UnknownSurface,
    #[error("{0}")]
    Query(String),
    #[error("this path answers {allowed} only")]
    Method { allowed: &'static str },
    #[error("there is no endpoint at {path}")]
    NoEndpoint { path: String },
    #[error(transparent)]
    Header(#[from] BadHeader),
    #[error(transparent)]
    Authentication(#[from] AuthError),
    #[error(transparent)]
    RateLimited(RateLimited),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Access(#[from] access::Unavailable),
    #[error(transparent)]
    Refused(#[from] Refusal),
    #[error(transparent)]
    Upstream(#[from] SendError),
}

impl Failure {
    /// A failure of a request that is in the ledger.
    pub(crate) fn recorded(request: RequestId, kind: FailureKind) -> Self {
        // What could not be recorded has no record to point to.
        let request = (!matches!(kind, FailureKind::Refused(Refusal::LedgerUnavailable))).then_some(request);
        Self { kind, request }
    }

    /// The answer in the caller's dialect.
    pub(crate) fn to_response(&self, dialect: Format, deny_status: PolicyDenyStatus) -> Response {
        let error = self.dialect_error(deny_status);
        if error.status >= 500 {
            tracing::warn!(request_id = self.request.map(|id| id.to_string()), status = error.status, error = %self.kind, "a model request failed");
        }
        let id = self.request.map(|id| id.to_string());
        let mut response = Response::new(Body::from(error.body(dialect, id.as_deref())));
        *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(retry) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, retry);
        }
        if let FailureKind::RateLimited(limited) = &self.kind {
            limited.write_headers(response.headers_mut());
        }
        response
    }

    fn dialect_error(&self, deny_status: PolicyDenyStatus) -> ErrorAnswer {
        let message = self.kind.to_string();
        match &self.kind {
            FailureKind::Disabled => ErrorAnswer::gateway_disabled(),
            FailureKind::SessionRequired
            | FailureKind::UnknownSurface
            | FailureKind::Query(_)
            | FailureKind::Header(_)
            | FailureKind::Session(SessionError::Required) => ErrorAnswer::invalid_request(message),
            FailureKind::Method { allowed } => ErrorAnswer::method_not_allowed(allowed),
            FailureKind::NoEndpoint { .. } => ErrorAnswer { code: None, message, ..ErrorAnswer::gateway_disabled() },
            FailureKind::Authentication(AuthError::Unavailable)
            | FailureKind::Session(SessionError::Unavailable)
            | FailureKind::Access(_) => {
                ErrorAnswer::not_ready("the request cannot be authorised at present; nothing was sent to the provider")
            }
            FailureKind::Authentication(_) | FailureKind::Session(_) => ErrorAnswer::unauthenticated(message),
            FailureKind::RateLimited(limited) => ErrorAnswer {
                code: Some("rate_limit_exceeded"),
                ..ErrorAnswer::rate_limited(format!("{message}: {}", limited.advice()))
            },
            FailureKind::Body(error) => match error {
                BodyError::TooLarge { limit } => ErrorAnswer::body_too_large(*limit),
                BodyError::TooSlow { .. } => ErrorAnswer { status: 408, ..ErrorAnswer::invalid_request(message) },
                BodyError::Encoded(_) => ErrorAnswer { status: 415, ..ErrorAnswer::invalid_request(message) },
                BodyError::Broken(_) => ErrorAnswer::invalid_request(message),
            },
            FailureKind::Request(error) => ErrorAnswer::from(error),
            FailureKind::Refused(Refusal::LedgerUnavailable) => ErrorAnswer::ledger_unavailable(),
            FailureKind::Refused(Refusal::Denied(denial)) => denied(denial, deny_status),
            FailureKind::Upstream(error) => match error {
                SendError::Unreachable => ErrorAnswer::upstream_unreachable(),
                SendError::TimedOut(_) => ErrorAnswer::upstream_timeout(message),
                SendError::Broken(_) => ErrorAnswer::upstream_interrupted(message),
                SendError::Refused(status, _) => ErrorAnswer::upstream_without_body(status.as_u16()),
            },
        }
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        match &self.kind {
            FailureKind::Refused(Refusal::Denied(Denial { retry_after: Some(wait), .. })) => {
                Some(HeaderValue::from(wait.as_secs_f64().ceil().max(1.0) as u64))
            }
            FailureKind::Upstream(SendError::Refused(_, retry)) => retry.clone(),
            FailureKind::Refused(Refusal::LedgerUnavailable) => Some(HeaderValue::from_static("1")),
            _ => None,
        }
    }
}

fn denied(denial: &Denial, deny_status: PolicyDenyStatus) -> ErrorAnswer {
    let error = match denial.kind {
        // Clients get one code for all refusals by a policy; which rule it was is in the message and in the ledger.
        DenialKind::Content => {
            return ErrorAnswer { status: deny_status.get(), ..ErrorAnswer::denied(&denial.to_string()) };
        }
        DenialKind::NotExposed => return ErrorAnswer::denied(&denial.reason),
        DenialKind::NotEntitled => ErrorAnswer::not_entitled(format!("authz denied {denial}")),
        DenialKind::RateLimited => ErrorAnswer::rate_limited(denial.reason.clone()),
        DenialKind::NotFound => ErrorAnswer { message: denial.reason.clone(), ..ErrorAnswer::model_not_found("") },
        DenialKind::Unavailable => ErrorAnswer::not_ready(denial.reason.clone()),
    };
    ErrorAnswer { code: Some(denial.code), ..error }
}

macro_rules! fails_with {
    ($($cause:ty),+) => {$(
        impl From<$cause> for Failure {
            fn from(cause: $cause) -> Self {
                Self { kind: cause.into(), request: None }
            }
        }
    )+};
}

// One `?` from what went wrong to the answer; `impl<K: Into<FailureKind>> From<K>` would overlap with `From<Failure>`.
fails_with!(FailureKind, BadHeader, AuthError, SessionError, BodyError, RequestError, access::Unavailable);

impl From<IdentifyError> for Failure {
    fn from(cause: IdentifyError) -> Self {
        match cause {
            IdentifyError::Auth(error) => error.into(),
            IdentifyError::RateLimited(limited) => FailureKind::RateLimited(limited).into(),
        }
    }
}

/// A request that has nowhere to go is refused like any other, so that the ledger knows of it.
impl From<NoRoute> for Denial {
    fn from(no_route: NoRoute) -> Self {
        let (policy, kind, code) = match no_route {
            NoRoute::Unknown { .. } => ("route", DenialKind::NotFound, "model_not_found"),
            NoRoute::NotExposed { .. } => ("model_exposure", DenialKind::NotExposed, "model_not_exposed"),
            NoRoute::OtherDialect { .. } => ("dialect", DenialKind::NotExposed, "dialect_not_supported"),
        };
        Self { policy: policy.to_owned(), kind, reason: no_route.to_string(), retry_after: None, code }
    }
}
