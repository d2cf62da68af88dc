//! Entries as a table for people who calculate with them, and what proves them as lines of JSON beside it.

pub mod csv;
pub mod parquet;

use std::io::{BufRead, Seek};

use serde::Deserialize;
use uuid::Uuid;

use crate::format::{Entry, Line};
use crate::read::{Jsonl, Lines, ReadError};

/// A row of the table.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Row {
    /// The chain.
    pub chain: Uuid,
    /// Its place.
    pub seq: i64,
    /// When it was written.
    pub at: i64,
    /// As the body says.
    pub kind: String,
    /// As the body says.
    pub action: Uuid,
    /// The hash of the entry.
    pub hash: String,
    /// Canonical JSON.
    pub body: String,
}

/// The rows of a table.
pub trait Rows {
    /// Begins again.
    fn rewind(&mut self) -> Result<(), ReadError>;
    /// The next row and its line or number.
    fn next(&mut self) -> Result<Option<(u64, Row)>, ReadError>;
}

/// A table, and what is beside it: its lines come first and last, and in their places those of entries that were left out.
pub struct Table<R, P> {
    rows: R,
    proof: Jsonl<P>,
    /// Whether the header was given.
    header: bool,
    row: Option<(u64, Entry)>,
    beside: Option<(u64, Line)>,
}

impl<R: Rows, P: BufRead + Seek> Table<R, P> {
    /// The entries of one reader, and the rest of another.
    pub fn new(rows: R, proof: P) -> Self {
        Self { rows, proof: Jsonl::new(proof), header: false, row: None, beside: None }
    }

    fn next_row(&mut self) -> Result<Option<(u64, Entry)>, ReadError> {
        let Some((line, row)) = self.rows.next()? else { return Ok(None) };
        if said(&row.body) != (row.kind, row.action) {
            return Err(ReadError::Line { line, why: "`kind` and `action` are not what `body` says".to_owned() });
        }
        let entry = Entry { chain: row.chain, seq: row.seq, at: row.at, hash: row.hash, body: row.body };
        Ok(Some((line, entry)))
    }
}

impl<R: Rows, P: BufRead + Seek> Lines for Table<R, P> {
    fn rewind(&mut self) -> Result<(), ReadError> {
        (self.header, self.row, self.beside) = (false, None, None);
        self.proof.rewind()?;
        self.rows.rewind()
    }

    fn next(&mut self) -> Result<Option<(u64, Line)>, ReadError> {
        if !self.header {
            self.header = true;
            return self.proof.next();
        }
        if self.row.is_none() {
            self.row = self.next_row()?;
        }
        if self.beside.is_none() {
            self.beside = self.proof.next()?;
        }
        // Chains are in the order of their ids. Where they are not, the chain that is followed shows it.
        let link_is_next = match (&self.row, &self.beside) {
            (Some((_, row)), Some((_, Line::Link(link)))) => (link.chain, link.seq) < (row.chain, row.seq),
            (row, _) => row.is_none(),
        };
        if link_is_next {
            return Ok(self.beside.take());
        }
        Ok(self.row.take().map(|(line, entry)| (line, Line::Entry(entry))))
    }
}

/// What a body says about its kind and action; nothing if it is none.
pub fn said(body: &str) -> (String, Uuid) {
    #[derive(Default, Deserialize)]
    #[serde(default)]
    struct Said {
        action: Uuid,
        kind: String,
    }
    let said: Said = serde_json::from_str(body).unwrap_or_default();
    (said.kind, said.action)
}
