//! An answer with the caller's own words where the provider was told placeholders.
//!
//! It is the last step on the way out: what watches an answer, judges it or keeps it sees what the provider said.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use systemprompt_llm::{Originals, OriginalsStream};

/// A streamed answer with the originals in it.
pub(crate) struct Restored<B> {
    body: B,
    stream: OriginalsStream,
    ended: bool,
}

impl<B> Restored<B> {
    /// `body` with `originals` in it.
    pub(crate) fn new(body: B, originals: Arc<Originals>) -> Self {
        Self { body, stream: OriginalsStream::new(originals), ended: false }
    }
}

/// A whole answer with the originals in it, which may be a stream that was collected.
pub(crate) fn whole(body: Bytes, originals: Option<&Arc<Originals>>, is_stream: bool) -> Bytes {
    let Some(originals) = originals else { return body };
    if !is_stream {
        return originals.put_into(&body);
    }
    let mut stream = OriginalsStream::new(Arc::clone(originals));
    let begun = stream.feed(&body);
    [begun, stream.finish()].concat().into()
}

impl<B: Body<Data = Bytes, Error = Infallible> + Unpin> Body for Restored<B> {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        loop {
            if this.ended {
                return Poll::Ready(None);
            }
            let given = match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => this.stream.feed(&data),
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                Some(Err(never)) => match never {},
                None => {
                    this.ended = true;
                    this.stream.finish()
                }
            };
            if !given.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(given))));
            }
        }
    }
}
