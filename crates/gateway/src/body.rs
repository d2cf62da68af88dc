//! Reading a request body within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body_util::BodyExt;

/// How long a client may pause between two pieces of its request body.
const IDLE: Duration = Duration::from_secs(30);
/// How long a client may take for its whole request body; 8 MiB in two minutes is a slow mobile line.
const TOTAL: Duration = Duration::from_secs(120);

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// It is larger than the limit.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The client was too slow.
    #[error("the request body did not arrive in time ({} s without data, {} s in all)", IDLE.as_secs(), TOTAL.as_secs())]
    TooSlow,
    /// It is compressed.
    #[error("the request body is encoded as `{0}`; send it uncompressed")]
    Encoded(String),
    /// The connection broke.
    #[error("the request body ended early")]
    Broken(#[source] axum::Error),
}

/// Reads a body of at most `limit` bytes. A declared length over the limit is refused before a byte is read.
pub async fn read(headers: &HeaderMap, mut body: Body, limit: usize) -> Result<Bytes, BodyError> {
    if let Some(encoding) = headers.get(CONTENT_ENCODING).filter(|value| value.as_bytes() != b"identity") {
        return Err(BodyError::Encoded(String::from_utf8_lossy(encoding.as_bytes()).chars().take(40).collect()));
    }
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limit) {
        return Err(BodyError::TooLarge { limit });
    }
    let deadline = tokio::time::Instant::now() + TOTAL;
    // Most bodies arrive in one frame, which is then used as it is.
    let mut first: Option<Bytes> = None;
    let mut rest: Option<BytesMut> = None;
    loop {
        let wait = IDLE.min(deadline.saturating_duration_since(tokio::time::Instant::now()));
        let frame = match tokio::time::timeout(wait, body.frame()).await {
            Err(_) => return Err(BodyError::TooSlow),
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(BodyError::Broken)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        let size = first.as_ref().map_or(0, Bytes::len).max(rest.as_ref().map_or(0, BytesMut::len)) + data.len();
        if size > limit {
            return Err(BodyError::TooLarge { limit });
        }
        match (&first, &mut rest) {
            (None, _) => first = Some(data),
            (Some(head), None) => {
                let mut buffer = BytesMut::with_capacity(declared.unwrap_or(size * 2));
                buffer.extend_from_slice(head);
                buffer.extend_from_slice(&data);
                rest = Some(buffer);
            }
            (Some(_), Some(buffer)) => buffer.extend_from_slice(&data),
        }
    }
    Ok(rest.map(BytesMut::freeze).or(first).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn bodies_over_the_limit_are_refused_whether_declared_or_not() {
        let chunks =
            futures_util::stream::iter(["abc", "def", "g"].map(|text| Ok::<_, std::io::Error>(Bytes::from(text))));
        let body = Body::from_stream(chunks.clone());
        assert_eq!(read(&HeaderMap::new(), body, 7).await.expect("it fits"), "abcdefg");
        let body = Body::from_stream(chunks);
        assert!(matches!(read(&HeaderMap::new(), body, 6).await, Err(BodyError::TooLarge { limit: 6 })));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, 8.into());
        assert!(matches!(read(&headers, Body::empty(), 7).await, Err(BodyError::TooLarge { .. })));
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_stalls_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        assert!(matches!(read(&HeaderMap::new(), body, 7).await, Err(BodyError::TooSlow)));
    }
}
