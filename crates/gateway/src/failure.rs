//! Why a model gave no answer.

use std::time::Duration;

use systemprompt_extension::policy::DenialKind;
use systemprompt_governance::{Denial, NotPermitted, Refusal};
use systemprompt_llm::{ErrorAnswer, RequestError, TranslationError};
use systemprompt_model::ActionId;

use crate::resilience::{Shut, ShutReason};
use crate::routing::NoRoute;
use crate::upstream::SendError;

/// A request that got no answer from a model.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{kind}")]
pub struct Failure {
    /// Its ledger record. Absent if it could not be recorded; then nothing was sent.
    pub request: Option<ActionId>,
    /// Why.
    pub kind: FailureKind,
}

/// Why.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FailureKind {
    /// The Gate refused. Nothing was sent.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The permit does not lead where it was to be sent. Nothing was sent.
    #[error(transparent)]
    NotPermitted(#[from] NotPermitted),
    /// It was sent and answered, and a policy objects to the answer.
    #[error("the answer was withheld: {0}")]
    Withheld(Denial),
    /// It was sent, and no usable answer came. The outcome is recorded.
    #[error(transparent)]
    Upstream(#[from] SendError),
    /// No provider of its route takes requests at present.
    #[error(transparent)]
    Shut(#[from] ProviderShut),
}

/// A provider to which nothing is sent at present.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the upstream provider `{provider}` {}", match reason {
    ShutReason::CircuitOpen => "failed repeatedly and is left alone for a while",
    ShutReason::Full => "has as many requests as it may have at a time",
})]
pub struct ProviderShut {
    /// The provider.
    pub provider: String,
    /// When trying again may help.
    pub retry_after: Duration,
    pub(crate) reason: ShutReason,
}

impl ProviderShut {
    pub(crate) fn new(provider: &str, shut: Shut) -> Self {
        Self { provider: provider.to_owned(), retry_after: shut.wait, reason: shut.reason }
    }
}

impl Failure {
    pub(crate) fn new(request: ActionId, kind: impl Into<FailureKind>) -> Self {
        let kind = kind.into();
        let recorded = !matches!(kind, FailureKind::Refused(Refusal::LedgerUnavailable));
        Self { request: recorded.then_some(request), kind }
    }
}

impl FailureKind {
    /// What is told of it where the status of an answer is given already, because it was taken for one.
    pub(crate) fn told(&self) -> ErrorAnswer {
        match self {
            Self::Refused(_) | Self::NotPermitted(_) => ErrorAnswer::internal(),
            Self::Withheld(denial) => withheld(denial),
            Self::Upstream(error) => error.told(),
            Self::Shut(shut) => ErrorAnswer::not_ready(shut.to_string()),
        }
    }
}

/// What the caller of an answer is told that policies withheld, or had no time to judge.
pub(crate) fn withheld(denial: &Denial) -> ErrorAnswer {
    match denial.kind {
        DenialKind::Unavailable => ErrorAnswer::not_ready(format!("the answer could not be inspected: {denial}")),
        _ => ErrorAnswer::answer_blocked(&denial.told(None)),
    }
}

/// A request that has nowhere to go is refused like any other, so that the ledger knows of it.
impl From<NoRoute> for Denial {
    fn from(no_route: NoRoute) -> Self {
        let (policy, kind, code) = match no_route {
            NoRoute::Unknown { .. } => ("route", DenialKind::NotFound, "model_not_found"),
            NoRoute::NotExposed { .. } => ("model_exposure", DenialKind::NotExposed, "model_not_exposed"),
            NoRoute::Residency { .. } => ("residency", DenialKind::NotExposed, "residency_not_met"),
        };
        Self {
            policy: policy.to_owned(),
            kind,
            reason: no_route.to_string(),
            advice: None,
            retry_after: None,
            allowances: Vec::new(),
            code,
        }
    }
}

/// So is one that cannot be said in the words of its provider, or of which nothing is left without its system prompt.
pub(crate) fn untranslatable(error: &TranslationError) -> Denial {
    let (policy, code) = match error {
        TranslationError::Request(RequestError::OnlyInstructions { .. }) => {
            ("system_prompt_override", "only_system_messages")
        }
        _ => ("translation", "not_supported_by_provider"),
    };
    Denial {
        policy: policy.to_owned(),
        kind: DenialKind::NotExposed,
        reason: error.to_string(),
        advice: None,
        retry_after: None,
        allowances: Vec::new(),
        code,
    }
}
