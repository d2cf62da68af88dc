//! Exporting the log, with what proves it: `systemprompt_verify` reads it without a database, and says what its parts are.
//!
//! The last checkpoint of an export is made for it: it signs where its chains end, so a signature covers every entry.

pub mod selection;
mod table;

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::ChainHead;
use systemprompt_verify::format::{Checkpoint, End, Entry, FORMAT, Head, Header, Key, Line, Link, Place, Span};
use systemprompt_verify::verify::Trust;

use self::selection::{Chosen, Selection};
use self::table::{CsvTable, ParquetTable};
use super::chain;
use super::checkpoint::{CheckpointError, Checkpoints, Remembered, SignedCheckpoint};
use super::keys::PublicKey;
use super::read::{self, StoredEntry};
use super::text::sha256;

/// Entries read with one statement.
const PAGE: i64 = 2000;

/// What is exported, and what proves it.
#[derive(Debug, Default)]
pub struct Export<'a> {
    /// Entries of this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Entries before this time.
    pub until: Option<DateTime<Utc>>,
    /// Of these only entries of such actions; of the others what holds them in their chains.
    pub only: Selection,
    /// What signs where it ends; nothing in a home without a key.
    pub signer: Option<&'a Checkpoints>,
    /// What the home remembers.
    pub home: Option<&'a Remembered>,
}

/// Why a ledger cannot be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database.
    #[error("reading the ledger")]
    Database(#[from] sqlx::Error),
    /// The file.
    #[error("writing the export")]
    Io(#[from] io::Error),
    /// The signature.
    #[error("signing the export")]
    Sign(#[from] CheckpointError),
}

/// Where an export goes, and in which form.
pub enum Out<'o> {
    /// Lines of JSON, proofs among them.
    Jsonl(&'o mut (dyn Write + Send)),
    /// A table of CSV, with the proofs in a file beside it.
    Csv {
        /// The table.
        entries: &'o mut (dyn Write + Send),
        /// Everything else.
        proof: &'o mut (dyn Write + Send),
    },
    /// A table of Parquet, with the proofs in a file beside it.
    Parquet {
        /// The table.
        entries: &'o mut (dyn Write + Send),
        /// Everything else.
        proof: &'o mut (dyn Write + Send),
    },
}

/// What was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exported {
    /// How many entries.
    pub entries: u64,
    /// How many were left out in between.
    pub left_out: u64,
}

/// Where entries are written to.
enum Entries<'o> {
    Lines,
    Csv(CsvTable<'o>),
    Parquet(Box<ParquetTable<'o>>),
}

struct Writing<'o> {
    lines: &'o mut (dyn Write + Send),
    entries: Entries<'o>,
}

/// Writes an export.
pub async fn export(
    pool: &PgPool,
    export: &Export<'_>,
    now: DateTime<Utc>,
    out: Out<'_>,
) -> Result<Exported, ExportError> {
    let mut out = Writing::begin(out)?;
    // One snapshot, so that no chain is ahead of what another one says of it.
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let chains = spans(&mut transaction, export).await?;
    let heads: Vec<ChainHead> = chains
        .iter()
        .filter(|span| span.end.seq > span.after.seq)
        .map(|span| ChainHead { chain: span.chain, hash: span.end.hash.clone(), seq: span.end.seq })
        .collect();
    let keys = export.home.map_or(&[][..], Remembered::keys);
    let header = Header {
        format: FORMAT.to_owned(),
        exported_at: now.timestamp_micros(),
        since: export.since.map(|at| at.timestamp_micros()),
        until: export.until.map(|at| at.timestamp_micros()),
        filter: export.only.words(),
        chains: chains.clone(),
        keys: keys.iter().map(public).collect(),
    };
    out.line(&Line::Header(header))?;
    let chosen =
        if export.only.is_everything() { None } else { Some(choose(&mut transaction, &chains, &export.only).await?) };
    let mut counted = End::default();
    for span in &chains {
        let mut place = (span.after.seq + 1, DateTime::UNIX_EPOCH);
        while let Some(entries) = page(&mut transaction, span, &mut place).await? {
            for entry in entries {
                if chosen.as_ref().is_none_or(|chosen| entry.action.is_nil() || chosen.has(entry.action)) {
                    out.entry(entry)?;
                    counted.entries += 1;
                } else {
                    out.line(&Line::Link(link(&entry)))?;
                    counted.links += 1;
                }
            }
        }
    }
    transaction.rollback().await?;
    let fits = |checkpoint: &&SignedCheckpoint| {
        // Of a part of the log nothing is said that lies behind it.
        export.until.is_none()
            || checkpoint
                .heads
                .iter()
                .chain(&checkpoint.dropped)
                .all(|head| chains.iter().any(|span| span.chain == head.chain && head.seq <= span.end.seq))
    };
    let kept = export.home.map_or(&[][..], Remembered::checkpoints).iter().filter(fits).cloned();
    let own = export.signer.map(|signer| signer.sign(now, Vec::new(), heads)).transpose()?;
    for checkpoint in kept.chain(own) {
        out.line(&Line::Checkpoint(portable(&checkpoint)))?;
        counted.checkpoints += 1;
    }
    out.line(&Line::End(counted.clone()))?;
    out.end()?;
    Ok(Exported { entries: counted.entries, left_out: counted.links })
}

/// The next entries of a chain.
async fn page(
    connection: &mut PgConnection,
    span: &Span,
    place: &mut (i64, DateTime<Utc>),
) -> Result<Option<Vec<StoredEntry>>, sqlx::Error> {
    let entries = read::chain(connection, span.chain, *place, span.end.seq, PAGE).await?;
    let Some(last) = entries.last() else { return Ok(None) };
    *place = (last.seq, last.at);
    Ok(Some(entries))
}

/// Which actions are meant: what is asked of some stands in their first entry, and of some in their last.
async fn choose(connection: &mut PgConnection, chains: &[Span], only: &Selection) -> Result<Chosen, sqlx::Error> {
    let mut chosen = Chosen::default();
    for span in chains {
        let mut place = (span.after.seq + 1, DateTime::UNIX_EPOCH);
        while let Some(entries) = page(connection, span, &mut place).await? {
            for entry in entries.iter().filter(|entry| !entry.action.is_nil()) {
                chosen.see(only, entry);
            }
        }
    }
    // Some began before what is exported, or in another chain that comes later.
    for actions in chosen.undecided().chunks(PAGE as usize) {
        for entry in read::about(connection, actions).await? {
            chosen.see(only, &entry);
        }
    }
    Ok(chosen)
}

fn link(entry: &StoredEntry) -> Link {
    Link {
        chain: entry.chain,
        seq: entry.seq,
        at: entry.at.timestamp_micros(),
        hash: hex::encode(&entry.hash),
        sha256: hex::encode(sha256(entry.body.as_bytes())),
    }
}

/// What of each chain is exported.
async fn spans(connection: &mut PgConnection, export: &Export<'_>) -> Result<Vec<Span>, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT chain_id, name, seq, hash, dropped_seq, dropped_hash FROM ledger_chains WHERE seq > 0 ORDER BY chain_id"
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut spans = Vec::with_capacity(rows.len());
    for row in rows {
        let place = |seq: i64, hash: &[u8]| Place { seq, hash: hex::encode(hash) };
        let mut after = match &row.dropped_hash {
            Some(hash) if row.dropped_seq > 0 => place(row.dropped_seq, hash),
            _ => place(0, &chain::Head::first(row.chain_id).hash),
        };
        let mut end = place(row.seq, &row.hash);
        if let Some(since) = export.since
            && let Some((seq, _, hash)) = read::last_before(&mut *connection, row.chain_id, row.seq, since).await?
            && seq > after.seq
        {
            after = place(seq, &hash);
        }
        if let Some(until) = export.until {
            end = match read::last_before(&mut *connection, row.chain_id, row.seq, until).await? {
                Some((seq, _, hash)) if seq > after.seq => place(seq, &hash),
                _ => after.clone(),
            };
        }
        spans.push(Span { chain: row.chain_id, name: row.name, after, end });
    }
    Ok(spans)
}

impl<'o> Writing<'o> {
    fn begin(out: Out<'o>) -> io::Result<Self> {
        Ok(match out {
            Out::Jsonl(lines) => Self { lines, entries: Entries::Lines },
            Out::Csv { entries, proof } => Self { lines: proof, entries: Entries::Csv(CsvTable::begin(entries)?) },
            Out::Parquet { entries, proof } => {
                Self { lines: proof, entries: Entries::Parquet(Box::new(ParquetTable::begin(entries)?)) }
            }
        })
    }

    fn line(&mut self, line: &Line) -> io::Result<()> {
        serde_json::to_writer(&mut *self.lines, line)?;
        self.lines.write_all(b"\n")
    }

    fn entry(&mut self, entry: StoredEntry) -> io::Result<()> {
        match &mut self.entries {
            Entries::Lines => self.line(&Line::Entry(Entry {
                chain: entry.chain,
                seq: entry.seq,
                at: entry.at.timestamp_micros(),
                hash: hex::encode(entry.hash),
                body: entry.body,
            })),
            Entries::Csv(table) => table.row(&entry),
            Entries::Parquet(table) => table.row(entry),
        }
    }

    fn end(self) -> io::Result<()> {
        match self.entries {
            Entries::Lines => {}
            Entries::Csv(table) => table.end()?,
            Entries::Parquet(table) => table.end()?,
        }
        self.lines.flush()
    }
}

/// What of a home a reader of exports may trust.
pub fn trust(home: &Remembered) -> Trust {
    Trust {
        keys: home.keys().iter().map(public).collect(),
        checkpoints: home.checkpoints().iter().map(portable).collect(),
    }
}

fn public(key: &PublicKey) -> Key {
    Key {
        key: key.key.clone(),
        public_key: key.public_key.clone(),
        follows: key.follows.clone(),
        endorsement: key.endorsement.clone(),
    }
}

fn portable(checkpoint: &SignedCheckpoint) -> Checkpoint {
    let heads = |heads: &[ChainHead]| {
        let head = |head: &ChainHead| Head { chain: head.chain, hash: head.hash.clone(), seq: head.seq };
        heads.iter().map(head).collect::<Vec<_>>()
    };
    Checkpoint {
        at: checkpoint.at.timestamp_micros(),
        dropped: heads(&checkpoint.dropped),
        heads: heads(&checkpoint.heads),
        key: checkpoint.signature.key.clone(),
        signature: checkpoint.signature.text.clone(),
    }
}
