//! Reading what a client sends, within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

/// The most bytes of an event. A tool that writes a file has the file in its input.
const LARGEST: usize = 8 * 1024 * 1024;
/// How long it may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Why an event could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is too large.
    #[error("the event is larger than {LARGEST} bytes")]
    TooLarge,
    /// It did not arrive in time.
    #[error("the event did not arrive within {} seconds", PATIENCE.as_secs())]
    TooSlow,
    /// The connection broke.
    #[error("the event ended early")]
    Broken,
}

/// The whole body.
pub(crate) async fn read(body: Body) -> Result<Bytes, BodyError> {
    let whole = tokio::time::timeout(PATIENCE, Limited::new(body, LARGEST).collect()).await;
    match whole.map_err(|_| BodyError::TooSlow)? {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(BodyError::TooLarge),
        Err(_) => Err(BodyError::Broken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_too_large_is_refused() {
        assert_eq!(read(Body::from(vec![b' '; LARGEST])).await.map(|body| body.len()), Ok(LARGEST));
        assert_eq!(read(Body::from(vec![b' '; LARGEST + 1])).await, Err(BodyError::TooLarge));
    }
}
