//! Who sends a request. The feature that knows credentials provides [`Authentication`] as a service, and whoever guards
//! routes asks it.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::HeaderMap;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_model::Principal;

use crate::{Meter, Metrics, RateLimited};

/// Turns the credential of a request into who is asking.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// Who sends a request with these headers, if one more may be sent: the meter is asked before the credential is looked
    /// at and once more when it is known whose it is.
    async fn identify(&self, headers: &HeaderMap, meter: Option<&Meter>) -> Result<Arc<Principal>, IdentifyError>;
}

/// The [`Authenticate`] of a server, as a service.
#[derive(Clone)]
pub struct Authentication {
    authenticate: Arc<dyn Authenticate>,
    refused: Family<RefusedLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

impl Authentication {
    /// What the feature that knows credentials publishes. What it refuses is counted in `metrics`.
    pub fn new(authenticate: Arc<dyn Authenticate>, metrics: &Metrics) -> Self {
        let refused = Family::default();
        metrics.register("credentials_refused", "Requests without an accepted credential, by reason", refused.clone());
        for error in [AuthError::Missing, AuthError::Invalid, AuthError::Unavailable] {
            drop(refused.get_or_create(&RefusedLabels { reason: error.reason() }));
        }
        Self { authenticate, refused }
    }

    /// See [`Authenticate::identify`].
    pub async fn identify(&self, headers: &HeaderMap, meter: Option<&Meter>) -> Result<Arc<Principal>, IdentifyError> {
        let identified = self.authenticate.identify(headers, meter).await;
        if let Err(IdentifyError::Auth(error)) = &identified {
            self.refused.get_or_create(&RefusedLabels { reason: error.reason() }).inc();
        }
        identified
    }
}

impl fmt::Debug for Authentication {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication").finish_non_exhaustive()
    }
}

/// Why a request has no principal. What exactly was wrong is in the log, for operators, and not told to callers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum AuthError {
    /// It carries no credential.
    #[error("no credential was given; send an API key in `x-api-key`, or a key or token in `Authorization: Bearer …`")]
    Missing,
    /// Its credential is not accepted: malformed, unknown, wrong, expired, revoked, or of a user who may not act.
    #[error("the credential is not valid, has expired or was revoked")]
    Invalid,
    /// The database could not be asked.
    #[error("credentials cannot be checked at the moment")]
    Unavailable,
}

impl AuthError {
    /// The reason in metrics.
    const fn reason(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Invalid => "invalid",
            Self::Unavailable => "unavailable",
        }
    }
}

/// Why a request goes no further.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IdentifyError {
    /// It has no principal.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// It is one too many of its address or caller.
    #[error(transparent)]
    RateLimited(#[from] RateLimited),
}
