//! Unpacking answers of providers that compress them although they are asked not to.

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
    let magic: &[u8] = match packing {
        Packing::Gzip => b"\x1f\x8b",
        Packing::Zstd => b"\x28\xb5\x2f\xfd",
        Packing::Deflate => b"\x78",
        // It has none; these are how answers begin.
        Packing::Brotli => return ![&b"{\""[..], b"data:", b"event:"].iter().any(|plain| first.starts_with(plain)),
    };
    first.iter().zip(magic).all(|(byte, expected)| byte == expected)
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
    /// Nothing came yet.
    New(Packing),
    Unpacking(Box<Decoder>),
    /// It is not packed after all.
    Plain,
    Ended,
}

enum Decoder {
    Gzip(flate2::write::MultiGzDecoder<Unpacked>),
    Deflate(flate2::write::ZlibDecoder<Unpacked>),
    Brotli(Box<brotli::DecompressorWriter<Unpacked>>),
    Zstd(zstd::stream::write::Decoder<'static, Unpacked>),
}

impl<B> Decoded<B> {
    pub(super) fn new(packed: B, packing: Packing) -> Self {
        Self { packed, state: State::New(packing) }
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
            *self =
                if begins(*packing, &piece) { Self::Unpacking(Box::new(Decoder::new(*packing)?)) } else { Self::Plain };
        }
        match self {
            Self::Unpacking(decoder) => decoder.unpack(&piece),
            _ => Ok(piece),
        }
    }

    /// What is left at the end. An answer that ends too early is an error.
    fn end(&mut self) -> io::Result<Bytes> {
        match std::mem::replace(self, Self::Ended) {
            Self::Unpacking(decoder) => decoder.end(),
            _ => Ok(Bytes::new()),
        }
    }
}

impl Decoder {
    fn new(packing: Packing) -> io::Result<Self> {
        let unpacked = Unpacked { bytes: Vec::new(), allowed: ALLOWANCE };
        Ok(match packing {
            Packing::Gzip => Self::Gzip(flate2::write::MultiGzDecoder::new(unpacked)),
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
            Self::Brotli(decoder) => decoder,
            Self::Zstd(decoder) => decoder,
        }
    }

    fn unpacked(&mut self) -> &mut Unpacked {
        match self {
            Self::Gzip(decoder) => decoder.get_mut(),
            Self::Deflate(decoder) => decoder.get_mut(),
            Self::Brotli(decoder) => decoder.get_mut(),
            Self::Zstd(decoder) => decoder.get_mut(),
        }
    }

    fn unpack(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        let unpacked = self.unpacked();
        unpacked.allowed = unpacked.allowed.saturating_add((piece.len() as u64).saturating_mul(EXPANSION));
        self.writer().write_all(piece)?;
        // Events must not wait for those after them.
        self.writer().flush()?;
        Ok(self.unpacked().take())
    }

    fn end(mut self) -> io::Result<Bytes> {
        match &mut self {
            Self::Gzip(decoder) => decoder.try_finish()?,
            Self::Deflate(decoder) => decoder.try_finish()?,
            Self::Brotli(decoder) => decoder.close()?,
            Self::Zstd(decoder) => decoder.flush()?,
        }
        Ok(self.unpacked().take())
    }
}

/// What was unpacked and not yet passed on.
struct Unpacked {
    bytes: Vec<u8>,
    /// How many more bytes may come.
    allowed: u64,
}

impl Unpacked {
    fn take(&mut self) -> Bytes {
        std::mem::take(&mut self.bytes).into()
    }
}

impl Write for Unpacked {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.allowed.checked_sub(bytes.len() as u64);
        self.allowed =
            left.ok_or_else(|| io::Error::other(format!("unpacks to more than {EXPANSION} times its size")))?;
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

    use http_body_util::{BodyExt, StreamBody};

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
        let mut decoder = State::New(Packing::Gzip);
        assert_eq!(decoder.unpack(writer.get_ref().clone().into()).expect("packed"), "data: 1\n\n");
    }

    #[tokio::test]
    async fn what_is_not_packed_passes_and_what_is_cut_off_is_an_error() {
        for packing in ALL {
            let plain = unpacked(packing, vec![b"{\"a\":1}".to_vec()]).await.expect("passes");
            assert_eq!(plain, "{\"a\":1}");
            assert_eq!(unpacked(packing, Vec::new()).await.expect("nothing"), "");
        }
        for packing in [Packing::Gzip, Packing::Deflate, Packing::Brotli] {
            let mut bytes = packed(packing, b"a sentence that is cut off in the middle of it");
            bytes.truncate(bytes.len() / 2);
            assert!(unpacked(packing, vec![bytes]).await.is_err(), "{packing:?}");
        }
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
