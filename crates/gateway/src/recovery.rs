//! A stream that broke off and goes on with another provider, which is told what was said.
//!
//! The caller gets whole events only, so that what follows always fits; [`ContinuedStream`] makes one stream of both.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use systemprompt_llm::{ContinuedStream, ErrorAnswer};

use crate::attempt::Trouble;
use crate::recording::Recording;
use crate::upstream::UpstreamBody;

/// Who can ask another provider to go on.
pub(crate) trait GoOn: Send {
    /// Asks for the rest of an answer of which this was said. Gives back the recording if nobody goes on.
    fn go_on(self: Box<Self>, recording: Box<Recording>, said: String, trouble: Trouble) -> GoingOn;
}

/// Another provider is being asked. Dropping it is giving up the call.
pub(crate) type GoingOn = Pin<Box<dyn Future<Output = Result<WentOn, Box<Recording>>> + Send>>;

/// Another provider goes on.
pub(crate) struct WentOn {
    pub(crate) recording: Box<Recording>,
    pub(crate) upstream: UpstreamBody,
    /// How long it may be silent.
    pub(crate) idle: Duration,
    /// Who can go on after it.
    pub(crate) next: Option<Box<dyn GoOn>>,
}

/// A stream that may go on.
pub(crate) struct Recovery {
    stream: ContinuedStream,
    next: Option<Box<dyn GoOn>>,
    going: Option<(GoingOn, ErrorAnswer)>,
}

impl Recovery {
    /// A stream that has not begun yet, with whom to ask if it breaks off.
    pub(crate) fn new(next: Box<dyn GoOn>) -> Self {
        Self { stream: ContinuedStream::default(), next: Some(next), going: None }
    }

    /// Takes a piece from the provider and gives the events that are whole with it.
    pub(crate) fn feed(&mut self, piece: &Bytes) -> Bytes {
        self.stream.feed(piece)
    }

    /// What the provider said of its failure, which the caller has not been told.
    pub(crate) fn take_error(&mut self) -> Option<Bytes> {
        self.stream.take_error()
    }

    /// Whether the provider said that it failed.
    pub(crate) fn has_error(&self) -> bool {
        self.stream.has_error()
    }

    /// What is left of a stream that ended.
    pub(crate) fn finish(&mut self) -> Bytes {
        self.stream.finish()
    }

    /// Has somebody else asked for the rest, if that can be; `error` is what the caller is told if nobody goes on. Gives back
    /// the recording if it cannot.
    pub(crate) fn begin(
        &mut self,
        recording: Box<Recording>,
        trouble: Trouble,
        error: &ErrorAnswer,
    ) -> Result<(), Box<Recording>> {
        let Some(said) = self.stream.said().map(str::to_owned) else { return Err(recording) };
        let Some(next) = self.next.take() else { return Err(recording) };
        self.going = Some((next.go_on(recording, said, trouble), error.clone()));
        Ok(())
    }

    /// Whether another provider is being asked.
    pub(crate) fn is_going(&self) -> bool {
        self.going.is_some()
    }

    /// Waits for another provider. What comes of it is its stream, or the recording with what to tell the caller.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<WentOn, (Box<Recording>, ErrorAnswer)>> {
        let Some((going, _)) = &mut self.going else { return Poll::Pending };
        let gone = ready!(going.as_mut().poll(cx));
        let error = self.going.take().map(|(_, error)| error);
        Poll::Ready(match gone {
            Ok(mut went_on) => {
                self.stream.goes_on();
                self.next = went_on.next.take();
                Ok(went_on)
            }
            Err(recording) => Err((recording, error.unwrap_or_else(ErrorAnswer::internal))),
        })
    }
}
