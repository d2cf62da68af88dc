//! Why a request is not let through.

use crate::{AuthError, IdentifyError, RateLimited};

/// Why the server does not let a request through to an endpoint. [`ErrorAnswer`](crate::api::ErrorAnswer) says it on most
/// surfaces, a [`RouteTable::refusing_with`](crate::RouteTable::refusing_with) in a protocol of its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is not known who asks.
    #[error(transparent)]
    Auth(AuthError),
    /// The token is that of somebody without an account: as good as none.
    #[error("sign in first")]
    Anonymous,
    /// It is known who asks, and it takes somebody else.
    #[error("the credential is valid, but this address needs {0}")]
    NotAllowed(String),
    /// The request is one too many of its address or caller.
    #[error(transparent)]
    RateLimited(RateLimited),
}

impl From<IdentifyError> for Rejection {
    fn from(error: IdentifyError) -> Self {
        match error {
            IdentifyError::Auth(error) => Self::Auth(error),
            IdentifyError::RateLimited(limited) => Self::RateLimited(limited),
        }
    }
}
