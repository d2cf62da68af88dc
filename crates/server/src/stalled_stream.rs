//! Answers that an HTTP/2 client does not take.
//!
//! Flow control lets a client leave a stream open without taking a byte of it, while its connection is well and answers
//! pings. hyper does not poll the body then, which holds a call to a provider, and so nothing in the body can notice.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

/// The streamed answers of one connection.
pub(crate) struct Streams {
    /// A stream whose client takes nothing for this long is ended.
    limit: Duration,
    open: Mutex<Vec<Weak<Mutex<Stream>>>>,
}

struct Stream {
    /// `None` when it was ended.
    body: Option<Body>,
    /// Since when it is the client's turn.
    offered: Option<Instant>,
}

#[derive(Debug, thiserror::Error)]
#[error("the client does not read its answer")]
struct NotRead;

impl Streams {
    pub(crate) fn new(limit: Duration) -> Self {
        Self { limit, open: Mutex::default() }
    }

    /// Ends the answer when it is not taken, if it holds more than its own bytes.
    pub(crate) fn look_after(&self, body: Body) -> Body {
        if body.is_end_stream() || body.size_hint().exact().is_some() {
            return body;
        }
        let stream = Arc::new(Mutex::new(Stream { body: Some(body), offered: Some(Instant::now()) }));
        let mut open = lock(&self.open);
        // Only when the list would grow: what is forgotten is at least as much as what is looked at, or the list doubles.
        if open.len() == open.capacity() {
            open.retain(|stream| stream.strong_count() > 0);
        }
        open.push(Arc::downgrade(&stream));
        Body::new(LookedAfter(stream))
    }

    /// Looks after them, without end.
    pub(crate) async fn watch(&self) {
        let mut ticks = tokio::time::interval(self.limit / 4);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let open: Vec<_> = lock(&self.open).iter().filter_map(Weak::upgrade).collect();
            for stream in open {
                let stalled = {
                    let mut stream = lock(&stream);
                    let late = stream.offered.is_some_and(|since| since.elapsed() >= self.limit);
                    stream.body.take_if(|_| late)
                };
                // Outside the lock: this is where the call to the provider ends.
                drop(stalled);
            }
        }
    }
}

struct LookedAfter(Arc<Mutex<Stream>>);

impl http_body::Body for LookedAfter {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut stream = lock(&self.0);
        let Some(body) = &mut stream.body else { return Poll::Ready(Some(Err(axum::Error::new(NotRead)))) };
        let frame = Pin::new(body).poll_frame(cx);
        stream.offered = frame.is_ready().then(Instant::now);
        frame
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.0).body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        lock(&self.0).body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
