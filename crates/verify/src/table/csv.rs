//! A table as CSV (RFC 4180).

use std::io::{Read, Seek};

use super::{Row, Rows};
use crate::format::COLUMNS;
use crate::read::ReadError;

/// Rows of CSV below the names of their columns.
pub struct Csv<R> {
    reader: csv::Reader<R>,
    begun: bool,
}

impl<R: Read + Seek> Csv<R> {
    /// The rows of this reader.
    pub fn new(reader: R) -> Self {
        Self { reader: csv::ReaderBuilder::new().has_headers(true).from_reader(reader), begun: false }
    }
}

impl<R: Read + Seek> Rows for Csv<R> {
    fn rewind(&mut self) -> Result<(), ReadError> {
        let unread = |error: csv::Error| ReadError::Io("the entries".to_owned(), error.into());
        self.reader.seek(csv::Position::new()).map_err(unread)?;
        // Behind the names of the columns.
        self.reader.read_record(&mut csv::StringRecord::new()).map_err(unread)?;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(u64, Row)>, ReadError> {
        if !self.begun {
            self.begun = true;
            if !self.reader.headers().is_ok_and(|columns| columns.iter().eq(COLUMNS)) {
                let why = format!("the columns are not {}", COLUMNS.join(","));
                return Err(ReadError::Line { line: 1, why });
            }
        }
        let line = self.reader.position().line();
        let wrong = |error: csv::Error| ReadError::Line { line, why: error.to_string() };
        let mut record = csv::StringRecord::new();
        if !self.reader.read_record(&mut record).map_err(wrong)? {
            return Ok(None);
        }
        Ok(Some((line, record.deserialize(None).map_err(wrong)?)))
    }
}
