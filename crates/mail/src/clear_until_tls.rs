//! A connection that begins in clear text and may become protected, without anything said before counting after.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// The most a server says for one message. It is a few kilobytes, with certificates; one line is read whole, however long.
const SAYS_AT_MOST: usize = 256 * 1024;
/// What a TLS handshake begins with (RFC 8446, 5.1); no command of SMTP does.
const HANDSHAKE: u8 = 0x16;

/// A connection of which no more is read in clear text than the line that is asked for.
///
/// Whoever is on the way may add answers of its own behind the one that says "begin TLS". A client that has read them with it
/// takes them for answers that came protected, and believes that its password and its message were taken. Here they are still
/// unread when TLS begins, and it fails over them. In clear text that costs a system call for each byte of a few short lines.
#[derive(Debug)]
pub(crate) struct ClearUntilTls {
    stream: TcpStream,
    is_protected: bool,
    heard: usize,
}

impl ClearUntilTls {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, is_protected: false, heard: 0 }
    }
}

impl AsyncRead for ClearUntilTls {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.is_protected || buf.remaining() == 0 {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        } else {
            let mut byte = [0];
            let mut one = ReadBuf::new(&mut byte);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut one))?;
            buf.put_slice(one.filled());
        }
        self.heard += buf.filled().len() - before;
        if self.heard > SAYS_AT_MOST {
            return Poll::Ready(Err(io::Error::other("the server does not stop talking")));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ClearUntilTls {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.is_protected |= buf.first() == Some(&HANDSHAKE);
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncTokioStream for ClearUntilTls {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}
