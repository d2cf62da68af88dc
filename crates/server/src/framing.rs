//! Where one HTTP/1 request ends and the next begins has one answer (RFC 9112 §3.2, §6): a request that a proxy in front
//! could cut at another place than we do is refused, and its connection closed, for what follows may be somebody else's.
//!
//! hyper refuses most of these by itself. It takes a request with `Content-Length` and `Transfer-Encoding` and keeps the
//! length to itself, so the heads are read here as well, on their way to it; bodies are only skipped.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use http::header::{HOST, TRANSFER_ENCODING};
use http::uri::Authority;
use http::{HeaderMap, StatusCode, Version};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Why a request is refused before anything looks at it; in its extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed {
    pub(crate) status: StatusCode,
    pub(crate) message: &'static str,
}

impl Malformed {
    const fn bad(message: &'static str) -> Self {
        Self { status: StatusCode::BAD_REQUEST, message }
    }

    /// What is wrong with a request, if something is.
    pub(crate) fn of(version: Version, headers: &HeaderMap, heads: &Heads) -> Option<Self> {
        let mut hosts = headers.get_all(HOST).iter();
        let host = hosts.next();
        if hosts.next().is_some() {
            return Some(Self::bad("a request has one `Host` header"));
        }
        if host.is_some_and(|host| !host.is_empty() && !is_host(host.as_bytes())) {
            return Some(Self::bad("the `Host` header is no host"));
        }
        if version > Version::HTTP_11 {
            return None;
        }
        let head = heads.next();
        if version == Version::HTTP_11 && host.is_none() {
            return Some(Self::bad("a request has a `Host` header"));
        }
        let mut codings = headers.get_all(TRANSFER_ENCODING).iter().peekable();
        codings.peek()?;
        let codings: Vec<String> = codings
            .flat_map(|value| value.to_str().unwrap_or("unreadable").split(','))
            .map(|coding| coding.trim().to_ascii_lowercase())
            .filter(|coding| !coding.is_empty())
            .collect();
        if codings.iter().any(|coding| coding != "chunked") {
            let status = StatusCode::NOT_IMPLEMENTED;
            return Some(Self { status, message: "no transfer coding but `chunked` is understood" });
        }
        if codings.len() != 1 {
            return Some(Self::bad("a body is chunked once"));
        }
        // A head that could not be followed may have said anything.
        if head.is_none_or(|head| head.has_length) {
            return Some(Self::bad("a request has `Content-Length` or `Transfer-Encoding`, not both"));
        }
        None
    }
}

/// A host with or without a port, and nobody's name before it.
fn is_host(host: &[u8]) -> bool {
    !host.contains(&b'@') && Authority::try_from(host).is_ok()
}

/// What was seen of a head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    has_length: bool,
}

/// The heads of a connection whose requests have not been looked at yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heads(Arc<Mutex<VecDeque<Head>>>);

impl Heads {
    fn put(&self, head: Head) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(head);
    }

    /// That of the next request, unless it could not be followed where it began.
    fn next(&self) -> Option<Head> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// A connection on which heads are looked at.
pub(crate) struct Framed<S> {
    stream: S,
    reader: Reader,
}

impl<S> Framed<S> {
    pub(crate) fn new(stream: S, heads: Heads) -> Self {
        Self { stream, reader: Reader::new(heads) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.reader.feed(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Longer lines are of no request: hyper takes no head that is longer.
const LONGEST_LINE: usize = 64 * 1024;
/// Requests that may wait to be looked at: who sends more at once is not followed any further.
const MOST_WAITING: usize = 1_000;

/// Follows requests, one after the other.
struct Reader {
    heads: Heads,
    at: Place,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    head: Begun,
}

/// What the head that is being read has said so far.
#[derive(Default)]
struct Begun {
    has_request_line: bool,
    length: Option<u64>,
    has_length: bool,
    is_chunked: bool,
}

#[derive(Debug, Clone, Copy)]
enum Place {
    /// In the lines of a head.
    Head,
    /// So many bytes before the end of a body.
    Body(u64),
    /// In the line that says how long a chunk is.
    ChunkSize,
    /// So many bytes before the end of a chunk.
    Chunk(u64),
    /// In the line end behind a chunk.
    ChunkEnd,
    /// In the lines behind the last chunk.
    Trailer,
    /// This is not HTTP/1, or not any more.
    Lost,
}

impl Reader {
    fn new(heads: Heads) -> Self {
        Self { heads, at: Place::Head, line: Vec::new(), head: Begun::default() }
    }

    fn feed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.at {
                Place::Lost => return,
                Place::Body(left) => {
                    let (taken, rest) = skip(left, bytes);
                    self.at = if taken == left { Place::Head } else { Place::Body(left - taken) };
                    bytes = rest;
                }
                Place::Chunk(left) => {
                    let (taken, rest) = skip(left, bytes);
                    self.at = if taken == left { Place::ChunkEnd } else { Place::Chunk(left - taken) };
                    bytes = rest;
                }
                Place::Head | Place::ChunkSize | Place::ChunkEnd | Place::Trailer => {
                    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                        self.keep(bytes);
                        return;
                    };
                    self.keep(&bytes[..end]);
                    bytes = &bytes[end + 1..];
                    let mut line = std::mem::take(&mut self.line);
                    if line.last() == Some(&b'\r') {
                        line.pop();
                    }
                    self.line_of(&line);
                    line.clear();
                    self.line = line;
                }
            }
        }
    }

    fn keep(&mut self, part: &[u8]) {
        if self.line.len() + part.len() > LONGEST_LINE {
            self.at = Place::Lost;
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn line_of(&mut self, line: &[u8]) {
        self.at = match self.at {
            Place::Head if line.is_empty() && !self.head.has_request_line => Place::Head,
            Place::Head if line.is_empty() => self.end_of_head(),
            Place::Head if !self.head.has_request_line => {
                self.head.has_request_line = true;
                if line.starts_with(b"PRI * HTTP/2") { Place::Lost } else { Place::Head }
            }
            Place::Head => self.field(line),
            Place::ChunkSize => match chunk_size(line) {
                Some(0) => Place::Trailer,
                Some(size) => Place::Chunk(size),
                None => Place::Lost,
            },
            Place::ChunkEnd if line.is_empty() => Place::ChunkSize,
            Place::Trailer if line.is_empty() => Place::Head,
            Place::Trailer => Place::Trailer,
            Place::ChunkEnd | Place::Body(_) | Place::Chunk(_) | Place::Lost => Place::Lost,
        };
    }

    fn field(&mut self, line: &[u8]) -> Place {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return Place::Lost };
        let (name, value) = (line[..colon].trim_ascii(), line[colon + 1..].trim_ascii());
        if name.eq_ignore_ascii_case(b"content-length") {
            self.head.has_length = true;
            self.head.length = std::str::from_utf8(value).ok().and_then(|value| value.parse().ok());
            if self.head.length.is_none() {
                return Place::Lost;
            }
        } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
            self.head.is_chunked = true;
        }
        Place::Head
    }

    fn end_of_head(&mut self) -> Place {
        let head = std::mem::take(&mut self.head);
        if self.heads.0.lock().unwrap_or_else(PoisonError::into_inner).len() >= MOST_WAITING {
            return Place::Lost;
        }
        self.heads.put(Head { has_length: head.has_length });
        match head.length {
            _ if head.is_chunked => Place::ChunkSize,
            Some(length) if length > 0 => Place::Body(length),
            _ => Place::Head,
        }
    }
}

/// How much of what is left is here, and what follows.
fn skip(left: u64, bytes: &[u8]) -> (u64, &[u8]) {
    let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
    (taken as u64, &bytes[taken..])
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let size = line.split(|byte| *byte == b';').next()?.trim_ascii();
    u64::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is seen of the heads, however the bytes are cut.
    fn seen(sent: &str) -> Vec<bool> {
        let mut all: Option<Vec<bool>> = None;
        for size in [1, 2, 3, 7, sent.len().max(1)] {
            let heads = Heads::default();
            let mut reader = Reader::new(heads.clone());
            sent.as_bytes().chunks(size).for_each(|part| reader.feed(part));
            let seen: Vec<bool> = std::iter::from_fn(|| heads.next()).map(|head| head.has_length).collect();
            assert_eq!(*all.get_or_insert_with(|| seen.clone()), seen, "{sent:?} by {size}");
        }
        all.unwrap_or_default()
    }

    #[test]
    fn heads_are_found_behind_whatever_body() {
        let chunked = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let body = "1a;x=y\r\nGET / HTTP/1.1\r\nContent-Le\r\n0\r\nTrailer: x\r\n\r\n";
        let both = "POST / HTTP/1.1\r\ncontent-LENGTH: 4\r\nTransfer-Encoding: chunked\r\n\r\n";
        for (sent, expected) in [
            (String::new(), &[][..]),
            ("GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\n\n".to_owned(), &[false, false]),
            (
                "POST / HTTP/1.1\r\nContent-Length: 20\r\n\r\nTransfer-Encoding: xGET / HTTP/1.1\r\n\r\n".to_owned(),
                &[true, false],
            ),
            (format!("{chunked}{body}{both}"), &[false, true]),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), &[]),
            (format!("{chunked}nonsense\r\n{both}"), &[false]),
        ] {
            assert_eq!(seen(&sent), expected, "{sent:?}");
        }
    }

    #[test]
    fn hosts() {
        for (host, expected) in
            [("a", true), ("a:8080", true), ("[::1]:80", true), ("a@b", false), ("a b", false), ("a/b", false)]
        {
            assert_eq!(is_host(host.as_bytes()), expected, "{host}");
        }
    }
}
