//! What can go wrong on the way to a provider and back.

use std::io;
use std::time::Duration;

use http::StatusCode;
use http::header::HeaderValue;
use systemprompt_llm::{ErrorAnswer, FrameError};
use systemprompt_model::Shortage;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// No connection.
    #[error("upstream provider unreachable")]
    Unreachable,
    /// We could not connect, for want of something of our own. Nothing was sent, and the provider has no part in it.
    #[error("the gateway {0}; nothing was sent to the provider")]
    Shortage(Shortage),
    /// The provider closed an idle connection, and the request that was sent on it was read by nobody; or it says that it did
    /// not process it.
    #[error("the upstream provider closed the connection without an answer")]
    NeverRead,
    /// A time limit passed.
    #[error("the upstream provider did not answer within {0:?}")]
    TimedOut(Duration),
    /// The provider broke off or sent what is no answer.
    #[error("the upstream provider {0}")]
    Broken(&'static str),
    /// There is no credential to show to the provider. Nothing was sent.
    #[error("the gateway has no credential for the upstream provider `{provider}`: {reason}")]
    NoCredential {
        /// The provider.
        provider: String,
        /// What became of the request for one.
        reason: String,
    },
    /// The server stops, and waits no longer.
    #[error("the gateway is shutting down; the upstream provider had not answered yet")]
    ShuttingDown,
    /// The provider does not accept our credential. What it says of it is not repeated: it may quote the key.
    #[error("the upstream provider `{provider}` does not accept the gateway's credential (status {status})")]
    CredentialRefused {
        /// The provider.
        provider: String,
        /// What it answered with.
        status: u16,
    },
    /// The provider refused without a body.
    #[error("the upstream provider answered {0} without a body")]
    Refused(StatusCode, Option<HeaderValue>),
}

/// Why an answer broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// The connection did.
    #[error("the connection broke off")]
    Connection(#[from] hyper::Error),
    /// A stream of frames is damaged, or ends inside one.
    #[error("the stream of frames is damaged")]
    Frames(#[from] FrameError),
    /// What came is not what its encoding says, or unpacks to far too much.
    #[error("the answer cannot be unpacked")]
    Encoding(#[source] io::Error),
}

impl SendError {
    /// What the caller is told.
    pub(crate) fn told(&self) -> ErrorAnswer {
        match self {
            Self::Unreachable => ErrorAnswer::upstream_unreachable(),
            Self::ShuttingDown => ErrorAnswer::shutting_down(),
            Self::TimedOut(_) => ErrorAnswer::upstream_timeout(self.to_string()),
            Self::NeverRead | Self::Broken(_) => ErrorAnswer::upstream_interrupted(self.to_string()),
            Self::NoCredential { .. } | Self::Shortage(_) => ErrorAnswer::not_ready(self.to_string()),
            Self::CredentialRefused { .. } => ErrorAnswer::provider_credential_refused(&self.to_string()),
            Self::Refused(status, _) => ErrorAnswer::upstream_without_body(status.as_u16()),
        }
    }
}
