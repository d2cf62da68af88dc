//! The body of a reply, whole or streamed.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};

use crate::relay::Relay;

/// An answer on its way to whoever asked. What goes wrong in a stream is told in the stream, so reading it never fails.
pub struct AnswerBody(Inner);

enum Inner {
    Whole(Full<Bytes>),
    Stream(Box<Relay>),
}

impl AnswerBody {
    pub(crate) fn whole_of(bytes: Bytes) -> Self {
        Self(Inner::Whole(Full::new(bytes)))
    }

    pub(crate) fn stream(relay: Relay) -> Self {
        Self(Inner::Stream(Box::new(relay)))
    }

    /// Whether it comes as a stream of server-sent events.
    pub fn is_stream(&self) -> bool {
        matches!(self.0, Inner::Stream(_))
    }

    /// Waits for all of it.
    pub async fn whole(self) -> Bytes {
        match self.collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(never) => match never {},
        }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            Inner::Whole(body) => Pin::new(body).poll_frame(cx),
            Inner::Stream(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Inner::Whole(body) => body.is_end_stream(),
            Inner::Stream(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Whole(body) => body.size_hint(),
            Inner::Stream(body) => body.size_hint(),
        }
    }
}
