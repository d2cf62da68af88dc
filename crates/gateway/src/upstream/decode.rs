//! Unpacking answers of providers that compress them although they are asked not to.
//!
//! Servers call plain answers packed, put bytes behind the end, or leave out the checksum. So an answer that cannot be
//! unpacked any further ends there, and whether it is complete is told by what it says.

use std::fmt;
use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap};
use http_body::{Body, Frame};

use super::error::BodyError;
use crate::packing::{Packing, ZSTD_WINDOW};

/// How many bytes may come of each byte. Ordinary answers pack five to one, and repetitive ones fifty to one.
const EXPANSION: u64 = 200;
/// How many may come whatever there was.
const ALLOWANCE: u64 = 1024 * 1024;
/// Whether bytes that begin like this can be packed so. Some servers say they pack and do not.
fn begins(packing: Packing, first: &[u8]) -> bool {
    match packing {
        Packing::Gzip => is_beginning(first, b"\x1f\x8b"),
        Packing::Zstd => is_beginning(first, b"\x28\xb5\x2f\xfd"),
        // These have nothing to be known by.
        Packing::Deflate | Packing::Brotli => !is_plain(first),
    }
}

fn is_beginning(first: &[u8], magic: &[u8]) -> bool {
    first.iter().zip(magic).all(|(byte, expected)| byte == expected)
}

/// Whether bytes begin as answers do. `[` and `{` alone may be the first byte of something packed.
fn is_plain(first: &[u8]) -> bool {
    let text = first.trim_ascii_start();
    let second = text.get(1).is_some_and(|byte| byte.is_ascii_whitespace() || b"\"{}[]".contains(byte));
    (text.starts_with(b"{") || text.starts_with(b"[")) && second
        || [&b"data:"[..], b"event:", b"id:", b"retry:", b": "].iter().any(|field| text.starts_with(field))
}

/// Takes away the headers that speak of the packed answer.
pub(super) fn strip(headers: &mut HeaderMap) {
    headers.remove(CONTENT_ENCODING);
    headers.remove(CONTENT_LENGTH);
}

/// A body, unpacked as it comes.
pub(crate) struct Decoded<B> {
    packed: B,
    state: State,
}

enum State {
    /// Nothing came yet. Without a packing it is called something that is none.
    New(Option<Packing>),
    Unpacking(Box<Decoder>),
    /// It is not packed after all.
    Plain,
    Ended,
}

enum Decoder {
    Gzip(flate2::write::MultiGzDecoder<Unpacked>),
    Deflate(flate2::write::ZlibDecoder<Unpacked>),
    /// What many servers mean by `deflate`.
    RawDeflate(flate2::write::DeflateDecoder<Unpacked>),
    Brotli(Box<brotli::DecompressorWriter<Unpacked>>),
    Zstd(zstd::stream::write::Decoder<'static, Unpacked>),
}

impl<B> Decoded<B> {
    pub(super) fn new(packed: B, packing: Packing) -> Self {
        Self { packed, state: State::New(Some(packing)) }
    }

    /// One that is said to be packed in a way nobody knows: it may not be packed at all.
    pub(super) fn unknown(packed: B) -> Self {
        Self { packed, state: State::New(None) }
    }
}

impl<B> fmt::Debug for Decoded<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decoded").finish_non_exhaustive()
    }
}

impl State {
    /// Unpacks a piece.
    fn unpack(&mut self, piece: Bytes) -> io::Result<Bytes> {
        if let Self::New(packing) = self {
            *self = match *packing {
                Some(packing) if begins(packing, &piece) => Self::Unpacking(Box::new(Decoder::new(packing, &piece)?)),
                None if !is_plain(&piece) => return Err(io::Error::other("it is packed in a way nobody knows")),
                _ => Self::Plain,
            };
        }
        let Self::Unpacking(decoder) = self else { return Ok(piece) };
        let written = decoder.write(&piece);
        let (unpacked, is_too_much) = decoder.unpacked().take();
        match written {
            Err(error) if is_too_much => return Err(error),
            Err(error) => {
                tracing::debug!(%error, "an answer cannot be unpacked any further");
                *self = Self::Ended;
            }
            Ok(()) => {}
        }
        Ok(unpacked)
    }

    /// What is left at the end.
    fn end(&mut self) -> io::Result<Bytes> {
        let Self::Unpacking(mut decoder) = std::mem::replace(self, Self::Ended) else { return Ok(Bytes::new()) };
        let ended = decoder.end();
        let (unpacked, is_too_much) = decoder.unpacked().take();
        if is_too_much { ended.map(|()| unpacked) } else { Ok(unpacked) }
    }
}

impl Decoder {
    fn new(packing: Packing, first: &[u8]) -> io::Result<Self> {
        let unpacked = Unpacked { bytes: Vec::new(), allowed: ALLOWANCE, is_too_much: false };
        Ok(match packing {
            Packing::Gzip => Self::Gzip(flate2::write::MultiGzDecoder::new(unpacked)),
            Packing::Deflate if !is_beginning(first, b"\x78") => {
                Self::RawDeflate(flate2::write::DeflateDecoder::new(unpacked))
            }
            Packing::Deflate => Self::Deflate(flate2::write::ZlibDecoder::new(unpacked)),
            Packing::Brotli => Self::Brotli(Box::new(brotli::DecompressorWriter::new(unpacked, 16 * 1024))),
            Packing::Zstd => {
                let mut decoder = zstd::stream::write::Decoder::new(unpacked)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Self::Zstd(decoder)
            }
        })
    }

    fn writer(&mut self) -> &mut dyn Write {
        match self {
            Self::Gzip(decoder) => decoder,
            Self::Deflate(decoder) => decoder,
            Self::RawDeflate(decoder) => decoder,
            Self::Brotli(decoder) => decoder,
            Self::Zstd(decoder) => decoder,
        }
    }

    fn unpacked(&mut self) -> &mut Unpacked {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
            Self::RawDeflate(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        let unpacked = self.unpacked();
        unpacked.allowed = unpacked.allowed.saturating_add((piece.len() as u64).saturating_mul(EXPANSION));
        self.writer().write_all(piece)?;
        // Events must not wait for those after them.
        self.writer().flush()
    }

    fn end(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(decoder) => decoder.try_finish(),
            Self::Deflate(decoder) => decoder.try_finish(),
            Self::RawDeflate(decoder) => decoder.try_finish(),
            Self::Brotli(decoder) => decoder.close(),
            Self::Zstd(decoder) => decoder.flush(),
        }
    }
}

/// What was unpacked and not yet passed on.
struct Unpacked {
    bytes: Vec<u8>,
    /// How many more bytes may come.
    allowed: u64,
    /// There were more.
    is_too_much: bool,
}

impl Unpacked {
    /// What there is, and whether it is too much.
    fn take(&mut self) -> (Bytes, bool) {
        (std::mem::take(&mut self.bytes).into(), self.is_too_much)
    }
}

impl Write for Unpacked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.allowed.checked_sub(bytes.len() as u64) else {
            self.is_too_much = true;
            return Err(io::Error::other(format!("it unpacks to more than {EXPANSION} times its size")));
        };
        self.allowed = left;
        self.bytes.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<B> Body for Decoded<B>
where
    B: Body<Data = Bytes> + Unpin,
    BodyError: From<B::Error>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        while !matches!(this.state, State::Ended) {
            let unpacked = match ready!(Pin::new(&mut this.packed).poll_frame(cx)?) {
                Some(frame) => {
                    let Ok(piece) = frame.into_data() else { continue };
                    this.state.unpack(piece)
                }
                None => this.state.end(),
            };
            match unpacked {
                Ok(unpacked) if unpacked.is_empty() => {}
                Ok(unpacked) => return Poll::Ready(Some(Ok(Frame::data(unpacked)))),
                Err(error) => {
                    this.state = State::Ended;
                    return Poll::Ready(Some(Err(BodyError::Encoding(error))));
                }
            }
        }
        Poll::Ready(None)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, Full, StreamBody};

    use super::*;

    impl From<Infallible> for BodyError {
        fn from(never: Infallible) -> Self {
            match never {}
        }
    }

    fn packed(packing: Packing, text: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
                writer.write_all(text).expect("memory");
                writer.finish().expect("memory")
            }
            Packing::Deflate => {
                let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::best());
                writer.write_all(text).expect("memory");
                writer.finish().expect("memory")
            }
            Packing::Brotli => {
                let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 5, 22);
                writer.write_all(text).expect("memory");
                writer.into_inner()
            }
            Packing::Zstd => zstd::encode_all(text, 3).expect("memory"),
        }
    }

    async fn unpacked(packing: Packing, pieces: Vec<Vec<u8>>) -> Result<Bytes, BodyError> {
        let frames = pieces.into_iter().map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::from(piece))));
        let body = StreamBody::new(futures_util::stream::iter(frames));
        Ok(Decoded::new(body, packing).collect().await?.to_bytes())
    }

    const ALL: [Packing; 4] = [Packing::Gzip, Packing::Deflate, Packing::Brotli, Packing::Zstd];

    #[tokio::test]
    async fn an_answer_is_the_same_however_it_was_packed_and_cut() {
        let text: Vec<u8> =
            (0..20_000_u32).flat_map(|n| format!("data: {}\n\n", n.wrapping_mul(2_654_435_761)).into_bytes()).collect();
        for packing in ALL {
            let bytes = packed(packing, &text);
            for size in [1, 100, bytes.len()] {
                let pieces = bytes.chunks(size).map(<[u8]>::to_vec).collect();
                assert_eq!(
                    unpacked(packing, pieces).await.expect("an answer"),
                    text,
                    "{packing:?} in pieces of {size}"
                );
            }
        }
    }

    #[tokio::test]
    async fn an_event_is_there_as_soon_as_its_bytes_are() {
        let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        writer.write_all(b"data: 1\n\n").expect("memory");
        writer.flush().expect("memory");
        let mut decoder = State::New(Some(Packing::Gzip));
        assert_eq!(decoder.unpack(writer.get_ref().clone().into()).expect("packed"), "data: 1\n\n");
    }

    #[tokio::test]
    async fn what_is_not_packed_passes_whatever_it_is_called() {
        for plain in ["{\"a\":1}", "{\n \"a\":1}", "data: {}\n\n", ": ping\n\n"] {
            for packing in ALL {
                let passed = unpacked(packing, vec![plain.into()]).await.expect("passes");
                assert_eq!(passed, plain, "{packing:?}");
            }
            let body = Full::new(Bytes::from(plain));
            assert_eq!(Decoded::unknown(body).collect().await.expect("passes").to_bytes(), plain);
        }
        for packing in ALL {
            assert_eq!(unpacked(packing, Vec::new()).await.expect("nothing"), "");
        }
        assert!(Decoded::unknown(Full::new(Bytes::from_static(b"\x1f\x9d\x90"))).collect().await.is_err());
    }

    #[tokio::test]
    async fn an_answer_ends_where_it_cannot_be_unpacked_any_further() {
        let text = b"a sentence that is there in whole";
        let gzip = packed(Packing::Gzip, text);
        let without_checksum = gzip[..gzip.len() - 8].to_vec();
        let with_more = [&gzip[..], b"\n\n"].concat();
        let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        writer.write_all(text).expect("memory");
        let raw = writer.finish().expect("memory");
        for (packing, bytes) in [(Packing::Gzip, without_checksum), (Packing::Gzip, with_more), (Packing::Deflate, raw)]
        {
            assert_eq!(unpacked(packing, vec![bytes]).await.expect("an answer"), &text[..], "{packing:?}");
        }
        let half = unpacked(Packing::Zstd, vec![packed(Packing::Zstd, text)[..20].to_vec()]).await.expect("what came");
        assert!(half.len() < text.len());
    }

    #[tokio::test]
    async fn what_unpacks_to_far_too_much_is_an_error() {
        let zeroes = vec![0; 64 * 1024 * 1024];
        for packing in ALL {
            let bytes = packed(packing, &zeroes);
            assert!(unpacked(packing, vec![bytes]).await.is_err(), "{packing:?}");
        }
    }
}
