//! How bodies are packed, and unpacking one of a caller to no more than a body that is not packed may have. Those of
//! providers come piece by piece: `upstream/decode`.

use std::io::{self, Read};

use bytes::Bytes;
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderValue};

/// The farthest back a body packed with zstd may refer, as a power of two: 8 MiB, what every decoder has to support.
pub(crate) const ZSTD_WINDOW: u32 = 23;

/// How a body is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Packing {
    /// The names of all of them, for those who packed a body in another way.
    pub(crate) const NAMES: HeaderValue = HeaderValue::from_static("gzip, deflate, br, zstd");

    /// What the headers say. `None` if the body is not packed; otherwise an error if it is in a way that is not known here,
    /// or in several.
    pub(crate) fn of(headers: &HeaderMap) -> Result<Option<Self>, String> {
        let mut found = None;
        for value in headers.get_all(CONTENT_ENCODING) {
            let text = String::from_utf8_lossy(value.as_bytes());
            for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                let packing = match name.to_ascii_lowercase().as_str() {
                    // Some servers name what has no place here.
                    "identity" | "none" | "utf-8" => continue,
                    "gzip" | "x-gzip" => Self::Gzip,
                    "deflate" => Self::Deflate,
                    "br" => Self::Brotli,
                    "zstd" => Self::Zstd,
                    _ => return Err(name.chars().take(40).collect()),
                };
                if found.replace(packing).is_some() {
                    return Err(text.chars().take(40).collect());
                }
            }
        }
        Ok(found)
    }
}

/// All of a body that unpacks to at most `limit` bytes; `None` if it is more.
pub(crate) fn unpack(packing: Packing, packed: &[u8], limit: usize) -> io::Result<Option<Bytes>> {
    match packing {
        Packing::Gzip => read(flate2::read::MultiGzDecoder::new(packed), limit),
        Packing::Deflate => read(flate2::read::ZlibDecoder::new(packed), limit),
        Packing::Brotli => read(brotli::Decompressor::new(packed, 16 * 1024), limit),
        Packing::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(packed)?;
            decoder.window_log_max(ZSTD_WINDOW)?;
            read(decoder, limit)
        }
    }
}

fn read(unpacking: impl Read, limit: usize) -> io::Result<Option<Bytes>> {
    let mut body = Vec::new();
    unpacking.take(limit as u64 + 1).read_to_end(&mut body)?;
    Ok((body.len() <= limit).then(|| body.into()))
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::Compression;

    use super::*;

    fn packed(packing: Packing, body: &[u8]) -> Vec<u8> {
        match packing {
            Packing::Gzip => {
                let mut writer = flate2::write::GzEncoder::new(Vec::new(), Compression::fast());
                writer.write_all(body).expect("memory");
                writer.finish().expect("memory")
            }
            Packing::Deflate => {
                let mut writer = flate2::write::ZlibEncoder::new(Vec::new(), Compression::fast());
                writer.write_all(body).expect("memory");
                writer.finish().expect("memory")
            }
            Packing::Brotli => {
                let mut writer = brotli::CompressorWriter::new(Vec::new(), 4096, 1, 20);
                writer.write_all(body).expect("memory");
                writer.into_inner()
            }
            Packing::Zstd => zstd::encode_all(body, 1).expect("memory"),
        }
    }

    #[test]
    fn bodies_are_unpacked_up_to_the_limit() {
        let body = br#"{"model":"m"}"#.repeat(100);
        for packing in [Packing::Gzip, Packing::Deflate, Packing::Brotli, Packing::Zstd] {
            let packed = packed(packing, &body);
            let whole = unpack(packing, &packed, body.len()).expect("it is packed so");
            assert_eq!(whole.as_deref(), Some(&body[..]), "{packing:?}");
            assert_eq!(unpack(packing, &packed, body.len() - 1).expect("it is packed so"), None, "{packing:?}");
            assert!(unpack(packing, &packed[..packed.len() / 2], body.len()).is_err(), "{packing:?} cut in half");
            assert!(unpack(packing, b"{\"model\":\"m\"}", 100).is_err(), "{packing:?} is not what it is");
        }
    }

    #[test]
    fn headers_say_how_a_body_is_packed() {
        for (said, expected) in [
            ("", Ok(None)),
            ("identity", Ok(None)),
            ("Identity, ", Ok(None)),
            ("GZip", Ok(Some(Packing::Gzip))),
            ("identity, br", Ok(Some(Packing::Brotli))),
            ("zstd", Ok(Some(Packing::Zstd))),
            ("compress", Err("compress".to_owned())),
            ("gzip, gzip", Err("gzip, gzip".to_owned())),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_ENCODING, said.parse().expect("a header"))]);
            assert_eq!(Packing::of(&headers), expected, "{said}");
        }
        assert_eq!(Packing::of(&HeaderMap::new()), Ok(None));
    }
}
