//! A table as Apache Parquet.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use parquet::errors::ParquetError;
use parquet::file::reader::SerializedFileReader;
use parquet::record::reader::RowIter;
use parquet::record::{Row as Record, RowAccessor as _};

use super::{Row, Rows};
use crate::format::COLUMNS;
use crate::read::ReadError;

/// How the columns are stored.
pub const SCHEMA: &str = "message ledger_entry {
    REQUIRED BYTE_ARRAY chain (STRING);
    REQUIRED INT64 seq;
    REQUIRED INT64 at (TIMESTAMP(MICROS, true));
    REQUIRED BYTE_ARRAY kind (STRING);
    REQUIRED BYTE_ARRAY action (STRING);
    REQUIRED BYTE_ARRAY hash (STRING);
    REQUIRED BYTE_ARRAY body (STRING);
}";

/// Rows of a file of Parquet.
pub struct Parquet {
    path: PathBuf,
    rows: RowIter<'static>,
    number: u64,
}

impl Parquet {
    /// The rows of this file.
    pub fn open(path: &Path) -> Result<Self, ReadError> {
        Ok(Self { path: path.to_owned(), rows: rows(path)?, number: 0 })
    }
}

impl Rows for Parquet {
    fn rewind(&mut self) -> Result<(), ReadError> {
        *self = Self::open(&self.path)?;
        Ok(())
    }

    fn next(&mut self) -> Result<Option<(u64, Row)>, ReadError> {
        let Some(record) = self.rows.next() else { return Ok(None) };
        self.number += 1;
        let line = self.number;
        let row = record.map_err(|error| error.to_string()).and_then(|record| row(&record));
        Ok(Some((line, row.map_err(|why| ReadError::Line { line, why })?)))
    }
}

fn rows(path: &Path) -> Result<RowIter<'static>, ReadError> {
    let io = |error: io::Error| ReadError::Io(path.display().to_string(), error);
    let unread = |error: ParquetError| io(io::Error::other(error));
    let reader = SerializedFileReader::new(File::open(path).map_err(io)?).map_err(unread)?;
    let rows = RowIter::from_file_into(Box::new(reader));
    Ok(rows)
}

fn row(record: &Record) -> Result<Row, String> {
    if !record.get_column_iter().map(|(name, _)| name.as_str()).eq(COLUMNS) {
        return Err(format!("the columns are not {}", COLUMNS.join(", ")));
    }
    let text = |at: usize| record.get_string(at).cloned().map_err(|error| error.to_string());
    let id = |at: usize| text(at)?.parse().map_err(|_| format!("`{}` is no id", COLUMNS[at]));
    Ok(Row {
        chain: id(0)?,
        seq: record.get_long(1).map_err(|error| error.to_string())?,
        at: record.get_timestamp_micros(2).map_err(|error| error.to_string())?,
        kind: text(3)?,
        action: id(4)?,
        hash: text(5)?,
        body: text(6)?,
    })
}
