//! A client that costs next to nothing: one keep-alive connection, requests that are written out beforehand, and just
//! enough of HTTP/1.1 to know where an answer ends.

use std::net::SocketAddr;
use std::str;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// What is read from the socket at once.
const READ: usize = 64 * 1024;
/// Longer heads and bodies are errors: a benchmark asks for nothing of the kind.
const LONGEST_HEAD: usize = 32 * 1024;
const LONGEST_BODY: usize = 16 * 1024 * 1024;

/// One connection to one server.
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Box<[u8]>,
    head: Vec<u8>,
    body: Vec<u8>,
}

/// How long an answer took. Its body stays in the connection until the next request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// From before the request was written to the first byte of the body.
    pub(crate) first_byte: Duration,
    /// … to the last.
    pub(crate) whole: Duration,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            stream: None,
            buffer: vec![0; READ].into_boxed_slice(),
            head: Vec::new(),
            body: Vec::with_capacity(READ),
        }
    }

    /// The body of the last answer, without the framing of its chunks.
    pub(crate) fn body(&self) -> &[u8] {
        &self.body
    }

    /// Sends the bytes of a request and reads the whole answer. After an error the next request connects anew.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<Answer> {
        let mut stream = if let Some(stream) = self.stream.take() {
            stream
        } else {
            let stream = TcpStream::connect(self.address).await;
            let stream = stream.with_context(|| format!("connecting to {}", self.address))?;
            stream.set_nodelay(true)?;
            stream
        };
        let (answer, keep) = self.exchange_on(&mut stream, request).await?;
        self.stream = keep.then_some(stream);
        Ok(answer)
    }

    async fn exchange_on(&mut self, stream: &mut TcpStream, request: &[u8]) -> Result<(Answer, bool)> {
        self.head.clear();
        self.body.clear();
        let begun = Instant::now();
        stream.write_all(request).await.context("sending the request")?;

        let (head, mut framing) = loop {
            let count = stream.read(&mut self.buffer).await.context("reading the answer")?;
            if count == 0 {
                bail!("the connection was closed without an answer");
            }
            // The end of the head may lie across two reads.
            let searched = self.head.len().saturating_sub(3);
            self.head.extend_from_slice(&self.buffer[..count]);
            if let Some(at) = memchr::memmem::find(&self.head[searched..], b"\r\n\r\n") {
                let end = searched + at + 4;
                let head = Head::parse(&self.head[..end - 2])?;
                let mut framing = head.framing;
                framing.feed(&self.head[end..], &mut self.body)?;
                break (head, framing);
            }
            if self.head.len() > LONGEST_HEAD {
                bail!("the answer's head is longer than {LONGEST_HEAD} bytes");
            }
        };
        let mut first_byte = (!self.body.is_empty()).then(|| begun.elapsed());
        while !framing.is_complete() {
            let count = stream.read(&mut self.buffer).await.context("reading the answer")?;
            if count == 0 {
                bail!("the connection was closed after {} bytes of the body", self.body.len());
            }
            framing.feed(&self.buffer[..count], &mut self.body)?;
            if first_byte.is_none() && !self.body.is_empty() {
                first_byte = Some(begun.elapsed());
            }
        }
        let whole = begun.elapsed();
        Ok((Answer { status: head.status, first_byte: first_byte.unwrap_or(whole), whole }, head.keep_alive))
    }
}

/// What matters of an answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    keep_alive: bool,
    framing: Framing,
}

impl Head {
    /// Reads a head that ends with the line break of its last line.
    fn parse(head: &[u8]) -> Result<Self> {
        let status = head
            .strip_prefix(b"HTTP/1.1 ")
            .and_then(|rest| str::from_utf8(rest.get(..3)?).ok()?.parse().ok())
            .with_context(|| format!("not an answer in HTTP/1.1: {:?}", String::from_utf8_lossy(head)))?;
        let mut this = Self { status, keep_alive: true, framing: Framing::Exactly(0) };
        let mut framed = matches!(status, 204 | 304);
        for line in head.split(|byte| *byte == b'\n').skip(1) {
            let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
            let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
            if name.eq_ignore_ascii_case(b"content-length") {
                let length = str::from_utf8(value)?.parse().context("reading content-length")?;
                (this.framing, framed) = (Framing::Exactly(length), true);
            } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
                (this.framing, framed) = (Framing::Chunks(Chunks::Size { so_far: 0, digits: true }), true);
            } else if name.eq_ignore_ascii_case(b"connection") {
                this.keep_alive = !value.eq_ignore_ascii_case(b"close");
            }
        }
        if !framed {
            bail!("the answer does not say where it ends");
        }
        Ok(this)
    }
}

/// How much of a body is still to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Exactly(usize),
    Chunks(Chunks),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chunks {
    /// In the line with the size; its extensions are skipped.
    Size {
        so_far: usize,
        digits: bool,
    },
    Data {
        left: usize,
    },
    /// In the line break after the data.
    DataEnd,
    /// In the trailer; the number of bytes of the present line.
    Trailer {
        line: usize,
    },
    Done,
}

impl Framing {
    fn is_complete(&self) -> bool {
        matches!(self, Self::Exactly(0) | Self::Chunks(Chunks::Done))
    }

    /// Takes what arrived and appends what of it is content.
    fn feed(&mut self, mut input: &[u8], body: &mut Vec<u8>) -> Result<()> {
        match self {
            Self::Exactly(left) => {
                if input.len() > *left {
                    bail!("{} bytes follow the end of the answer", input.len() - *left);
                }
                *left -= input.len();
                body.extend_from_slice(input);
            }
            Self::Chunks(chunks) => {
                while let Some((byte, rest)) = input.split_first() {
                    match chunks {
                        Chunks::Size { so_far: 0, digits: _ } if *byte == b'\n' => {
                            *chunks = Chunks::Trailer { line: 0 }
                        }
                        Chunks::Size { so_far, digits: _ } if *byte == b'\n' => {
                            *chunks = Chunks::Data { left: *so_far }
                        }
                        Chunks::Size { so_far, digits } => match (*digits, char::from(*byte).to_digit(16)) {
                            (true, Some(digit)) => *so_far = so_far.saturating_mul(16).saturating_add(digit as usize),
                            (true, None) if !matches!(byte, b'\r' | b';' | b' ') => {
                                bail!("the size of a chunk is no number")
                            }
                            _ => *digits = false,
                        },
                        Chunks::Data { left } => {
                            let count = input.len().min(*left);
                            body.extend_from_slice(&input[..count]);
                            *left -= count;
                            input = &input[count..];
                            if *left == 0 {
                                *chunks = Chunks::DataEnd;
                            }
                            continue;
                        }
                        Chunks::DataEnd if *byte == b'\n' => *chunks = Chunks::Size { so_far: 0, digits: true },
                        Chunks::DataEnd if *byte == b'\r' => {}
                        Chunks::DataEnd => bail!("a chunk is longer than it says"),
                        Chunks::Trailer { line: 0 } if *byte == b'\n' => *chunks = Chunks::Done,
                        Chunks::Trailer { line } if *byte == b'\n' => *line = 0,
                        Chunks::Trailer { line } => *line += usize::from(*byte != b'\r'),
                        Chunks::Done => bail!("{} bytes follow the end of the answer", input.len()),
                    }
                    input = rest;
                }
            }
        }
        if body.len() > LONGEST_BODY {
            bail!("the answer is longer than {LONGEST_BODY} bytes");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(text: &str) -> Result<Head> {
        Head::parse(text.as_bytes())
    }

    #[test]
    fn heads_say_how_the_body_is_framed() {
        let whole = head("HTTP/1.1 200 OK\r\nContent-Length: 12\r\nserver: x\r\n").unwrap();
        assert_eq!(whole, Head { status: 200, keep_alive: true, framing: Framing::Exactly(12) });
        let chunked =
            head("HTTP/1.1 429 Too Many Requests\r\ntransfer-encoding: chunked\r\nConnection: close\r\n").unwrap();
        assert_eq!((chunked.status, chunked.keep_alive), (429, false));
        assert!(matches!(chunked.framing, Framing::Chunks(_)));
        assert_eq!(head("HTTP/1.1 204 No Content\r\n").unwrap().framing, Framing::Exactly(0));
        assert!(head("HTTP/1.1 200 OK\r\n").is_err(), "would last until the connection is closed");
        assert!(head("SSH-2.0-OpenSSH\r\n").is_err());
    }

    #[test]
    fn chunks_may_be_cut_anywhere() {
        let wire = b"4;name=value\r\nWiki\r\n5\r\npedia\r\nE\r\n in \r\n\r\nchunks\r\n0\r\nTrailer: x\r\n\r\n";
        for at in 0..wire.len() {
            let mut framing = Framing::Chunks(Chunks::Size { so_far: 0, digits: true });
            let mut body = Vec::new();
            framing.feed(&wire[..at], &mut body).unwrap();
            assert!(!framing.is_complete(), "{at}");
            framing.feed(&wire[at..], &mut body).unwrap();
            assert!(framing.is_complete(), "{at}");
            assert_eq!(body, b"Wikipedia in \r\n\r\nchunks");
        }
    }

    #[test]
    fn what_does_not_belong_to_the_answer_is_an_error() {
        let feed = |framing: Framing, input: &[u8]| framing.clone().feed(input, &mut Vec::new());
        let chunks = Framing::Chunks(Chunks::Size { so_far: 0, digits: true });
        assert!(feed(Framing::Exactly(2), b"abc").is_err());
        assert!(feed(chunks, b"0\r\n\r\nHTTP/1.1").is_err());
        assert!(feed(chunks, b"1\r\nab").is_err());
        assert!(feed(chunks, b"x\r\n").is_err());
        assert!(feed(chunks, b"FFFFFFFFFFFFFFFFFFFF\r\nabc").is_ok(), "is waited for in vain, not wrapped around");
    }
}
