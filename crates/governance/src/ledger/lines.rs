//! Lines of files that somebody else may have written: none longer than what is expected is read into memory.

use std::io::{self, BufRead, Read as _};

/// One line, without its end.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) text: Vec<u8>,
    /// Whether it has an end; the last one has none when it was cut off while it was written.
    pub(super) is_whole: bool,
}

/// The next line, if there is one and it has at most `limit` bytes.
pub(super) fn next(reader: &mut impl BufRead, limit: u64) -> io::Result<Option<Line>> {
    let mut text = Vec::new();
    if reader.by_ref().take(limit + 1).read_until(b'\n', &mut text)? == 0 {
        return Ok(None);
    }
    let is_whole = text.last() == Some(&b'\n');
    if is_whole {
        text.pop();
    } else if text.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("a line has more than {limit} bytes")));
    }
    Ok(Some(Line { text, is_whole }))
}
