//! A streamed answer that the caller is told of before the provider has begun it.
//!
//! Models think for minutes before they say a word, and what is between a caller and us hangs up after one. The status of an
//! answer is the provider's, so as long as the caller's patience lasts we wait for it; after that the caller has a status,
//! 200, and signs of life, and whatever comes instead of a stream is told as an event.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame};
use systemprompt_llm::{ErrorAnswer, Format};
use systemprompt_model::ActionId;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::answer::{AnswerBody, Reply};
use crate::failure::Failure;

/// How often a caller that waits gets a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// A call to a provider, which gives its answer. Dropping it is giving up the call.
pub(crate) type Answering = Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send>>;

/// The body of an answer that is still to come.
pub(crate) struct Waiting {
    state: State,
    request_id: ActionId,
    dialect: Format,
    /// The caller asked what the stream used.
    usage_asked: bool,
    /// When the next sign of life is due.
    alarm: Pin<Box<Sleep>>,
    /// The server is shutting down and its patience is over.
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
}

enum State {
    Waiting(Answering),
    Streaming(AnswerBody),
    /// What came is no stream.
    Reading(Pin<Box<dyn Future<Output = Bytes> + Send>>, StatusCode),
    Over,
}

impl Waiting {
    /// Waits for `answering` in the stead of a caller of this dialect, who may have asked what the stream used.
    pub(crate) fn new(
        answering: Answering,
        request_id: ActionId,
        (dialect, usage_asked): (Format, bool),
        cut: WaitForCancellationFutureOwned,
    ) -> Self {
        let alarm = Box::pin(tokio::time::sleep(Duration::ZERO));
        Self { state: State::Waiting(answering), request_id, dialect, usage_asked, alarm, cut: Box::pin(cut) }
    }

    fn fail(&mut self, error: &ErrorAnswer) -> Bytes {
        self.state = State::Over;
        error.sse_event(self.dialect, Some(&self.request_id.to_string())).into()
    }

    /// The next piece of the stream.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            match &mut self.state {
                State::Over => return Poll::Ready(None),
                State::Streaming(body) => {
                    let Some(Ok(frame)) = ready!(Pin::new(body).poll_frame(cx)) else { return Poll::Ready(None) };
                    if let Ok(data) = frame.into_data() {
                        return Poll::Ready(Some(data));
                    }
                }
                State::Reading(body, status) => {
                    let (whole, status) = (ready!(body.as_mut().poll(cx)), *status);
                    self.state = State::Over;
                    return Poll::Ready(Some(
                        self.dialect.whole_as_stream(status.as_u16(), &whole, self.usage_asked).into(),
                    ));
                }
                State::Waiting(answering) => match answering.as_mut().poll(cx) {
                    Poll::Ready(Ok(reply)) if reply.body.is_stream() => self.state = State::Streaming(reply.body),
                    Poll::Ready(Ok(reply)) => {
                        self.state = State::Reading(Box::pin(reply.body.whole()), reply.status);
                    }
                    Poll::Ready(Err(failure)) => return Poll::Ready(Some(self.fail(&failure.kind.told()))),
                    Poll::Pending if self.cut.as_mut().poll(cx).is_ready() => {
                        return Poll::Ready(Some(self.fail(&ErrorAnswer::shutting_down())));
                    }
                    Poll::Pending => {
                        ready!(self.alarm.as_mut().poll(cx));
                        self.alarm.as_mut().reset(Instant::now() + SIGN_OF_LIFE);
                        return Poll::Ready(Some(Bytes::from_static(self.dialect.ping())));
                    }
                },
            }
        }
    }
}

impl Body for Waiting {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.get_mut().poll_piece(cx).map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}
