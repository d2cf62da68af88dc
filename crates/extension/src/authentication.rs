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

use crate::{ClientIp, Meter, Metrics, RateLimited};

/// Turns the credential of a request into who is asking.
#[async_trait]
pub trait Authenticate: Send + Sync + 'static {
    /// Who sends a request with these headers from this address, if one more may be sent: the meter is asked before the
    /// credential is looked at and once more when it is known whose it is. What is refused is counted in
    /// [`CredentialsRefused`].
    async fn identify(
        &self,
        headers: &HeaderMap,
        from: Option<ClientIp>,
        meter: Option<&Meter>,
    ) -> Result<Arc<Principal>, IdentifyError>;
}

/// The [`Authenticate`] of a server, as a service.
#[derive(Clone)]
pub struct Authentication(Arc<dyn Authenticate>);

impl Authentication {
    /// What the feature that knows credentials publishes.
    pub fn new(authenticate: Arc<dyn Authenticate>) -> Self {
        Self(authenticate)
    }

    /// See [`Authenticate::identify`].
    pub async fn identify(
        &self,
        headers: &HeaderMap,
        from: Option<ClientIp>,
        meter: Option<&Meter>,
    ) -> Result<Arc<Principal>, IdentifyError> {
        self.0.identify(headers, from, meter).await
    }
}

/// Counts requests without an accepted credential, by reason.
#[derive(Debug, Clone, Default)]
pub struct CredentialsRefused(Family<RefusedLabels, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

impl CredentialsRefused {
    /// The counters of a server, all of them on its page from the start.
    pub fn register(metrics: &Metrics) -> Self {
        let refused = Self::default();
        let about = "Requests without an accepted credential, by reason";
        metrics.register("credentials_refused", about, refused.0.clone());
        for because in RefusedBecause::ALL {
            drop(refused.0.get_or_create(&RefusedLabels { reason: because.as_str() }));
        }
        refused
    }

    /// Counts one.
    pub fn count(&self, because: RefusedBecause) {
        self.0.get_or_create(&RefusedLabels { reason: because.as_str() }).inc();
    }
}

/// Why a request has no principal, for operators. Callers are told less.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedBecause {
    /// It carries no credential.
    Missing,
    /// Its credential has not the form of one.
    Malformed,
    /// There is no such credential, or its secret or signature is wrong.
    Unknown,
    /// It has expired, or is not valid yet.
    Expired,
    /// It was revoked.
    Revoked,
    /// The session of the token has ended.
    SessionEnded,
    /// Its account is suspended, inactive, or gone.
    User,
    /// The token is for another surface or another installation.
    WrongAudience,
    /// Too many wrong ones came from there: it was not looked at.
    Throttled,
    /// The address is banned.
    Banned,
    /// The database could not be asked.
    Unavailable,
}

impl RefusedBecause {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Missing,
        Self::Malformed,
        Self::Unknown,
        Self::Expired,
        Self::Revoked,
        Self::SessionEnded,
        Self::User,
        Self::WrongAudience,
        Self::Throttled,
        Self::Banned,
        Self::Unavailable,
    ];

    /// The word for it in metrics and in the log.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Malformed => "malformed",
            Self::Unknown => "unknown",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
            Self::SessionEnded => "session_ended",
            Self::User => "suspended_user",
            Self::WrongAudience => "wrong_audience",
            Self::Throttled => "throttled",
            Self::Banned => "banned",
            Self::Unavailable => "unavailable",
        }
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
