//! The body of a request on its way out, which says whether a connection took it.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

/// Whether a connection took the body of an attempt. Until it did, not a byte of what is asked has left.
#[derive(Debug, Clone, Default)]
pub(crate) struct Taken(Arc<AtomicBool>);

impl Taken {
    /// Whether the provider may have any of it.
    pub(crate) fn is_taken(&self) -> bool {
        self.0.load(Relaxed)
    }

    /// Notes that whoever answers has it.
    pub(super) fn take(&self) {
        self.0.store(true, Relaxed);
    }
}

/// The bytes of a request. A connection asks for them when it has a place to put them, and not before: over HTTP/1 in the
/// same turn in which it writes the head, over HTTP/2 when the stream is open.
pub(super) struct Outgoing {
    bytes: Full<Bytes>,
    taken: Taken,
}

impl Outgoing {
    /// A body that says by `taken` that it was asked for.
    pub(super) fn new(bytes: Bytes, taken: Taken) -> Self {
        Self { bytes: Full::new(bytes), taken }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.taken.take();
        Pin::new(&mut self.bytes).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}
