//! Reading an export, a line at a time, as often as is needed.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek};
use std::path::Path;

use crate::format::{Key, Line};

/// Bytes of a line at most.
pub(crate) const LINE_LIMIT: u64 = 64 * 1024 * 1024;

/// Why an export cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file.
    #[error("reading {0}")]
    Io(String, #[source] io::Error),
    /// A line.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: u64,
        /// What is wrong with it.
        why: String,
    },
}

/// The lines of an export.
pub trait Lines {
    /// Begins again.
    fn rewind(&mut self) -> Result<(), ReadError>;
    /// The next line and its number.
    fn next(&mut self) -> Result<Option<(u64, Line)>, ReadError>;
}

/// Lines of JSON.
pub struct Jsonl<R> {
    reader: R,
    line: u64,
}

impl<R: BufRead + Seek> Jsonl<R> {
    /// The lines of this reader.
    pub fn new(reader: R) -> Self {
        Self { reader, line: 0 }
    }
}

impl<R: BufRead + Seek> Lines for Jsonl<R> {
    fn rewind(&mut self) -> Result<(), ReadError> {
        self.line = 0;
        self.reader.rewind().map_err(|error| ReadError::Io("the export".to_owned(), error))
    }

    fn next(&mut self) -> Result<Option<(u64, Line)>, ReadError> {
        let Some(text) = next_line(&mut self.reader, &mut self.line)? else { return Ok(None) };
        let line = self.line;
        let read = serde_json::from_slice(&text).map_err(|error| ReadError::Line { line, why: error.to_string() })?;
        Ok(Some((line, read)))
    }
}

/// The next line that is not empty.
fn next_line(reader: &mut impl BufRead, line: &mut u64) -> Result<Option<Vec<u8>>, ReadError> {
    loop {
        let mut text = Vec::new();
        let read = reader.by_ref().take(LINE_LIMIT + 1).read_until(b'\n', &mut text);
        if read.map_err(|error| ReadError::Io("the export".to_owned(), error))? == 0 {
            return Ok(None);
        }
        *line += 1;
        if text.len() as u64 > LINE_LIMIT {
            return Err(ReadError::Line { line: *line, why: format!("it has more than {LINE_LIMIT} bytes") });
        }
        if !text.trim_ascii().is_empty() {
            return Ok(Some(text));
        }
    }
}

/// The public keys of a file: lines of JSON.
pub fn keys(path: &Path) -> Result<Vec<Key>, ReadError> {
    let file = File::open(path).map_err(|error| ReadError::Io(path.display().to_string(), error))?;
    let (mut reader, mut line, mut keys) = (BufReader::new(file), 0, Vec::new());
    while let Some(text) = next_line(&mut reader, &mut line)? {
        let wrong = |why: String| ReadError::Line { line, why: format!("{}: {why}", path.display()) };
        let key: Key = serde_json::from_slice(&text).map_err(|error| wrong(error.to_string()))?;
        if !key.is_key() {
            return Err(wrong("`public_key` is no Ed25519 key, or `key_id` is not how it begins".to_owned()));
        }
        keys.push(key);
    }
    Ok(keys)
}
