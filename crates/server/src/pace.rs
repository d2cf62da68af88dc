//! How long a connection may keep us waiting.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// A socket that fails when its client neither asks for anything nor takes what it is given.
///
/// hyper starts its own limit for the head of a request only when it knows that the client speaks HTTP/1, and has none for
/// HTTP/2. A client that says nothing, or `PRI *` and nothing more, or exchanges pings, would be waited for without end.
/// This is below TLS, so the handshake is part of what is bounded, and a write counts only when the kernel took it.
pub(crate) struct Paced {
    stream: TcpStream,
    asked: Asked,
    /// Until when the first request has to be there; `None` once it is.
    opening: Option<Pin<Box<Sleep>>>,
    /// Until when the client has to take something; `None` while it does.
    stall: Option<Pin<Box<Sleep>>>,
    stall_limit: Duration,
    unread: Unread,
    /// How long a client that is still sending is listened to after our last word.
    lingering: Option<Pin<Box<Sleep>>>,
}

/// How long that is at most.
const LINGER: Duration = Duration::from_secs(5);
/// How much is thrown away at once.
const AT_ONCE: usize = 16 * 1024;

/// Whether a connection closes although its client is still sending. Closing at once would reset it, and the client would
/// lose the answer (RFC 9112 §9.6).
#[derive(Debug, Clone, Default)]
pub(crate) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// There is more to come that nobody will read.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether a request has arrived on a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asked(Arc<AtomicBool>);

impl Asked {
    /// The first request, or any other, is here.
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Paced {
    /// `stream`, whose first request must arrive within `opening`, and which may not take a single byte for `stall_limit`
    /// while there is something to write.
    pub(crate) fn new(
        stream: TcpStream,
        asked: Asked,
        unread: Unread,
        opening: Duration,
        stall_limit: Duration,
    ) -> Self {
        let opening = Some(Box::pin(sleep(opening)));
        Self { stream, asked, opening, stall: None, stall_limit, unread, lingering: None }
    }

    /// Throws away what the client sends until it has read our goodbye and closes.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let lingering = self.lingering.get_or_insert_with(|| Box::pin(sleep(LINGER)));
        let mut scratch = [0; AT_ONCE];
        loop {
            if lingering.as_mut().poll(cx).is_ready() {
                return Poll::Ready(());
            }
            let mut buffer = ReadBuf::new(&mut scratch);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buffer)) {
                Ok(()) if !buffer.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(()),
            }
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        if self.asked.0.load(Ordering::Relaxed) {
            self.opening = None;
        }
        self.opening.as_mut().is_some_and(|opening| opening.as_mut().poll(cx).is_ready())
    }

    fn written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.stall = None;
            return written;
        }
        let limit = self.stall_limit;
        ready!(self.stall.get_or_insert_with(|| Box::pin(sleep(limit))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client does not read its answer")))
    }
}

impl AsyncRead for Paced {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        // Before reading: a client that never stops sending is late too.
        if self.is_late(cx) {
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "no request came in time")));
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Paced {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// A socket has nothing of its own to flush, so only writes can stall.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        if self.unread.0.load(Ordering::Relaxed) {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}
