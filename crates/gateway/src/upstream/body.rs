//! The body of a provider's answer, whether it comes over HTTP or from the demo provider.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;
use systemprompt_llm::demo::DemoEvent;
use tokio::time::Sleep;

use super::watched::Busy;

/// What an answer's bytes are read from. Dropping it cancels the call.
pub(crate) enum UpstreamBody {
    /// A connection to a provider, which is busy until all of it is read.
    Http(Incoming, Option<Busy>),
    /// The demo provider.
    Demo(Paced),
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.get_mut() {
            Self::Http(body, busy) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                if frame.is_none() {
                    *busy = None;
                }
                Poll::Ready(frame)
            }
            Self::Demo(body) => Pin::new(body)
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(|never: Infallible| match never {}))),
        }
    }
}

/// Pieces of an answer, each after its own pause.
pub(crate) struct Paced {
    events: VecDeque<DemoEvent>,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Paced {
    /// The answer made of `events`.
    pub(super) fn new(events: impl IntoIterator<Item = DemoEvent>) -> Self {
        Self { events: events.into_iter().collect(), pause: None }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.pause.is_none()
            && let Some(delay) = self.events.front().map(|event| event.delay_ms).filter(|delay| *delay > 0)
        {
            self.pause = Some(Box::pin(tokio::time::sleep(Duration::from_millis(delay.into()))));
        }
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            self.pause = None;
        }
        Poll::Ready(self.events.pop_front().map(|event| Ok(Frame::data(event.bytes))))
    }
}
