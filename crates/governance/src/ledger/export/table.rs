//! Entries as tables: one row each, in the columns that `systemprompt_verify` reads.

use std::io::{self, Write};
use std::sync::Arc;

use parquet::basic::Compression;
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use systemprompt_verify::format::COLUMNS;
use systemprompt_verify::table::parquet::SCHEMA;

use crate::ledger::read::StoredEntry;

/// Bytes of bodies that are stored together in a table of Parquet, and held in memory until then.
const GROUP: usize = 16 * 1024 * 1024;

/// A table of CSV (RFC 4180).
pub(super) struct CsvTable<'o> {
    out: &'o mut (dyn Write + Send),
}

impl<'o> CsvTable<'o> {
    pub(super) fn begin(out: &'o mut (dyn Write + Send)) -> io::Result<Self> {
        writeln!(out, "{}", COLUMNS.join(","))?;
        Ok(Self { out })
    }

    pub(super) fn row(&mut self, entry: &StoredEntry) -> io::Result<()> {
        let StoredEntry { chain, seq, at, kind, action, body, hash } = entry;
        let (at, hash) = (at.timestamp_micros(), hex::encode(hash));
        writeln!(self.out, "{chain},{seq},{at},{},{action},{hash},{}", quoted(kind), quoted(body))
    }

    pub(super) fn end(self) -> io::Result<()> {
        self.out.flush()
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

/// A table of Apache Parquet. The bodies of a group are compressed together.
pub(super) struct ParquetTable<'o> {
    out: SerializedFileWriter<&'o mut (dyn Write + Send)>,
    waiting: Vec<StoredEntry>,
    bytes: usize,
}

impl<'o> ParquetTable<'o> {
    pub(super) fn begin(out: &'o mut (dyn Write + Send)) -> io::Result<Self> {
        let schema = parse_message_type(SCHEMA).map_err(failed)?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by("systemprompt".to_owned())
            .build();
        let out = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties)).map_err(failed)?;
        Ok(Self { out, waiting: Vec::new(), bytes: 0 })
    }

    pub(super) fn row(&mut self, entry: StoredEntry) -> io::Result<()> {
        self.bytes += entry.body.len();
        self.waiting.push(entry);
        if self.bytes < GROUP { Ok(()) } else { self.group() }
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        if !self.waiting.is_empty() {
            self.group()?;
        }
        self.out.finish().map_err(failed)?;
        self.out.inner_mut().flush()
    }

    /// Writes what waits, column by column as [`COLUMNS`] lists them.
    fn group(&mut self) -> io::Result<()> {
        self.bytes = 0;
        let rows = std::mem::take(&mut self.waiting);
        let mut group = self.out.next_row_group().map_err(failed)?;
        texts(&mut group, rows.iter().map(|row| row.chain.to_string()))?;
        numbers(&mut group, rows.iter().map(|row| row.seq))?;
        numbers(&mut group, rows.iter().map(|row| row.at.timestamp_micros()))?;
        texts(&mut group, rows.iter().map(|row| row.kind.as_str()))?;
        texts(&mut group, rows.iter().map(|row| row.action.to_string()))?;
        texts(&mut group, rows.iter().map(|row| hex::encode(&row.hash)))?;
        texts(&mut group, rows.iter().map(|row| row.body.as_str()))?;
        group.close().map_err(failed)?;
        Ok(())
    }
}

type Group<'w, 'o> = SerializedRowGroupWriter<'w, &'o mut (dyn Write + Send)>;

fn texts<T: AsRef<[u8]>>(group: &mut Group<'_, '_>, values: impl Iterator<Item = T>) -> io::Result<()> {
    let values: Vec<ByteArray> = values.map(|value| ByteArray::from(value.as_ref().to_vec())).collect();
    let mut column = group.next_column().map_err(failed)?.expect("there is a column for each");
    column.typed::<ByteArrayType>().write_batch(&values, None, None).map_err(failed)?;
    column.close().map_err(failed)
}

fn numbers(group: &mut Group<'_, '_>, values: impl Iterator<Item = i64>) -> io::Result<()> {
    let values: Vec<i64> = values.collect();
    let mut column = group.next_column().map_err(failed)?.expect("there is a column for each");
    column.typed::<Int64Type>().write_batch(&values, None, None).map_err(failed)?;
    column.close().map_err(failed)
}

fn failed(error: ParquetError) -> io::Error {
    io::Error::other(error)
}
