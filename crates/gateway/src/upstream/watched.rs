//! A connection that can say whether the provider may have read the last request on it.
//!
//! Providers close connections that were idle for some time. A request that is on its way at that moment is lost, and
//! the client cannot tell it from one that was read and then dropped: both end without a byte. But TCP can tell. Bytes
//! that arrive where nobody will read them any more are answered with a reset; a provider that read the request and hung
//! up says goodbye without one. So when a connection that has served before ends instead of answering, it waits a moment
//! for the reset. Over HTTP/1 there are three cases in which a request may be sent again:
//!
//! - No connection ever asked for its body ([`Taken`](super::Taken)): hyper had not begun to write it. Certain.
//! - The other side said goodbye, and bytes of ours were answered with a reset. They came after it had closed, so it does
//!   not have all of the request. Certain: what is incomplete cannot be carried out.
//! - A reset without a goodbye, which is what firewalls and load balancers send for connections they have forgotten. A
//!   server that reads a whole request and then aborts the connection looks the same, so time has to tell: the answer to
//!   the first bytes is there within a round trip, and connecting took longer than that. Nearly certain: such a server
//!   would have to abort within [`SLACK`] and before it says a word.
//!
//! Over HTTP/2 only the first case is looked for, because requests share the connection; there the provider can say itself
//! that it did not process a request.
//!
//! Two more things are done here because nobody else sees a connection whole. A provider may refuse a request before it has
//! read all of it, and close: what is left to write is thrown away then, so that its answer is read and not the error of
//! writing. And an idle connection is ended before the provider ends it, as far as it says when that will be.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;
use http::HeaderMap;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// A reset follows within the time of one round trip.
const RESET_WAIT: Duration = Duration::from_millis(240);
/// How often to look whether it came.
const RESET_LOOK: Duration = Duration::from_millis(20);

/// A provider counts from when it sent the end of an answer, we from when it came: this much earlier we let go.
const HEAD_START: Duration = Duration::from_secs(1);

/// How often to look whether the answer has been read, on a connection that may hardly be idle.
const BUSY_LOOK: Duration = Duration::from_millis(100);

/// How much longer than connecting a reset may take: timers and busy machines are late.
const SLACK: Duration = Duration::from_millis(500);
/// Connecting may have been slow for other reasons than a long way.
const LONGEST_WAY: Duration = Duration::from_millis(1500);

/// What is known of a connection and the last request on it.
#[derive(Debug)]
pub(super) struct Watch {
    /// How long a reset can take.
    reset_within: Duration,
    /// When the last request was begun.
    begun: Mutex<Option<Instant>>,
    /// Something was ever read: it has served before.
    served: AtomicBool,
    /// The last request was begun after something was read.
    reused: AtomicBool,
    /// Something was read since the last request was begun.
    answered: AtomicBool,
    /// The other side said goodbye before it refused bytes.
    closed: AtomicBool,
    /// The other side refused bytes.
    reset: AtomicBool,
    /// It did so as soon as they can have been there.
    at_once: AtomicBool,
    /// Counts the requests.
    turn: AtomicU64,
    rest: Mutex<Rest>,
    /// Wakes the connection when it may be idle for less long than it thought.
    sooner: AtomicWaker,
}

/// How long a connection may be idle, and since when it is.
#[derive(Debug, Clone, Copy)]
struct Rest {
    limit: Duration,
    since: Option<Instant>,
}

/// The answer to a request is being read from its connection. When this is dropped it is no more, and the connection is idle.
#[derive(Debug)]
pub(crate) struct Busy {
    watch: Arc<Watch>,
    turn: u64,
}

impl Drop for Busy {
    fn drop(&mut self) {
        // Who reads an answer may be behind: the next request may be on its way already.
        if self.turn == self.watch.turn.load(Relaxed) {
            let mut rest = self.watch.lock_rest();
            rest.since = Some(Instant::now());
            if rest.limit < BUSY_LOOK {
                self.watch.sooner.wake();
            }
        }
    }
}

impl Watch {
    /// What is known of a connection that took so long to come about and may be idle for so long.
    fn new(connecting: Duration, idle: Duration) -> Self {
        Self {
            turn: AtomicU64::new(0),
            rest: Mutex::new(Rest { limit: idle, since: None }),
            sooner: AtomicWaker::new(),
            reset_within: connecting.min(LONGEST_WAY) + SLACK,
            begun: Mutex::new(None),
            served: AtomicBool::new(false),
            reused: AtomicBool::new(false),
            answered: AtomicBool::new(false),
            closed: AtomicBool::new(false),
            reset: AtomicBool::new(false),
            at_once: AtomicBool::new(false),
        }
    }

    /// Whether it answered a request before.
    pub(super) fn has_served(&self) -> bool {
        self.served.load(Relaxed)
    }

    /// Whether the last request met a connection that served before and was already closed: nobody read all of it.
    pub(super) fn was_closed_before(&self) -> bool {
        self.reused.load(Relaxed)
            && self.reset.load(Relaxed)
            && !self.answered.load(Relaxed)
            && (self.closed.load(Relaxed) || self.at_once.load(Relaxed))
    }

    /// Takes what the provider says of how long it keeps an idle connection, `Keep-Alive: timeout=<seconds>`. The answer is
    /// being read as long as what this returns.
    pub(super) fn answers(self: &Arc<Self>, headers: &HeaderMap) -> Busy {
        if let Some(kept) = kept_alive(headers) {
            let kept = kept.saturating_sub(HEAD_START);
            let mut rest = self.lock_rest();
            if kept < rest.limit {
                rest.limit = kept;
                self.sooner.wake();
            }
        }
        Busy { watch: self.clone(), turn: self.turn.load(Relaxed) }
    }

    /// How long the connection may be idle, and since when it is.
    fn rest(&self) -> Rest {
        *self.lock_rest()
    }

    fn lock_rest(&self) -> MutexGuard<'_, Rest> {
        self.rest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first bytes of a request leave.
    fn begin(&self) {
        self.turn.fetch_add(1, Relaxed);
        self.lock_rest().since = None;
        self.reused.store(self.has_served(), Relaxed);
        self.answered.store(false, Relaxed);
        *self.lock() = Some(Instant::now());
    }

    /// A request is begun where bytes were refused before.
    fn begin_in_vain(&self) {
        self.begin();
        self.reset.store(true, Relaxed);
        self.at_once.store(true, Relaxed);
    }

    /// The other side refused bytes.
    fn note_reset(&self) {
        if !self.reset.swap(true, Relaxed) {
            let at_once = self.lock().is_some_and(|begun| begun.elapsed() <= self.reset_within);
            self.at_once.store(at_once, Relaxed);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Instant>> {
        self.begun.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `Keep-Alive: timeout=<seconds>` says.
fn kept_alive(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = text.split([',', ';']).find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then(|| value.trim().parse().ok())?
    });
    seconds.map(Duration::from_secs)
}

/// A connection to a provider, watched.
pub(super) struct Watched {
    stream: TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>,
    watch: Arc<Watch>,
    /// Requests share the connection, so whose bytes these are is only known to HTTP/2, which says what it never read.
    shared: bool,
    /// The last bytes that moved were ours.
    asking: bool,
    /// The other side takes no more bytes. They are thrown away, for it may have said why.
    deaf: bool,
    /// Ends an idle connection, and how long that may be idle.
    resting: Option<(Pin<Box<Sleep>>, Duration)>,
    /// The end that was read, kept back until it is known how the other side ended.
    ending: Option<Ending>,
}

struct Ending {
    result: io::Result<()>,
    looks_left: u32,
    pause: Pin<Box<Sleep>>,
}

impl Watched {
    /// Watches a connection that took so long to come about and may be idle for so long.
    pub(super) fn new(stream: MaybeHttpsStream<TokioIo<TcpStream>>, connecting: Duration, idle: Duration) -> Self {
        let shared = stream.connected().is_negotiated_h2();
        let watch = Arc::new(Watch::new(connecting, idle));
        Self { stream: TokioIo::new(stream), watch, shared, asking: false, deaf: false, resting: None, ending: None }
    }

    fn tcp(&self) -> &TcpStream {
        match self.stream.inner() {
            MaybeHttpsStream::Http(tcp) => tcp.inner(),
            MaybeHttpsStream::Https(tls) => tls.inner().get_ref().0.inner().inner(),
        }
    }

    /// Writes, of which `length` bytes are asked. Notes that bytes left, the first of a request if the last ones came from the
    /// other side.
    fn poll_wrote(
        &mut self,
        cx: &mut Context<'_>,
        length: usize,
        write: impl FnOnce(
            Pin<&mut TokioIo<MaybeHttpsStream<TokioIo<TcpStream>>>>,
            &mut Context<'_>,
        ) -> Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            if !self.asking {
                self.asking = true;
                self.watch.begin_in_vain();
            }
            return Poll::Ready(Ok(length));
        }
        let written = ready!(write(Pin::new(&mut self.stream), cx));
        if self.shared || matches!(written, Ok(0)) {
            return Poll::Ready(written);
        }
        if !self.asking {
            self.asking = true;
            self.watch.begin();
        }
        match written {
            Err(error) if refuses(&error) => {
                self.watch.note_reset();
                self.deaf = true;
                Poll::Ready(Ok(length))
            }
            written => Poll::Ready(written),
        }
    }

    fn note_reset(&self, error: &io::Error) {
        if refuses(error) {
            self.watch.note_reset();
        }
    }

    /// Waits until the connection has been idle for too long. The clock runs on while requests come and go, because setting
    /// it costs more than they do; when it strikes, it is seen what is left of the time.
    fn poll_rested(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.shared || self.asking {
            return Poll::Pending;
        }
        self.watch.sooner.register(cx.waker());
        let Rest { limit, since } = self.watch.rest();
        if limit < BUSY_LOOK && since.is_some_and(|since| since.elapsed() >= limit) {
            return Poll::Ready(());
        }
        let set = || (Box::pin(tokio::time::sleep(limit)), limit);
        let (clock, set_to) = self.resting.get_or_insert_with(set);
        if *set_to != limit {
            (*clock, *set_to) = set();
        }
        loop {
            ready!(clock.as_mut().poll(cx));
            let now = Instant::now();
            let until = match self.watch.rest().since {
                Some(since) if since + limit <= now => return Poll::Ready(()),
                Some(since) => since + limit,
                None => now + limit.max(BUSY_LOOK),
            };
            clock.as_mut().reset(until.into());
        }
    }

    /// Waits until the other side's reset is there, or would be.
    fn poll_ending(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            let reset = matches!(self.tcp().take_error(), Ok(Some(_)));
            let Some(ending) = &mut self.ending else { return Poll::Ready(Ok(())) };
            if reset {
                self.watch.note_reset();
            }
            if reset || ending.looks_left == 0 {
                let ended = self.ending.take().map_or(Ok(()), |ending| ending.result);
                return Poll::Ready(ended);
            }
            ready!(ending.pause.as_mut().poll(cx));
            ending.looks_left -= 1;
            ending.pause.set(tokio::time::sleep(RESET_LOOK));
        }
    }
}

/// Whether the other side takes no more bytes.
fn refuses(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe)
}

impl AsyncRead for Watched {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.ending.is_some() {
            return this.poll_ending(cx);
        }
        let before = buffer.filled().len();
        let Poll::Ready(result) = Pin::new(&mut this.stream).poll_read(cx, buffer) else {
            // An end, before the provider makes one.
            return this.poll_rested(cx).map(Ok);
        };
        match &result {
            Ok(()) if buffer.filled().len() > before => {
                this.asking = false;
                this.watch.lock_rest().since = None;
                this.watch.served.store(true, Relaxed);
                this.watch.answered.store(true, Relaxed);
                return Poll::Ready(result);
            }
            // An end; TLS calls one without a goodbye an error.
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {}
            Err(error) => {
                this.note_reset(error);
                return Poll::Ready(result);
            }
        }
        if !this.asking || !this.watch.reused.load(Relaxed) || buffer.remaining() == 0 {
            return Poll::Ready(result);
        }
        this.watch.closed.store(true, Relaxed);
        let looks_left = (RESET_WAIT.as_millis() / RESET_LOOK.as_millis()) as u32;
        this.ending = Some(Ending { result, looks_left, pause: Box::pin(tokio::time::sleep(RESET_LOOK)) });
        this.poll_ending(cx)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_wrote(cx, bytes.len(), |stream, cx| stream.poll_write(cx, bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let length = pieces.iter().map(|piece| piece.len()).sum();
        self.poll_wrote(cx, length, |stream, cx| stream.poll_write_vectored(cx, pieces))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.deaf {
            return Poll::Ready(Ok(()));
        }
        match ready!(Pin::new(&mut self.stream).poll_flush(cx)) {
            // What TLS had put together.
            Err(error) if refuses(&error) && !self.shared => {
                self.watch.note_reset();
                self.deaf = true;
                Poll::Ready(Ok(()))
            }
            flushed => Poll::Ready(flushed),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Connection for Watched {
    fn connected(&self) -> Connected {
        self.stream.inner().connected().extra(self.watch.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn providers_say_how_long_they_keep_a_connection() {
        for (said, expected) in [
            ("timeout=5", Some(5)),
            ("timeout=60, max=100", Some(60)),
            ("max=100;Timeout = 7", Some(7)),
            ("timeout=soon", None),
            ("max=100", None),
            ("", None),
        ] {
            let headers =
                HeaderMap::from_iter([(http::HeaderName::from_static("keep-alive"), said.parse().expect("text"))]);
            assert_eq!(kept_alive(&headers), expected.map(Duration::from_secs), "{said}");
        }
        assert_eq!(kept_alive(&HeaderMap::new()), None);
    }
}
