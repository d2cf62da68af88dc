//! How an extension's handlers answer when something goes wrong.
//!
//! An author's error enum implements [`ExtensionError`]; a handler returns [`ApiResult`] and uses `?`.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{FromRequestParts, OptionalFromRequestParts};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use http::header::{CONTENT_LENGTH, RETRY_AFTER, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use serde::Serialize;
use systemprompt_model::{Ambient, Attribution, ErrorCode, Principal, TraceId, with_causes};

pub use crate::rate_limit::SHOULD_RETRY;
use crate::{AuthError, RateLimited, Rejection};

/// An extension's own error type.
///
/// ```
/// # use http::StatusCode;
/// # use systemprompt_extension::prelude::*;
/// #[derive(Debug)]
/// enum NoteError {
///     NotFound,
/// }
/// # impl std::fmt::Display for NoteError {
/// #     fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str("there is no such note") }
/// # }
/// # impl std::error::Error for NoteError {}
/// impl ExtensionError for NoteError {
///     fn code(&self) -> &'static str {
///         "NOTE_NOT_FOUND"
///     }
///     fn status(&self) -> StatusCode {
///         StatusCode::NOT_FOUND
///     }
/// }
/// async fn read() -> ApiResult<String, NoteError> {
///     Err(NoteError::NotFound)?
/// }
/// # let _ = read;
/// ```
pub trait ExtensionError: std::error::Error + Send + Sync + 'static {
    /// A stable name for programs, in capitals.
    fn code(&self) -> &'static str;

    /// The HTTP status; 500 unless said otherwise.
    fn status(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }

    /// Whether the same request may succeed a moment later.
    fn is_retryable(&self) -> bool {
        false
    }

    /// The sentence the client sees: the error's own text, except that of a server error, which may hold what clients
    /// should not read.
    fn user_message(&self) -> String {
        if self.status().is_server_error() {
            "Something went wrong on our side. The request id helps to find out what.".to_owned()
        } else {
            self.to_string()
        }
    }

    /// What the client gets.
    fn to_api_error(&self) -> ApiError {
        ApiError {
            code: self.code(),
            message: self.user_message(),
            status: self.status(),
            retryable: self.is_retryable(),
            request_id: None,
        }
    }
}

/// An answer that reports an error: `{"error":{"code","message","request_id"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ApiError {
    /// A stable name for programs.
    pub code: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The HTTP status.
    #[serde(skip)]
    pub status: StatusCode,
    /// Whether to tell the client to try again in a second.
    #[serde(skip)]
    pub retryable: bool,
    /// The request it answers, as the log and the header `x-trace-id` name it; filled in by the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_id: Option<TraceId>,
}

/// What a handler returns.
pub type ApiResult<T, E> = Result<T, Failure<E>>;

/// An [`ExtensionError`] on its way to the client.
#[derive(Debug)]
pub struct Failure<E>(pub E);

impl<E> From<E> for Failure<E> {
    fn from(error: E) -> Self {
        Self(error)
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<E: ExtensionError> IntoResponse for Failure<E> {
    /// This is where an error of an extension stops, so it is logged here: server errors with their causes.
    fn into_response(self) -> Response {
        let answer = self.0.to_api_error();
        if answer.status.is_server_error() {
            tracing::error!(code = answer.code, error = with_causes(&self.0), "a request failed");
        } else {
            tracing::debug!(code = answer.code, error = with_causes(&self.0), "a request was refused");
        }
        answer.into_response()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(ErrorBody { error: &self })).into_response();
        // What is not there now may be in a moment, whoever says so; of limits only who set them knows.
        let says_later = self.status == StatusCode::SERVICE_UNAVAILABLE
            || self.status == StatusCode::TOO_MANY_REQUESTS && self.retryable;
        if says_later {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        mark_final(&mut response);
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge(None));
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// An error answer of the JSON endpoints of the product itself, with the body of [`systemprompt_model::ApiError`]. The server
/// adds when, where and under which trace it was given.
#[derive(Debug, Clone)]
pub struct ErrorAnswer {
    error: systemprompt_model::ApiError,
    limited: Option<RateLimited>,
    /// What the credential lacks (RFC 6750 §3.1).
    lack: Option<&'static str>,
}

impl ErrorAnswer {
    /// An error of this kind with a sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            error: systemprompt_model::ApiError::new(code, message, DateTime::UNIX_EPOCH),
            limited: None,
            lack: None,
        }
    }

    /// The answer to a request that is one too many.
    pub fn too_many(limited: RateLimited) -> Self {
        let mut answer = Self::new(ErrorCode::RateLimited, limited.to_string());
        answer.error.details = Some(limited.advice());
        Self { limited: Some(limited), ..answer }
    }
}

impl From<Rejection> for ErrorAnswer {
    fn from(rejection: Rejection) -> Self {
        let (message, lack) = (rejection.to_string(), lack(&rejection));
        let code = match rejection {
            Rejection::Auth(AuthError::Missing | AuthError::Invalid) | Rejection::Anonymous => ErrorCode::Unauthorized,
            Rejection::Auth(AuthError::Unavailable) => ErrorCode::ServiceUnavailable,
            Rejection::NotAllowed(_) => ErrorCode::Forbidden,
            Rejection::RateLimited(limited) => return Self::too_many(limited),
        };
        Self { lack, ..Self::new(code, message) }
    }
}

impl IntoResponse for ErrorAnswer {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.error.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(&self.error)).into_response();
        if status == StatusCode::UNAUTHORIZED || self.lack.is_some() {
            response.headers_mut().insert(WWW_AUTHENTICATE, challenge(self.lack));
        }
        if let Some(limited) = &self.limited {
            limited.write_headers(response.headers_mut());
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, RETRY_SOON);
        }
        mark_final(&mut response);
        response.extensions_mut().insert(self);
        response
    }
}

/// What an answer of status 503 has in `Retry-After`: a database that starts again is there in a few seconds.
pub const RETRY_SOON: HeaderValue = HeaderValue::from_static("5");

/// Tells clients not to send a request again that will be refused again. The official SDKs of model vendors go by this
/// header before they go by the status; without it they repeat a refusal up to ten times, silently.
pub fn mark_final(response: &mut Response) {
    let status = response.status();
    let may_change = matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS);
    if status.is_client_error() && !may_change {
        response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
}

/// What a refusal of status 401 or 403 has in `WWW-Authenticate` (RFC 6750 §3), for those who say it in a form of their own.
pub fn challenge_for(rejection: &Rejection) -> Option<HeaderValue> {
    match rejection {
        Rejection::Auth(AuthError::Unavailable) | Rejection::RateLimited(_) => None,
        _ => Some(challenge(lack(rejection))),
    }
}

/// What the credential lacks, if there is one (RFC 6750 §3.1).
fn lack(rejection: &Rejection) -> Option<&'static str> {
    match rejection {
        Rejection::Auth(AuthError::Invalid) => Some("invalid_token"),
        Rejection::NotAllowed(_) => Some("insufficient_scope"),
        _ => None,
    }
}

/// How to get in.
fn challenge(lack: Option<&str>) -> HeaderValue {
    let lack = lack.map(|lack| format!(r#", error="{lack}""#)).unwrap_or_default();
    HeaderValue::from_str(&format!(r#"Bearer realm="systemprompt"{lack}"#)).expect("the codes are ASCII")
}

/// Names the request in an error answer, of whichever of the two forms. The server does this for every answer; headers and
/// status stay.
pub fn name_request(response: &mut Response, path: &str, trace: TraceId, now: DateTime<Utc>) {
    let body = if let Some(ErrorAnswer { mut error, .. }) = response.extensions_mut().remove() {
        error.path = Some(path.to_owned());
        error.trace_id = Some(trace);
        error.timestamp = now;
        serde_json::to_vec(&error)
    } else if let Some(error) = response.extensions_mut().remove::<ApiError>() {
        serde_json::to_vec(&ErrorBody { error: &ApiError { request_id: Some(trace), ..error } })
    } else {
        return;
    };
    if let Ok(body) = body {
        response.headers_mut().remove(CONTENT_LENGTH);
        *response.body_mut() = Body::from(body);
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: &'a ApiError,
}

/// The caller, in a handler's arguments. `Option<AuthUser>` where nobody is an answer too.
///
/// The server puts the caller, as `Arc<Principal>`, into the extensions of every request that came with a valid
/// credential, before the router sees it.
#[derive(Debug, Clone)]
pub struct AuthUser(pub Arc<Principal>);

impl<S: Sync> FromRequestParts<S> for AuthUser {
    type Rejection = ErrorAnswer;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ErrorAnswer> {
        let caller = parts.extensions.get::<Arc<Principal>>().cloned();
        caller.map(Self).ok_or_else(|| Rejection::Auth(AuthError::Missing).into())
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for AuthUser {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Infallible> {
        Ok(parts.extensions.get::<Arc<Principal>>().cloned().map(Self))
    }
}

/// The caller as the one in whose name something is done, in a handler's arguments: a model is asked, a tool is called.
/// What is done is attributed to the caller, and part of the request's trace.
#[derive(Debug, Clone)]
pub struct OnBehalfOf(pub Attribution);

impl<S: Sync> FromRequestParts<S> for OnBehalfOf {
    type Rejection = ErrorAnswer;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ErrorAnswer> {
        let AuthUser(principal) = <AuthUser as FromRequestParts<S>>::from_request_parts(parts, state).await?;
        // The server begins a trace for every request, before any router sees it.
        let trace = parts.extensions.get::<TraceId>().copied();
        Ok(Self(Attribution::user(principal, trace.unwrap_or_else(|| TraceId::generate(&Ambient::system())))))
    }
}
