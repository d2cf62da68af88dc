//! The textual encoding of keys (RFC 7468), strict form: base64 in lines between two boundary lines, anything outside.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A block of a file, with the lines before it that belong to no block.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Block<'a> {
    /// What it holds, e.g. `PRIVATE KEY`.
    pub label: &'a str,
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
    let mut preamble = Vec::new();
    let mut lines = text.lines().map(str::trim).zip(1..);
    while let Some((line, number)) = lines.next() {
        let Some(label) = boundary(line, "-----BEGIN ") else {
            preamble.push(line);
            continue;
        };
        let mut body = String::new();
        loop {
            let Some((line, _)) = lines.next() else { return Err((number, "the block has no end")) };
            match boundary(line, "-----END ") {
                Some(end) if end == label => break,
                Some(_) => return Err((number, "the end of the block has another label")),
                None => body.push_str(line),
            }
        }
        let content = STANDARD.decode(&body).map_err(|_| (number, "the block is not base64"))?;
        blocks.push(Block { label, preamble: std::mem::take(&mut preamble), line: number, content });
    }
    Ok(blocks)
}

/// Appends a block.
pub(crate) fn write(text: &mut String, label: &str, content: &[u8]) {
    let body = STANDARD.encode(content);
    text.extend(["-----BEGIN ", label, "-----\n"]);
    for start in (0..body.len()).step_by(64) {
        text.push_str(&body[start..body.len().min(start + 64)]);
        text.push('\n');
    }
    text.extend(["-----END ", label, "-----\n"]);
}

fn boundary<'a>(line: &'a str, beginning: &str) -> Option<&'a str> {
    line.strip_prefix(beginning)?.strip_suffix("-----")
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
        assert_eq!((blocks[0].label, blocks[0].line, &blocks[0].content[..]), ("PUBLIC KEY", 2, &[7; 100][..]));
        assert_eq!((blocks[1].label, &blocks[1].content[..]), ("PRIVATE KEY", &[8; 3][..]));
    }

    #[test]
    fn broken_blocks_are_refused() {
        for (text, line) in [
            ("\n-----BEGIN X-----\nAAAA\n", 2),
            ("-----BEGIN X-----\nAAAA\n-----END Y-----\n", 1),
            ("-----BEGIN X-----\n***\n-----END X-----\n", 1),
        ] {
            assert_eq!(read(text).expect_err("is broken").0, line, "{text}");
        }
    }
}
