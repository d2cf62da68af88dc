//! A table as CSV (RFC 4180).

use std::io::{self, Read, Seek, SeekFrom};

use super::{Row, Rows};
use crate::format::COLUMNS;
use crate::read::{LINE_LIMIT, ReadError};

/// Rows of CSV below the names of their columns.
pub struct Csv<R> {
    reader: csv::Reader<Bounded<R>>,
    begun: bool,
}

/// A reader that gives so much for each row, for one that never ends would fill the memory.
struct Bounded<R> {
    reader: R,
    limit: u64,
    left: u64,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left == 0 {
            return Err(io::Error::other(format!("it has more than {} bytes", self.limit)));
        }
        let most = buffer.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let read = self.reader.read(&mut buffer[..most])?;
        self.left -= read as u64;
        Ok(read)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.reader.seek(to)
    }
}

impl<R: Read + Seek> Csv<R> {
    /// The rows of this reader.
    pub fn new(reader: R) -> Self {
        Self::bounded(reader, LINE_LIMIT)
    }

    /// The same, with so many bytes for each.
    pub(crate) fn bounded(reader: R, limit: u64) -> Self {
        let reader = Bounded { reader, limit, left: limit };
        Self { reader: csv::ReaderBuilder::new().has_headers(true).from_reader(reader), begun: false }
    }

    fn allow_another(&mut self) {
        let bounded = self.reader.get_mut();
        bounded.left = bounded.limit;
    }
}

impl<R: Read + Seek> Rows for Csv<R> {
    fn rewind(&mut self) -> Result<(), ReadError> {
        let unread = |error: csv::Error| ReadError::Io("the entries".to_owned(), error.into());
        self.allow_another();
        self.reader.seek(csv::Position::new()).map_err(unread)?;
        // Behind the names of the columns.
        self.reader.read_record(&mut csv::StringRecord::new()).map_err(unread)?;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(u64, Row)>, ReadError> {
        if !self.begun {
            self.begun = true;
            self.allow_another();
            if !self.reader.headers().is_ok_and(|columns| columns.iter().eq(COLUMNS)) {
                let why = format!("the columns are not {}", COLUMNS.join(","));
                return Err(ReadError::Line { line: 1, why });
            }
        }
        self.allow_another();
        let line = self.reader.position().line();
        let wrong = |error: csv::Error| ReadError::Line { line, why: error.to_string() };
        let mut record = csv::StringRecord::new();
        if !self.reader.read_record(&mut record).map_err(wrong)? {
            return Ok(None);
        }
        Ok(Some((line, record.deserialize(None).map_err(wrong)?)))
    }
}
