//! Reading a request body within bounds of size and time.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::CONTENT_LENGTH;
use http_body_util::BodyExt;

use crate::packing::{Packing, unpack};

/// What a client may take for its request body.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Bytes in all.
    pub bytes: usize,
    /// Time between two pieces.
    pub idle: Duration,
    /// Time in all.
    pub total: Duration,
}

impl Limits {
    /// The usual time limits: 30 s between two pieces, 8 minutes in all, which for 32 MiB is a slow mobile line.
    pub(crate) const fn of_bytes(bytes: usize) -> Self {
        Self { bytes, idle: Duration::from_secs(30), total: Duration::from_mins(8) }
    }
}

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BodyError {
    /// It is larger than the limit.
    #[error("the request body is larger than {limit} bytes")]
    TooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// The client was too slow.
    #[error("the request body did not arrive in time ({idle:?} without data, {total:?} in all)")]
    TooSlow {
        /// The limit between two pieces.
        idle: Duration,
        /// The limit in all.
        total: Duration,
    },
    /// It is packed in a way that is not known here.
    #[error("the request body is encoded as `{0}`; send it as it is, or as gzip, deflate, br or zstd")]
    Encoded(String),
    /// It is packed otherwise than it says, or not all of it is here.
    #[error("the request body cannot be decoded as its content-encoding says")]
    Packed(#[source] std::io::Error),
    /// The connection broke.
    #[error("the request body ended early")]
    Broken(#[source] axum::Error),
}

/// Reads a body within limits, and unpacks it within the same. A declared length over the limit is refused before a byte is
/// read.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limits: Limits) -> Result<Bytes, BodyError> {
    let packing = Packing::of(headers).map_err(BodyError::Encoded)?;
    let body = read_as_it_is(headers, body, limits).await?;
    let Some(packing) = packing else { return Ok(body) };
    let unpacking = tokio::task::spawn_blocking(move || unpack(packing, &body, limits.bytes));
    let unpacked = unpacking.await.unwrap_or_else(|error| Err(std::io::Error::other(error)));
    unpacked.map_err(BodyError::Packed)?.ok_or(BodyError::TooLarge { limit: limits.bytes })
}

async fn read_as_it_is(headers: &HeaderMap, mut body: Body, limits: Limits) -> Result<Bytes, BodyError> {
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<usize>().ok());
    if declared.is_some_and(|length| length > limits.bytes) {
        return Err(BodyError::TooLarge { limit: limits.bytes });
    }
    let deadline = tokio::time::Instant::now() + limits.total;
    // Most bodies arrive in one frame, which is then used as it is.
    let mut first: Option<Bytes> = None;
    let mut rest: Option<BytesMut> = None;
    loop {
        let wait = limits.idle.min(deadline.saturating_duration_since(tokio::time::Instant::now()));
        let frame = match tokio::time::timeout(wait, body.frame()).await {
            Err(_) => return Err(BodyError::TooSlow { idle: limits.idle, total: limits.total }),
            Ok(None) => break,
            Ok(Some(frame)) => frame.map_err(BodyError::Broken)?,
        };
        let Ok(data) = frame.into_data() else { continue };
        let size = first.as_ref().map_or(0, Bytes::len).max(rest.as_ref().map_or(0, BytesMut::len)) + data.len();
        if size > limits.bytes {
            return Err(BodyError::TooLarge { limit: limits.bytes });
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
        let body = || {
            let chunks = ["abc", "def", "g"].map(|text| Ok::<_, std::io::Error>(Bytes::from(text)));
            Body::from_stream(futures_util::stream::iter(chunks))
        };
        assert_eq!(read(&HeaderMap::new(), body(), Limits::of_bytes(7)).await.expect("it fits"), "abcdefg");
        let refused = read(&HeaderMap::new(), body(), Limits::of_bytes(6)).await;
        assert!(matches!(refused, Err(BodyError::TooLarge { limit: 6 })));
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, 8.into());
        let refused = read(&headers, Body::empty(), Limits::of_bytes(7)).await;
        assert!(matches!(refused, Err(BodyError::TooLarge { .. })));
    }

    #[tokio::test]
    async fn packed_bodies_are_read_within_the_same_limit() {
        let packed = {
            let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            std::io::Write::write_all(&mut writer, &vec![b' '; 100_000]).expect("memory");
            writer.finish().expect("memory")
        };
        let headers = HeaderMap::from_iter([(http::header::CONTENT_ENCODING, http::HeaderValue::from_static("gzip"))]);
        let read = async |limit| read(&headers, Body::from(packed.clone()), Limits::of_bytes(limit)).await;
        assert_eq!(read(100_000).await.expect("it fits").len(), 100_000);
        assert!(matches!(read(99_999).await, Err(BodyError::TooLarge { limit: 99_999 })));
        let plain = super::read(&headers, Body::from("{}"), Limits::of_bytes(10)).await;
        assert!(matches!(plain, Err(BodyError::Packed(_))));
    }

    #[tokio::test]
    async fn a_client_that_stalls_is_given_up() {
        let body = Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>());
        let limits = Limits { idle: Duration::from_millis(1), ..Limits::of_bytes(7) };
        assert!(matches!(read(&HeaderMap::new(), body, limits).await, Err(BodyError::TooSlow { .. })));
    }
}
