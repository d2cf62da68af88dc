//! When a request that got no answer may be sent once more.

use crate::upstream::SendError;

/// Why an attempt came to nothing, where it is certain that nothing happened: nothing was read, answered or billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttemptFailure {
    /// The provider had closed the idle connection it was sent on, or says itself that it did not process it.
    #[error("the provider had closed the idle connection before it read the request, or did not process it")]
    NeverRead,
}

impl AttemptFailure {
    /// What `error` says for certain; nothing if the provider may have begun.
    pub(crate) fn of(error: &SendError) -> Option<Self> {
        match error {
            SendError::NeverRead => Some(Self::NeverRead),
            SendError::Unreachable
            | SendError::TimedOut(_)
            | SendError::Broken(_)
            | SendError::ShuttingDown
            | SendError::CredentialRefused { .. }
            | SendError::Refused(..) => None,
        }
    }
}
