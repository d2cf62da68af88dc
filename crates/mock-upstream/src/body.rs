//! The body of an answer, sent as its script says.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Sleep, sleep};

use crate::script::{Ending, Script};
use crate::statistics::OpenAnswer;

/// The connection is closed on purpose.
#[derive(Debug, thiserror::Error)]
#[error("the mock closes the connection")]
pub(crate) struct Closed;

/// The body of an answer, frame by frame.
pub(crate) struct ScriptBody {
    script: Arc<Script>,
    next: usize,
    /// Before the first frame.
    first: Duration,
    /// Before each of the others.
    delay: Duration,
    pause: Option<Pin<Box<Sleep>>>,
    yielded: bool,
    /// The answer being counted; the mock's own paths are not.
    answer: Option<OpenAnswer>,
}

impl ScriptBody {
    pub(crate) fn new(script: Arc<Script>, (first, delay): (Duration, Duration), answer: Option<OpenAnswer>) -> Self {
        Self { script, next: 0, first, delay, pause: None, yielded: false, answer }
    }
}

impl ScriptBody {
    /// The answer ended by the mock's own doing.
    pub(crate) fn end(&mut self) {
        if let Some(answer) = self.answer.take() {
            answer.end();
        }
    }
}

impl Body for ScriptBody {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        let this = self.get_mut();
        let delay = if this.next == 0 { this.first } else { this.delay };
        if this.next < this.script.frames.len() && !delay.is_zero() {
            let pause = this.pause.get_or_insert_with(|| Box::pin(sleep(delay)));
            if pause.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
            this.pause = None;
        } else if this.next > 0 && this.script.separately && !std::mem::replace(&mut this.yielded, true) {
            // A body that has nothing for a moment makes hyper send what it has.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        this.yielded = false;
        if let Some(frame) = this.script.frames.get(this.next).cloned() {
            this.next += 1;
            // hyper does not ask again once a body of known length is complete.
            if this.next == this.script.frames.len() && this.script.ending == Ending::Proper {
                this.end();
            }
            return Poll::Ready(Some(Ok(Frame::data(frame))));
        }
        match this.script.ending {
            Ending::Proper => {
                this.end();
                Poll::Ready(None)
            }
            Ending::Close => {
                this.end();
                Poll::Ready(Some(Err(Closed)))
            }
            // Nobody wakes this up; it ends when the receiver goes away.
            Ending::Hang => Poll::Pending,
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.script.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
