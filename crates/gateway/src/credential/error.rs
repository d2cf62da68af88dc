//! Why there is no credential to show.

use systemprompt_model::Shortage;

/// Why there is no credential to show. None of it repeats what a token service said: it may quote what it was sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum CredentialError {
    /// The service could not be asked.
    #[error("{what} could not be asked: {why}")]
    NotAsked {
        /// Which service.
        what: &'static str,
        /// Why.
        why: NotFetched,
    },
    /// The service refused.
    #[error("{what} answered with status {status}")]
    Refused {
        /// Which service.
        what: &'static str,
        /// With what.
        status: u16,
    },
    /// The service said something else than it should.
    #[error("{what} gave an answer without {missing}")]
    Strange {
        /// Which service.
        what: &'static str,
        /// What is not in it.
        missing: &'static str,
    },
    /// A file that must be there.
    #[error("the token file {path} cannot be read: {why}")]
    File {
        /// Which.
        path: String,
        /// Why.
        why: String,
    },
    /// It is none that could be shown.
    #[error("{0}")]
    Unfit(&'static str),
    /// The task that asked for it did not come to its end.
    #[error("the request for a token was given up")]
    GivenUp,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NotFetched {
    /// The address may not be asked.
    #[error("its address is not allowed: {0}")]
    NotAllowed(String),
    /// No connection, or it broke off.
    #[error("it cannot be reached")]
    Unreachable,
    /// No connection, for want of something of our own.
    #[error("the gateway {0}")]
    Shortage(Shortage),
    /// A time limit passed.
    #[error("it did not answer in time")]
    TimedOut,
    /// An answer larger than any token.
    #[error("its answer is too large")]
    TooLarge,
}
