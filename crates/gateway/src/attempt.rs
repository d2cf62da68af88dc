//! What an attempt that gave no answer means for the request: whether it is sent once more, goes elsewhere, or has cost
//! something.

use http::StatusCode;
use systemprompt_model::Shortage;

use crate::failure::FailureKind;
use crate::metrics::ErrorClass;
use crate::resilience::ShutReason;
use crate::upstream::SendError;

/// Why an attempt came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Trouble {
    /// The provider had closed the idle connection it was sent on, or says itself that it did not process it.
    #[error("the provider had closed the idle connection before it read the request, or did not process it")]
    NeverRead,
    /// No connection.
    #[error("the provider could not be reached")]
    Unreachable,
    /// No connection, for want of something of our own.
    #[error("the gateway {0}")]
    Shortage(Shortage),
    /// It was sent, and no answer began in time.
    #[error("the provider did not begin an answer in time")]
    TimedOut,
    /// It was sent, and the connection broke.
    #[error("the provider broke off before it began an answer")]
    Broken,
    /// The provider refused it for a reason that passes, or failed.
    #[error("the provider answered {}", .0.as_u16())]
    Status(StatusCode),
    /// There is no credential to show to the provider.
    #[error("there is no credential for the provider")]
    NoCredential,
    /// The model is left alone after its failures.
    #[error("the provider is left alone after it failed repeatedly")]
    CircuitOpen,
    /// The provider has as many requests as it may have.
    #[error("the provider has as many requests as it may have")]
    Full,
}

impl Trouble {
    /// What is wrong with an answer of this status. Nothing with a refusal of what was asked: another provider could not
    /// mend it.
    pub(crate) fn of_status(status: StatusCode) -> Option<Self> {
        let passes = matches!(status.as_u16(), 408 | 425 | 429) || status.is_server_error();
        passes.then_some(Self::Status(status))
    }

    /// What is wrong where there was no answer, as far as another provider could mend it.
    pub(crate) fn of_failure(failure: &FailureKind) -> Option<Self> {
        match failure {
            FailureKind::Shut(shut) => Some(shut.reason.into()),
            FailureKind::Upstream(error) => match error {
                SendError::NeverRead => Some(Self::NeverRead),
                SendError::Unreachable => Some(Self::Unreachable),
                SendError::Shortage(shortage) => Some(Self::Shortage(*shortage)),
                SendError::TimedOut(_) => Some(Self::TimedOut),
                SendError::Broken(_) => Some(Self::Broken),
                SendError::NoCredential { .. } => Some(Self::NoCredential),
                SendError::ShuttingDown | SendError::CredentialRefused { .. } | SendError::Refused(..) => None,
            },
            FailureKind::Refused(_) | FailureKind::NotPermitted(_) | FailureKind::Withheld(_) => None,
        }
    }

    /// Whether the same provider may be asked once more: nobody read it, or it said itself that it did nothing. After a
    /// time-out or in the middle of an answer it may be at work on it.
    pub(crate) fn may_be_repeated(self) -> bool {
        match self {
            Self::NeverRead | Self::Unreachable => true,
            Self::Status(status) => matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502 | 503 | 504 | 529),
            Self::TimedOut | Self::Broken | Self::Shortage(_) | Self::NoCredential | Self::CircuitOpen | Self::Full => {
                false
            }
        }
    }

    /// Whether the provider may charge for it all the same.
    pub(crate) fn may_have_cost(self) -> bool {
        matches!(self, Self::TimedOut | Self::Broken)
    }

    /// Whether it speaks against the provider's health. Who refuses is there.
    pub(crate) fn is_failure(self) -> bool {
        match self {
            Self::Unreachable | Self::TimedOut | Self::Broken => true,
            Self::Status(status) => status.is_server_error(),
            Self::NeverRead | Self::Shortage(_) | Self::NoCredential | Self::CircuitOpen | Self::Full => false,
        }
    }

    /// What metrics count it as.
    pub(crate) fn class(self) -> Option<ErrorClass> {
        match self {
            Self::NeverRead => Some(ErrorClass::Reset),
            Self::Unreachable => Some(ErrorClass::Connect),
            Self::Shortage(_) => Some(ErrorClass::Shortage),
            Self::TimedOut => Some(ErrorClass::Timeout),
            Self::Broken => Some(ErrorClass::Malformed),
            Self::NoCredential => Some(ErrorClass::Credential),
            Self::Status(status) => ErrorClass::of_status(status.as_u16()),
            Self::CircuitOpen | Self::Full => None,
        }
    }

    /// The reason of a failover in metrics.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Status(status) => format!("status_{}", status.as_u16()),
            Self::NeverRead | Self::Unreachable | Self::TimedOut | Self::Broken => "transport".to_owned(),
            Self::Shortage(_) => "own_shortage".to_owned(),
            Self::NoCredential => "credential".to_owned(),
            Self::CircuitOpen => "circuit_open".to_owned(),
            Self::Full => "bulkhead_full".to_owned(),
        }
    }
}

impl From<ShutReason> for Trouble {
    fn from(reason: ShutReason) -> Self {
        match reason {
            ShutReason::CircuitOpen => Self::CircuitOpen,
            ShutReason::Full => Self::Full,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_may_be_repeated_and_what_may_be_at_work_is_not() {
        let status = |code| Trouble::Status(StatusCode::from_u16(code).expect("a status"));
        for (trouble, repeated, cost, failure) in [
            (Trouble::NeverRead, true, false, false),
            (Trouble::Unreachable, true, false, true),
            (Trouble::Shortage(Shortage::Descriptors), false, false, false),
            (Trouble::TimedOut, false, true, true),
            (Trouble::Broken, false, true, true),
            (Trouble::CircuitOpen, false, false, false),
            (Trouble::Full, false, false, false),
            (status(408), true, false, false),
            (status(429), true, false, false),
            (status(500), true, false, true),
            (status(501), false, false, true),
            (status(503), true, false, true),
            (status(529), true, false, true),
        ] {
            assert_eq!(
                (trouble.may_be_repeated(), trouble.may_have_cost(), trouble.is_failure()),
                (repeated, cost, failure),
                "{trouble}"
            );
        }
    }

    #[test]
    fn a_refusal_of_what_was_asked_goes_back_to_the_caller() {
        for error in [SendError::ShuttingDown, SendError::Refused(StatusCode::BAD_REQUEST, None)] {
            assert_eq!(Trouble::of_failure(&error.into()), None);
        }
        for status in [200, 302, 400, 401, 403, 404, 413, 422] {
            assert_eq!(Trouble::of_status(StatusCode::from_u16(status).expect("a status")), None);
        }
    }
}
