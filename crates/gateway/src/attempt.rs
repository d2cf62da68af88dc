//! When a request that got no answer may be sent once more.

use crate::upstream::SendError;

/// Why an attempt came to nothing, where it is certain that nothing happened: nothing was read, answered or billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum AttemptFailure {
    /// The provider had closed the idle connection it was sent on.
    #[error("the provider had closed the idle connection before it read the request")]
    IdleConnectionClosed,
}

impl AttemptFailure {
    /// What `error` says for certain; nothing if the provider may have begun.
    pub(crate) fn of(error: &SendError) -> Option<Self> {
        match error {
            SendError::NeverRead => Some(Self::IdleConnectionClosed),
            SendError::Unreachable
            | SendError::TimedOut(_)
            | SendError::Broken(_)
            | SendError::ShuttingDown
            | SendError::CredentialRefused { .. }
            | SendError::Refused(..) => None,
        }
    }
}
