//! The body of a provider's answer, whether it comes over HTTP or from the demo provider.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use systemprompt_llm::demo::DemoEvent;
use tokio::time::Sleep;

use super::decode::Decoded;
use super::error::BodyError;
use super::events::Framed;
use super::watched::Busy;

/// This much of an answer is looked at, at most: its beginning may be blank.
const PEEKED: usize = 64 * 1024;

/// What an answer's bytes are read from. Dropping it cancels the call.
pub(crate) enum UpstreamBody {
    /// A connection to a provider.
    Http(FromProvider),
    /// The same, where the provider compresses its answers.
    Decoded(Box<Decoded<FromProvider>>),
    /// A stream of frames.
    Framed(Box<Framed<Self>>),
    /// The demo provider.
    Demo(Paced),
    /// Nothing.
    Empty,
    /// One whose beginning was looked at.
    Peeked(VecDeque<Result<Bytes, BodyError>>, Box<Self>),
}

impl UpstreamBody {
    /// A body of which all is there.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self::Peeked(VecDeque::from([Ok(bytes)]), Box::new(Self::Empty))
    }

    /// Waits for the beginning, at most so long and until `is_enough`, and gives it along with the whole. Empty if nothing
    /// came.
    pub(crate) async fn peek(mut self, wait: Duration, is_enough: impl Fn(&[u8]) -> bool) -> (Bytes, Self) {
        let mut pieces = VecDeque::new();
        let mut beginning = BytesMut::new();
        let reading = async {
            while !is_enough(&beginning) && beginning.len() < PEEKED {
                let Some(frame) = self.frame().await else { break };
                match frame.map(Frame::into_data) {
                    Ok(Ok(data)) => {
                        beginning.extend_from_slice(&data);
                        pieces.push_back(Ok(data));
                    }
                    Ok(Err(_)) => {}
                    Err(error) => {
                        pieces.push_back(Err(error));
                        break;
                    }
                }
            }
        };
        // Out of time, what came is looked at.
        let _ = tokio::time::timeout(wait, reading).await;
        (beginning.freeze(), Self::Peeked(pieces, Box::new(self)))
    }
}

impl Body for UpstreamBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Self::Http(body) => Pin::new(body).poll_frame(cx),
            Self::Decoded(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Framed(body) => Pin::new(&mut **body).poll_frame(cx),
            Self::Empty => Poll::Ready(None),
            Self::Demo(body) => Pin::new(body).poll_frame(cx).map_err(|never: Infallible| match never {}),
            Self::Peeked(first, rest) => match first.pop_front() {
                Some(first) => Poll::Ready(Some(first.map(Frame::data))),
                None => Pin::new(&mut **rest).poll_frame(cx),
            },
        }
    }
}

/// What comes over a connection, which is busy until all of it is read.
pub(crate) struct FromProvider {
    body: Incoming,
    busy: Option<Busy>,
}

impl FromProvider {
    /// An answer whose connection is `busy` with it.
    pub(super) fn new(body: Incoming, busy: Option<Busy>) -> Self {
        Self { body, busy }
    }
}

impl Body for FromProvider {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx)?);
        if frame.is_none() {
            this.busy = None;
        }
        Poll::Ready(frame.map(Ok))
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
