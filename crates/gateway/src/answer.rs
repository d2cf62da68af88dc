//! What comes of asking a model: a reply, whose body is whole or streamed.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::{BodyExt, Full};
use systemprompt_model::ActionId;

/// A provider's answer, in the dialect of the request. Error answers are answers too: the caller gets to see them.
pub struct Reply {
    /// The ledger record of the request.
    pub request: ActionId,
    /// The provider's status.
    pub status: StatusCode,
    /// The headers that concern the caller.
    pub headers: HeaderMap,
    /// The answer. When it is dropped before its end, the call is cancelled and recorded as such.
    pub body: AnswerBody,
}

impl Reply {
    /// Waits for all of the answer. A stream that breaks off ends with an error event.
    pub async fn whole(self) -> Bytes {
        self.body.whole().await
    }
}

/// An answer on its way to whoever asked. What goes wrong in a stream is told in the stream, so reading it never fails.
pub struct AnswerBody(Inner);

/// Server-sent events.
type Stream = Pin<Box<dyn Body<Data = Bytes, Error = Infallible> + Send>>;

enum Inner {
    Whole(Full<Bytes>),
    Stream(Stream),
}

impl AnswerBody {
    pub(crate) fn whole_of(bytes: Bytes) -> Self {
        Self(Inner::Whole(Full::new(bytes)))
    }

    pub(crate) fn stream(events: impl Body<Data = Bytes, Error = Infallible> + Send + 'static) -> Self {
        Self(Inner::Stream(Box::pin(events)))
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
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match &mut self.0 {
            Inner::Whole(body) => Pin::new(body).poll_frame(cx),
            Inner::Stream(body) => body.as_mut().poll_frame(cx),
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
