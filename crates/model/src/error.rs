//! The codes errors carry.

use std::fmt;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::TraceId;

/// The stable, machine-readable kind of an error of the JSON APIs. The HTTP status follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// 404.
    NotFound,
    /// 400.
    BadRequest,
    /// 401.
    Unauthorized,
    /// 403.
    Forbidden,
    /// 500.
    InternalError,
    /// 400, with `validation_errors`.
    ValidationError,
    /// 409.
    ConflictError,
    /// 405.
    MethodNotAllowed,
    /// 413.
    PayloadTooLarge,
    /// 429.
    RateLimited,
    /// 503.
    ServiceUnavailable,
}

impl ErrorCode {
    /// The HTTP status of this kind of error.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest | Self::ValidationError => 400,
            Self::Unauthorized => 401,
            Self::Forbidden => 403,
            Self::NotFound => 404,
            Self::MethodNotAllowed => 405,
            Self::ConflictError => 409,
            Self::PayloadTooLarge => 413,
            Self::RateLimited => 429,
            Self::InternalError => 500,
            Self::ServiceUnavailable => 503,
        }
    }
}

/// One field that was not acceptable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// Path of the field.
    pub field: String,
    /// What is wrong with it and how to mend it.
    pub message: String,
}

/// The error body of every JSON API of ours that does not speak a vendor's dialect.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ApiError {
    /// The kind of error.
    pub code: ErrorCode,
    /// A sentence for people.
    pub message: String,
    /// More about the cause, if it may be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<String>,
    /// The request path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The fields at fault.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub validation_errors: Vec<FieldError>,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// The trace it belongs to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<TraceId>,
}

impl ApiError {
    /// An error of this kind with a sentence for people.
    pub fn new(code: ErrorCode, message: impl Into<String>, timestamp: DateTime<Utc>) -> Self {
        Self {
            code,
            message: message.into(),
            details: None,
            path: None,
            validation_errors: Vec::new(),
            timestamp,
            trace_id: None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for ApiError {}
