//! A table as Apache Parquet.

use std::fs::File;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Row as Record, RowAccessor as _};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::SchemaDescriptor;

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
        let line = self.number + 1;
        let next = unbroken(|| self.rows.next()).map_err(|why| ReadError::Line { line, why })?;
        let Some(record) = next else { return Ok(None) };
        self.number = line;
        let row = record.map_err(|error| error.to_string()).and_then(|record| row(&record));
        Ok(Some((line, row.map_err(|why| ReadError::Line { line, why })?)))
    }
}

fn rows(path: &Path) -> Result<RowIter<'static>, ReadError> {
    let io = |error: io::Error| ReadError::Io(path.display().to_string(), error);
    let unread = |error: ParquetError| io(io::Error::other(error));
    let file = File::open(path).map_err(io)?;
    let broken = |why: String| io(io::Error::other(why));
    let reader = unbroken(|| SerializedFileReader::new(file)).map_err(broken)?.map_err(unread)?;
    if !is_ours(reader.metadata().file_metadata().schema_descr()) {
        let why = format!("the columns are not {}, as an export has them", COLUMNS.join(", "));
        return Err(broken(why));
    }
    unbroken(|| RowIter::from_file_into(Box::new(reader))).map_err(broken)
}

/// The library takes some things in a file for granted and panics where they are not so; its file is a stranger's.
fn unbroken<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(read)).map_err(|_| "it contradicts itself, and cannot be read".to_owned())
}

/// Whether these are our columns: by their names, types and that each row has one value of each.
fn is_ours(schema: &SchemaDescriptor) -> bool {
    let ours = parse_message_type(SCHEMA).expect("our own schema can be read");
    let ours = SchemaDescriptor::new(Arc::new(ours));
    schema.num_columns() == ours.num_columns()
        && schema.columns().iter().zip(ours.columns()).all(|(column, own)| {
            column.path() == own.path()
                && column.physical_type() == own.physical_type()
                && column.max_rep_level() == own.max_rep_level()
        })
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
