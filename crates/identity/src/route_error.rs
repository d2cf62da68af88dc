//! How the routes of this crate say that a request is not answered as it wished.

use axum::response::{IntoResponse, Response};
use systemprompt_extension::api::ErrorAnswer;
use systemprompt_extension::policy::DenialKind;
use systemprompt_governance::Refusal;
use systemprompt_model::ErrorCode;

use crate::api_key::store::ApiKeyError;
use crate::error::StoreError;

/// Why a request was not answered as it wished.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RouteError {
    #[error("{0}")]
    Body(String),
    #[error("only administrators may handle the keys of others")]
    NotYours,
    /// By the Gate, which has recorded it.
    #[error("{0}")]
    Refused(Refusal),
    #[error("there is no such key")]
    NoSuchKey,
    #[error("a token has its session already; sessions are opened with an API key")]
    TokenHasSession,
    #[error("{0}")]
    Key(ApiKeyError),
    #[error("the database cannot be asked at the moment")]
    Unavailable(#[source] StoreError),
}

impl From<ApiKeyError> for RouteError {
    fn from(error: ApiKeyError) -> Self {
        match error {
            ApiKeyError::NotFound(_) => Self::NoSuchKey,
            ApiKeyError::Store(error) => Self::Unavailable(error),
            ApiKeyError::InvalidName | ApiKeyError::AlreadyExpired(_) | ApiKeyError::NoSuchUser(_) => Self::Key(error),
        }
    }
}

impl From<StoreError> for RouteError {
    fn from(error: StoreError) -> Self {
        Self::Unavailable(error)
    }
}

/// The answer.
#[derive(Debug)]
pub(crate) struct Failure(ErrorAnswer);

impl Failure {
    pub(crate) fn new(error: RouteError) -> Self {
        let message = error.to_string();
        let code = match error {
            RouteError::Body(_) => ErrorCode::BadRequest,
            RouteError::NotYours | RouteError::TokenHasSession => ErrorCode::Forbidden,
            RouteError::Refused(Refusal::LedgerUnavailable) => ErrorCode::ServiceUnavailable,
            RouteError::Refused(Refusal::Denied(denial)) => match denial.kind {
                DenialKind::NotEntitled => ErrorCode::Forbidden,
                DenialKind::Content | DenialKind::NotExposed => ErrorCode::BadRequest,
                DenialKind::RateLimited => ErrorCode::RateLimited,
                DenialKind::NotFound => ErrorCode::NotFound,
                DenialKind::Unavailable => ErrorCode::ServiceUnavailable,
            },
            RouteError::NoSuchKey => ErrorCode::NotFound,
            RouteError::Key(_) => ErrorCode::ValidationError,
            RouteError::Unavailable(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "a request for keys or sessions failed");
                ErrorCode::ServiceUnavailable
            }
        };
        Self(ErrorAnswer::new(code, message))
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        self.0.into_response()
    }
}
