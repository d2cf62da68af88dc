//! A stream of AWS frames as server-sent events, while it comes.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use systemprompt_llm::{EventStream, Format, FrameError};

use super::error::BodyError;

/// A body of frames, read as server-sent events.
pub(crate) struct Framed<B> {
    body: B,
    /// None once it has ended.
    stream: Option<EventStream>,
    /// What is wrong with it, told after what was good.
    fault: Option<FrameError>,
}

impl<B> Framed<B> {
    /// The frames of `body`, whose events are of this format.
    pub(super) fn new(body: B, format: Format) -> Self {
        Self { body, stream: Some(EventStream::new(format)), fault: None }
    }
}

impl<B> fmt::Debug for Framed<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framed").finish_non_exhaustive()
    }
}

impl<B: Body<Data = Bytes, Error = BodyError> + Unpin> Body for Framed<B> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        while let Some(stream) = &mut this.stream {
            let Some(piece) = ready!(Pin::new(&mut this.body).poll_frame(cx)?) else {
                let ended = stream.finish();
                this.stream = None;
                return match ended {
                    Ok(()) => Poll::Ready(None),
                    Err(error) => Poll::Ready(Some(Err(error.into()))),
                };
            };
            let Ok(piece) = piece.into_data() else { continue };
            let mut events = Vec::with_capacity(piece.len());
            if let Err(error) = stream.feed(&piece, &mut events) {
                this.stream = None;
                this.fault = Some(error);
            }
            if !events.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(events.into()))));
            }
        }
        Poll::Ready(this.fault.take().map(|fault| Err(fault.into())))
    }
}
