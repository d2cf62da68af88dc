//! Requests that were answered before their body was read: refused for their credential, their path, their size.
//!
//! An HTTP/1 connection takes no further request before the body of the last one is out of the way, and a client that is
//! still writing when its connection closes gets the error of writing instead of the answer: Node's clients lose most 413s
//! that way. So what is left of a body is read and thrown away before the answer. Where that is too much, or takes too long,
//! the answer says that the connection closes, and the connection goes on taking bytes for a moment after it
//! ([`Unread`]).

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use http::Version;
use http::header::{CONNECTION, EXPECT, HeaderValue};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;

use crate::pace::Unread;

/// How much of a body is thrown away before the answer: more than twice the largest request that providers take.
const REST_BYTES: usize = 64 * 1024 * 1024 + 256 * 1024;
/// How long that may take.
const REST_TIME: Duration = Duration::from_secs(5);

/// Hands the body of a request to whoever answers it. What is left of it is for [`settle`].
pub(crate) fn hand_over(request: Request) -> (Request, Option<KeptBody>) {
    if request.version() > Version::HTTP_11 || request.body().is_end_stream() {
        return (request, None);
    }
    let (head, body) = request.into_parts();
    let invited = !head.headers.contains_key(EXPECT);
    let unread = head.extensions.get().cloned();
    let body = Arc::new(Mutex::new(Source { body, ended: false }));
    let handed = Body::new(HandedBody(body.clone()));
    (Request::from_parts(head, handed), Some(KeptBody { body, invited, unread }))
}

/// Makes the connection usable again, or says in the answer that it is not.
pub(crate) async fn settle(kept: Option<KeptBody>, answer: &mut Response) {
    let Some(KeptBody { body, invited, unread }) = kept else { return };
    // Somebody who answers while still reading, and will read on.
    let Some(source) = Arc::into_inner(body) else { return };
    let mut source = source.into_inner().unwrap_or_else(PoisonError::into_inner);
    if source.is_read() {
        return;
    }
    // A client that asked before it sends its body must not be told to go on.
    if !invited || tokio::time::timeout(REST_TIME, source.discard()).await != Ok(true) {
        answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        if let Some(unread) = unread {
            unread.set();
        }
    }
}

/// A body that a handler has been given.
pub(crate) struct KeptBody {
    body: Arc<Mutex<Source>>,
    /// Whether the client sends the body without being asked to.
    invited: bool,
    /// Tells the connection.
    unread: Option<Unread>,
}

struct Source {
    body: Body,
    /// The end was seen; a chunked body does not know it of itself.
    ended: bool,
}

impl Source {
    fn is_read(&self) -> bool {
        self.ended || self.body.is_end_stream()
    }

    /// Reads on to the end. Returns false if that is too far, or never comes.
    async fn discard(&mut self) -> bool {
        let mut left = REST_BYTES;
        while !self.is_read() {
            match self.body.frame().await {
                None => self.ended = true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => match left.checked_sub(frame.data_ref().map_or(0, Bytes::len)) {
                    Some(rest) => left = rest,
                    None => return false,
                },
            }
        }
        true
    }
}

/// What the handler reads.
struct HandedBody(Arc<Mutex<Source>>);

impl HandedBody {
    fn source(&self) -> MutexGuard<'_, Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl http_body::Body for HandedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut source = self.source();
        let frame = Pin::new(&mut source.body).poll_frame(cx);
        source.ended |= matches!(frame, Poll::Ready(None));
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.source().is_read()
    }

    fn size_hint(&self) -> SizeHint {
        self.source().body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    fn of(chunks: Vec<&'static [u8]>) -> Body {
        Body::from_stream(stream::iter(chunks.into_iter().map(|chunk| Ok::<_, std::io::Error>(Bytes::from(chunk)))))
    }

    /// Whether the connection is closed after an answer that read so many frames of the body.
    async fn closes(body: Body, headers: &[(&'static str, &'static str)], frames: usize) -> bool {
        let mut request = Request::new(body);
        request.headers_mut().extend(
            headers.iter().map(|(name, value)| (http::HeaderName::from_static(name), HeaderValue::from_static(value))),
        );
        let (request, kept) = hand_over(request);
        let mut handed = request.into_body();
        for _ in 0..frames {
            let _ = handed.frame().await;
        }
        drop(handed);
        let mut answer = Response::new(Body::empty());
        settle(kept, &mut answer).await;
        answer.headers().contains_key(CONNECTION)
    }

    #[tokio::test]
    async fn a_connection_is_kept_if_the_rest_is_small() {
        static ZEROS: [u8; 64 * 1024] = [0; 64 * 1024];
        let frames = REST_BYTES / ZEROS.len() + 1;
        let large = || of(vec![&ZEROS; frames]);
        assert!(!closes(Body::empty(), &[], 0).await);
        assert!(!closes(of(vec![b"abc", b"def"]), &[], 0).await);
        assert!(!closes(of(vec![b"abc", b"def"]), &[], 1).await);
        assert!(!closes(of(vec![b"abc"]), &[("expect", "100-continue")], 2).await, "it was read");
        assert!(closes(of(vec![b"abc"]), &[("expect", "100-continue")], 0).await);
        assert!(closes(large(), &[], 0).await);
        assert!(!closes(large(), &[], 1).await, "the rest is just small enough");
        assert!(!closes(large(), &[], frames + 1).await, "it was read");
    }

    #[tokio::test]
    async fn a_handler_that_reads_on_is_left_alone() {
        let (request, kept) = hand_over(Request::new(of(vec![b"abc"])));
        let mut answer = Response::new(Body::empty());
        settle(kept, &mut answer).await;
        assert!(!answer.headers().contains_key(CONNECTION));
        assert_eq!(request.into_body().collect().await.expect("a body").to_bytes(), "abc");
    }
}
