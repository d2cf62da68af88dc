//! Why a model gave no answer, in the words of whoever asked from inside the server.

use std::time::Duration;

use chrono::{DateTime, Utc};
use http::HeaderMap;
use systemprompt_extension::policy::DenialKind;
use systemprompt_governance::{Denial, Refusal};
use systemprompt_llm::{ErrorAnswer, RequestError, TranslationError};
use systemprompt_model::ActionId;

use super::response::AiResponse;
use crate::failure::{Failure, FailureKind};
use crate::resilience::backoff;
use crate::upstream::SendError;

/// Why there is no answer, or not the one that was wanted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AiError {
    /// A rule or a policy said no. Nothing was sent; the refusal is recorded.
    #[error("{reason}")]
    Denied {
        /// The record.
        request: Option<ActionId>,
        /// The policy that said it.
        policy: String,
        /// The stable reason for programs.
        code: &'static str,
        /// A sentence.
        reason: String,
    },
    /// A quota or a budget is used up. Nothing was sent; the refusal is recorded.
    #[error("{reason}")]
    Quota {
        /// The record.
        request: Option<ActionId>,
        /// The limit that said it.
        policy: String,
        /// A sentence.
        reason: String,
        /// When trying again may help.
        retry_after: Option<Duration>,
    },
    /// A policy withheld the answer. It was paid for.
    #[error("the answer was withheld: {reason}")]
    Withheld {
        /// The record.
        request: Option<ActionId>,
        /// A sentence.
        reason: String,
    },
    /// No such model is offered, or none was named and none is configured.
    #[error("{0}")]
    NoModel(String),
    /// The configuration does not allow the provider, or the model's route leads elsewhere.
    #[error("{0}")]
    NoProvider(String),
    /// The model cannot do what was asked, or its provider has no words for it. Nothing was sent.
    #[error("`{model}` of `{provider}` does not take {what}; {fix}")]
    Unsupported {
        /// The model.
        model: String,
        /// Its provider.
        provider: String,
        /// What was asked.
        what: String,
        /// What to do about it.
        fix: &'static str,
    },
    /// What was asked is not something a model can be asked.
    #[error("the request is not valid: {0}")]
    Invalid(String),
    /// Nothing can be sent at present: the ledger cannot be written, or no provider of the route takes requests.
    #[error("{reason}")]
    Unavailable {
        /// The record, if there is one.
        request: Option<ActionId>,
        /// A sentence.
        reason: String,
        /// When trying again may help.
        retry_after: Option<Duration>,
    },
    /// The provider failed or refused. It is recorded, with what it cost.
    #[error("{message}")]
    ProviderFailed {
        /// The record.
        request: Option<ActionId>,
        /// The status it answered with, or the one its failure means.
        status: u16,
        /// What it says, or what happened.
        message: String,
        /// When it says that trying again may help.
        retry_after: Option<Duration>,
    },
    /// The provider did not answer in time. It is recorded, with what it must have cost.
    #[error("{message}")]
    TimedOut {
        /// The record.
        request: Option<ActionId>,
        /// A sentence.
        message: String,
    },
    /// Two answers in a row did not match the schema; both are recorded.
    #[error("the answer does not match the schema, nor does the one after it was told: {}", mistakes.join("; "))]
    SchemaMismatch {
        /// The records of both.
        requests: [ActionId; 2],
        /// What is wrong with the second.
        mistakes: Vec<String>,
        /// The second.
        response: Box<AiResponse>,
    },
    /// The model called tools again and again and came to no end.
    #[error("the model still calls tools after {rounds} rounds; allow more, or offer tools that answer in fewer")]
    ToolLimit {
        /// How often it was asked.
        rounds: u32,
        /// What it said last.
        response: Box<AiResponse>,
    },
}

impl AiError {
    /// The record of the request, if there is one.
    pub fn request(&self) -> Option<ActionId> {
        match self {
            Self::Denied { request, .. }
            | Self::Quota { request, .. }
            | Self::Withheld { request, .. }
            | Self::Unavailable { request, .. }
            | Self::ProviderFailed { request, .. }
            | Self::TimedOut { request, .. } => *request,
            Self::SchemaMismatch { requests: [_, last], .. } => Some(*last),
            Self::ToolLimit { response, .. } => Some(response.request_id),
            Self::NoModel(_) | Self::NoProvider(_) | Self::Unsupported { .. } | Self::Invalid(_) => None,
        }
    }

    /// Whether the same request may succeed later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Quota { .. } | Self::Unavailable { .. } | Self::TimedOut { .. } => true,
            Self::ProviderFailed { status, .. } => matches!(status, 408 | 425 | 429 | 500..),
            _ => false,
        }
    }

    /// Of a request that cannot be put into the words of its provider.
    pub(super) fn unspeakable(error: TranslationError, provider: &str, model: &str) -> Self {
        match error {
            TranslationError::Unsupported(unsupported) => Self::Unsupported {
                model: model.to_owned(),
                provider: provider.to_owned(),
                what: unsupported.feature.as_str().to_owned(),
                fix: "leave it out or choose another model",
            },
            TranslationError::Request(error) => Self::from(error),
            TranslationError::NotOffered { .. } => Self::Invalid(error.to_string()),
        }
    }

    /// Of an answer with this status, which is an error.
    pub(super) fn answered(request: ActionId, error: ErrorAnswer, headers: &HeaderMap, now: DateTime<Utc>) -> Self {
        Self::ProviderFailed {
            request: Some(request),
            status: error.status,
            message: error.message,
            retry_after: backoff::asked(headers, now),
        }
    }

    /// Of an answer that broke off, or reported an error in its stream.
    pub(super) fn interrupted(request: ActionId, status: u16, message: String) -> Self {
        match status {
            504 => Self::TimedOut { request: Some(request), message },
            _ => Self::ProviderFailed { request: Some(request), status, message, retry_after: None },
        }
    }

    fn denied(request: Option<ActionId>, denial: &Denial) -> Self {
        let reason = denial.told(request);
        let (policy, retry_after) = (denial.policy.clone(), denial.retry_after);
        match denial.kind {
            DenialKind::RateLimited => Self::Quota { request, policy, reason, retry_after },
            DenialKind::NotFound => Self::NoModel(denial.reason.clone()),
            DenialKind::Unavailable => Self::Unavailable { request, reason, retry_after },
            DenialKind::Content | DenialKind::NotExposed | DenialKind::NotEntitled => {
                Self::Denied { request, policy, code: denial.code, reason }
            }
        }
    }
}

impl From<RequestError> for AiError {
    fn from(error: RequestError) -> Self {
        Self::Invalid(error.to_string())
    }
}

impl From<Failure> for AiError {
    fn from(Failure { request, kind }: Failure) -> Self {
        match kind {
            FailureKind::Refused(Refusal::Denied(denial)) => Self::denied(request, &denial),
            FailureKind::Refused(error @ Refusal::LedgerUnavailable) => {
                Self::Unavailable { request, reason: error.to_string(), retry_after: None }
            }
            FailureKind::NotPermitted(error) => {
                Self::Unavailable { request, reason: error.to_string(), retry_after: None }
            }
            FailureKind::Withheld(denial) => Self::Withheld { request, reason: denial.to_string() },
            FailureKind::Shut(shut) => {
                Self::Unavailable { request, reason: shut.to_string(), retry_after: Some(shut.retry_after) }
            }
            FailureKind::Upstream(error @ SendError::TimedOut(_)) => {
                Self::TimedOut { request, message: error.to_string() }
            }
            FailureKind::Upstream(error @ (SendError::ShuttingDown | SendError::Shortage(_))) => {
                Self::Unavailable { request, reason: error.to_string(), retry_after: None }
            }
            FailureKind::Upstream(error) => {
                let told = error.told();
                Self::ProviderFailed { request, status: told.status, message: told.message, retry_after: None }
            }
        }
    }
}
