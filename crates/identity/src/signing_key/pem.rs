//! The textual encoding of keys (RFC 7468): blocks of base64 between two boundary lines, anything outside.
//!
//! `rustls-pki-types` reads the blocks. It neither tells what stands before them nor writes any, so that is done here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::pem::{Error, SectionKind, from_buf};

const BEGIN: &str = "-----BEGIN ";

/// A block of a file, with the lines before it that belong to no block.
#[derive(Debug, PartialEq)]
pub(crate) struct Block<'a> {
    /// What it holds.
    pub kind: SectionKind,
    /// The explanatory lines since the block before.
    pub preamble: Vec<&'a str>,
    /// The line it begins in, from 1.
    pub line: usize,
    /// The decoded content.
    pub content: Vec<u8>,
}

/// All blocks of a text, or the line at which it goes wrong and why.
pub(crate) fn read(text: &str) -> Result<Vec<Block<'_>>, (usize, &'static str)> {
    let mut blocks = Vec::new();
    let mut rest = text;
    loop {
        let preamble: Vec<_> = rest.lines().take_while(|line| !line.starts_with(BEGIN)).collect();
        let line = text[..text.len() - rest.len()].lines().count() + preamble.len() + 1;
        let mut after = rest.as_bytes();
        let block = from_buf(&mut after).map_err(|error| (line, sentence(&error)))?;
        let (read, unread) = rest.split_at(rest.len() - after.len());
        // A block of a kind it does not know is passed over by the library; here nothing may be.
        if read.matches(BEGIN).count() > usize::from(block.is_some()) {
            return Err((line, "the block is of an unknown kind"));
        }
        let Some((kind, content)) = block else { return Ok(blocks) };
        blocks.push(Block { kind, preamble, line, content });
        rest = unread;
    }
}

fn sentence(error: &Error) -> &'static str {
    match error {
        Error::MissingSectionEnd { .. } => "the block has no end",
        Error::Base64Decode(_) => "the block is not base64",
        _ => "the block is not well formed",
    }
}

/// Appends a block.
pub(crate) fn write(text: &mut String, label: &str, content: &[u8]) {
    let body = STANDARD.encode(content);
    text.extend([BEGIN, label, "-----\n"]);
    for start in (0..body.len()).step_by(64) {
        text.push_str(&body[start..body.len().min(start + 64)]);
        text.push('\n');
    }
    text.extend(["-----END ", label, "-----\n"]);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut text = "Note: kept\n".to_owned();
        write(&mut text, "PUBLIC KEY", &[7; 100]);
        write(&mut text, "PRIVATE KEY", &[8; 3]);
        let blocks = read(&text).expect("is well formed");
        assert_eq!(blocks.len(), 2);
        assert_eq!(blocks[0].preamble, ["Note: kept"]);
        assert_eq!((blocks[0].kind, blocks[0].line), (SectionKind::PublicKey, 2));
        assert_eq!(blocks[0].content, [7; 100]);
        assert_eq!((blocks[1].kind, blocks[1].line), (SectionKind::PrivateKey, 7));
        assert_eq!(blocks[1].content, [8; 3]);
    }

    #[test]
    fn broken_blocks_are_refused() {
        for (text, line) in [
            ("\n-----BEGIN PRIVATE KEY-----\nAAAA\n", 2),
            ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", 1),
            ("-----BEGIN PRIVATE KEY-----\n***\n-----END PRIVATE KEY-----\n", 1),
            ("-----BEGIN X-----\nAAAA\n-----END X-----\n", 1),
            (
                "-----BEGIN X-----\nAAAA\n-----END X-----\n\
                 -----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
                1,
            ),
        ] {
            assert_eq!(read(text).expect_err("is broken").0, line, "{text}");
        }
    }
}
