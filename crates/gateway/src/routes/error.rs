//! Everything that can go wrong with a request to an endpoint, and what the caller is told. This is the one place where
//! an error becomes a status and a body, in the caller's dialect.

use std::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use systemprompt_extension::api::{RETRY_SOON, SHOULD_RETRY, challenge_for, mark_final};
use systemprompt_extension::policy::DenialKind;
use systemprompt_extension::{AuthError, Rejection, retry_after_seconds};
use systemprompt_governance::access;
use systemprompt_governance::{Denial, Refusal};
use systemprompt_identity::SessionError;
use systemprompt_llm::{ErrorAnswer, Format, RequestError};
use systemprompt_model::ActionId;

use super::body::BodyError;
use crate::config::PolicyDenyStatus;
use crate::failure::{Failure, FailureKind, withheld};
use crate::packing::Packing;
use crate::upstream::SendError;

/// The longest time official SDKs wait before they ask again.
const LONGEST_RETRY: Duration = Duration::from_mins(1);

/// Why a request to one of the endpoints got no answer from behind it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("Gateway not enabled")]
    Disabled,
    #[error("missing required x-session-id header")]
    SessionRequired,
    #[error(
        "the x-session-id header names no session of this installation (sess_<uuid>), which it requires; \
         mint one at POST /api/public/gateway/sessions"
    )]
    ForeignSession,
    #[error("x-inference-protocol is one of anthropic, openai, gemini")]
    UnknownSurface,
    #[error("{0}")]
    Query(String),
    #[error("this path answers {allowed} only")]
    Method { allowed: &'static str },
    #[error("there is no model `{}` for this caller; the list of models has those there are", id.chars().take(200).collect::<String>())]
    NoModel { id: String },
    #[error("a model has no method `{}`; it has {methods}", method.chars().take(200).collect::<String>())]
    NoMethod { method: String, methods: &'static str },
    #[error("there is no endpoint at {path}")]
    NoEndpoint { path: String },
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Body(#[from] BodyError),
    #[error(transparent)]
    Request(#[from] RequestError),
    #[error(transparent)]
    Access(#[from] access::Unavailable),
    #[error(transparent)]
    Model(#[from] Failure),
}

impl RouteError {
    /// The ledger record of the request, if it has one.
    pub(crate) fn request(&self) -> Option<ActionId> {
        match self {
            Self::Model(failure) => failure.request,
            _ => None,
        }
    }

    /// The answer in the caller's dialect.
    pub(crate) fn to_response(&self, dialect: Format, deny_status: PolicyDenyStatus) -> Response {
        let error = self.dialect_error(deny_status);
        if error.status >= 500 {
            tracing::warn!(request_id = self.request().map(|id| id.to_string()), status = error.status, error = %self, "a model request failed");
        }
        let id = self.request().map(|id| id.to_string());
        let mut response = Response::new(Body::from(error.body(dialect, id.as_deref())));
        *response.status_mut() = StatusCode::from_u16(error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(retry) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, retry);
        } else if error.status == 503 {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SOON);
        }
        mark_final(&mut response);
        if let Self::Model(Failure {
            kind: FailureKind::Withheld(_) | FailureKind::Upstream(SendError::CredentialRefused { .. }),
            ..
        }) = self
        {
            // An answer that was withheld was made and is paid for, and a key of ours mends itself not; SDKs would try again.
            response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        let is_long = |denial: &Denial| denial.retry_after.is_some_and(|wait| wait > LONGEST_RETRY);
        if self.denial().is_some_and(|denial| !denial.allowances.is_empty() && is_long(denial)) {
            // SDKs do not wait as long, and would be refused twice more within seconds.
            response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        if let Self::Body(BodyError::Encoded(_)) = self {
            response.headers_mut().insert(ACCEPT_ENCODING, Packing::NAMES);
        }
        if let Self::Rejected(rejection) = self
            && let Some(challenge) = challenge_for(rejection)
        {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
        }
        if let Self::Rejected(Rejection::RateLimited(limited)) = self {
            limited.write_headers(response.headers_mut());
        }
        response
    }

    fn dialect_error(&self, deny_status: PolicyDenyStatus) -> ErrorAnswer {
        let message = self.to_string();
        match self {
            Self::Disabled => ErrorAnswer::gateway_disabled(),
            Self::SessionRequired
            | Self::ForeignSession
            | Self::UnknownSurface
            | Self::Query(_)
            | Self::Session(SessionError::Required) => ErrorAnswer::invalid_request(message),
            Self::Method { allowed } => ErrorAnswer::method_not_allowed(allowed),
            Self::NoModel { .. } => ErrorAnswer { message, ..ErrorAnswer::model_not_found("") },
            Self::NoEndpoint { .. } | Self::NoMethod { .. } => {
                ErrorAnswer { code: None, message, ..ErrorAnswer::gateway_disabled() }
            }
            Self::Rejected(Rejection::Auth(AuthError::Unavailable))
            | Self::Session(SessionError::Unavailable)
            | Self::Access(_) => {
                ErrorAnswer::not_ready("the request cannot be authorised at present; nothing was sent to the provider")
            }
            Self::Rejected(Rejection::Auth(_) | Rejection::Anonymous) | Self::Session(_) => {
                ErrorAnswer::unauthenticated(message)
            }
            Self::Rejected(Rejection::NotAllowed(_)) => ErrorAnswer::not_entitled(message),
            Self::Rejected(Rejection::RateLimited(limited)) => ErrorAnswer {
                code: Some("rate_limit_exceeded"),
                ..ErrorAnswer::rate_limited(format!("{message}: {}", limited.advice()))
            },
            Self::Body(error) => match error {
                BodyError::TooLarge { limit } => ErrorAnswer::body_too_large(*limit),
                BodyError::TooSlow { .. } => ErrorAnswer { status: 408, ..ErrorAnswer::invalid_request(message) },
                BodyError::Encoded(_) => ErrorAnswer { status: 415, ..ErrorAnswer::invalid_request(message) },
                BodyError::Packed(_) | BodyError::Broken(_) => ErrorAnswer::invalid_request(message),
            },
            Self::Request(error) => ErrorAnswer::from(error),
            Self::Model(failure) => match &failure.kind {
                FailureKind::Refused(Refusal::LedgerUnavailable) => ErrorAnswer::ledger_unavailable(),
                FailureKind::Refused(Refusal::Denied(denial)) => denied(denial, deny_status, failure.request),
                FailureKind::NotPermitted(_) => ErrorAnswer::internal(),
                FailureKind::Withheld(denial) => match withheld(denial) {
                    unavailable @ ErrorAnswer { status: 503, .. } => unavailable,
                    blocked => ErrorAnswer { status: deny_status.get(), ..blocked },
                },
                FailureKind::Upstream(_) | FailureKind::Shut(_) => failure.kind.told(),
            },
        }
    }

    /// What the Gate said, if it refused.
    pub(super) fn denial(&self) -> Option<&Denial> {
        match self {
            Self::Model(Failure { kind: FailureKind::Refused(Refusal::Denied(denial)), .. }) => Some(denial),
            _ => None,
        }
    }

    fn retry_after(&self) -> Option<HeaderValue> {
        if let Some(Denial { retry_after: Some(wait), allowances, .. }) = self.denial() {
            // A window that ends next month is not worth asking about each minute.
            let seconds = if allowances.is_empty() { retry_after_seconds(*wait) } else { wait.as_secs().max(1) };
            return Some(HeaderValue::from(seconds));
        }
        let Self::Model(failure) = self else { return None };
        match &failure.kind {
            FailureKind::Upstream(SendError::Refused(_, retry)) => retry.clone(),
            FailureKind::Shut(shut) => Some(HeaderValue::from(retry_after_seconds(shut.retry_after))),
            _ => None,
        }
    }
}

fn denied(denial: &Denial, deny_status: PolicyDenyStatus, request: Option<ActionId>) -> ErrorAnswer {
    let error = match denial.kind {
        // Clients get one code for all refusals by a policy; which rule it was is in the message and in the ledger.
        DenialKind::Content => {
            return ErrorAnswer { status: deny_status.get(), ..ErrorAnswer::denied(&denial.told(request)) };
        }
        DenialKind::NotExposed => ErrorAnswer::invalid_request(match &denial.advice {
            Some(advice) => format!("{}. {advice}", denial.reason),
            None => denial.reason.clone(),
        }),
        DenialKind::NotEntitled => ErrorAnswer::not_entitled(format!("authz denied {}", denial.told(request))),
        DenialKind::RateLimited => ErrorAnswer::rate_limited(denial.told(request)),
        DenialKind::NotFound => ErrorAnswer { message: denial.reason.clone(), ..ErrorAnswer::model_not_found("") },
        DenialKind::Unavailable => ErrorAnswer::not_ready(denial.reason.clone()),
    };
    ErrorAnswer { code: Some(denial.code), ..error }
}
