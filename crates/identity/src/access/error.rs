//! How the routes about access say that a request is not answered as it wished.

use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use http::StatusCode;
use systemprompt_extension::api::ExtensionError;
use systemprompt_extension::policy::DenialKind;
use systemprompt_governance::access::{RuleError, Unavailable, UnknownName};
use systemprompt_governance::{ChangeError, Refusal};

use crate::error::StoreError;
use crate::user::store::UserError;

/// Why a request was not answered as it wished.
#[derive(Debug, thiserror::Error)]
pub(super) enum AccessError {
    #[error("{0}")]
    Invalid(String),
    #[error("{0}")]
    UnknownName(String),
    #[error("{0}")]
    NotFound(String),
    #[error("{0}")]
    Conflict(String),
    /// By the Gate, which has recorded it.
    #[error("{0}")]
    Refused(Refusal),
    #[error("access rules cannot be read or written at present")]
    Rules(#[from] Unavailable),
    #[error("accounts cannot be read or written at present")]
    Accounts(#[from] StoreError),
}

impl ExtensionError for AccessError {
    fn code(&self) -> &'static str {
        match self {
            Self::Invalid(_) => "ACCESS_REQUEST_INVALID",
            Self::UnknownName(_) => "ACCESS_NAME_UNKNOWN",
            Self::NotFound(_) => "ACCESS_NOT_FOUND",
            Self::Conflict(_) => "ACCESS_CONFLICT",
            Self::Refused(_) => "ACCESS_CHANGE_REFUSED",
            Self::Rules(_) | Self::Accounts(_) => "ACCESS_UNAVAILABLE",
        }
    }

    fn status(&self) -> StatusCode {
        match self {
            Self::Invalid(_) => StatusCode::BAD_REQUEST,
            Self::UnknownName(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::Refused(Refusal::Denied(denial)) if denial.kind == DenialKind::Unavailable => {
                StatusCode::SERVICE_UNAVAILABLE
            }
            Self::Refused(Refusal::Denied(denial)) if denial.kind == DenialKind::RateLimited => {
                StatusCode::TOO_MANY_REQUESTS
            }
            Self::Refused(Refusal::Denied(_)) => StatusCode::FORBIDDEN,
            Self::Refused(Refusal::LedgerUnavailable) | Self::Rules(_) | Self::Accounts(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    fn is_retryable(&self) -> bool {
        self.status() == StatusCode::SERVICE_UNAVAILABLE
    }
}

impl From<UnknownName> for AccessError {
    fn from(error: UnknownName) -> Self {
        match error {
            UnknownName::Entity(message) => Self::NotFound(message),
            UnknownName::Subject(message) => Self::UnknownName(message),
        }
    }
}

impl From<RuleError> for AccessError {
    fn from(error: RuleError) -> Self {
        match error {
            RuleError::Unavailable(error) => Self::Rules(error),
            RuleError::NameTaken(_) | RuleError::DefaultStays => Self::Conflict(error.to_string()),
            RuleError::UnknownEntity { .. } => Self::NotFound(error.to_string()),
            RuleError::UnknownType { .. } => Self::UnknownName(error.to_string()),
        }
    }
}

impl From<UserError> for AccessError {
    fn from(error: UserError) -> Self {
        match error {
            UserError::Store(error) => Self::Accounts(error),
            UserError::NotFound(_) => Self::NotFound(error.to_string()),
            UserError::Invalid(_)
            | UserError::NameTaken(_)
            | UserError::EmailTaken(_)
            | UserError::LastAdministrator(_) => Self::Conflict(error.to_string()),
        }
    }
}

impl From<ChangeError<Self>> for AccessError {
    fn from(error: ChangeError<Self>) -> Self {
        match error {
            ChangeError::Refused(refusal) => Self::Refused(refusal),
            ChangeError::Failed(error) => error,
        }
    }
}

impl From<JsonRejection> for AccessError {
    fn from(rejection: JsonRejection) -> Self {
        Self::Invalid(rejection.body_text())
    }
}

impl From<QueryRejection> for AccessError {
    fn from(rejection: QueryRejection) -> Self {
        Self::Invalid(rejection.body_text())
    }
}

impl From<PathRejection> for AccessError {
    fn from(rejection: PathRejection) -> Self {
        Self::Invalid(rejection.body_text())
    }
}
