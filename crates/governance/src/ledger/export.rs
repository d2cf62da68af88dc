//! Exporting the log, with what proves it: `systemprompt_verify` reads it without a database, and says what its parts are.
//!
//! The last checkpoint of an export is made for it: it signs where its chains end, so a signature covers every entry.

use std::io::{self, Write};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::ChainHead;
use systemprompt_verify::format::{COLUMNS, Checkpoint, End, Entry, FORMAT, Head, Header, Key, Line, Place, Span};
use systemprompt_verify::verify::Trust;

use super::chain;
use super::checkpoint::{CheckpointError, Checkpoints, Remembered, SignedCheckpoint};
use super::keys::PublicKey;
use super::read::{self, StoredEntry};

/// Entries read with one statement.
const PAGE: i64 = 2000;

/// In which form entries are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExportFormat {
    /// Lines of JSON, proofs among them.
    #[default]
    Jsonl,
    /// A table, with the proofs in a file beside it.
    Csv,
}

/// What is exported, and what proves it.
#[derive(Debug, Default)]
pub struct Export<'a> {
    /// Entries of this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Entries before this time.
    pub until: Option<DateTime<Utc>>,
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

/// Where an export goes.
enum Out<'o> {
    Jsonl(&'o mut dyn Write),
    Csv { entries: &'o mut dyn Write, proof: &'o mut dyn Write },
}

/// Writes lines of JSON, and gives the number of entries.
pub async fn export_jsonl(
    pool: &PgPool,
    export: &Export<'_>,
    now: DateTime<Utc>,
    out: &mut (dyn Write + Send),
) -> Result<u64, ExportError> {
    write(pool, export, now, Out::Jsonl(out)).await
}

/// Writes a table of entries, and everything else as lines of JSON elsewhere; gives the number of entries.
pub async fn export_csv(
    pool: &PgPool,
    export: &Export<'_>,
    now: DateTime<Utc>,
    entries: &mut (dyn Write + Send),
    proof: &mut (dyn Write + Send),
) -> Result<u64, ExportError> {
    write(pool, export, now, Out::Csv { entries, proof }).await
}

async fn write(pool: &PgPool, export: &Export<'_>, now: DateTime<Utc>, mut out: Out<'_>) -> Result<u64, ExportError> {
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
        chains: chains.clone(),
        keys: keys.iter().map(public).collect(),
    };
    if let Out::Csv { entries, .. } = &mut out {
        writeln!(entries, "{}", COLUMNS.join(","))?;
    }
    out.line(&Line::Header(header))?;
    let mut counted = End { entries: 0, checkpoints: 0 };
    for span in &chains {
        let mut place = (span.after.seq + 1, DateTime::UNIX_EPOCH);
        loop {
            let entries = read::chain(&mut transaction, span.chain, place, span.end.seq, PAGE).await?;
            let Some(last) = entries.last() else { break };
            place = (last.seq, last.at);
            for entry in entries {
                out.entry(entry)?;
                counted.entries += 1;
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
    out.flush()?;
    Ok(counted.entries)
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

impl Out<'_> {
    fn line(&mut self, line: &Line) -> io::Result<()> {
        let (Self::Jsonl(out) | Self::Csv { proof: out, .. }) = self;
        serde_json::to_writer(&mut *out, line)?;
        out.write_all(b"\n")
    }

    fn entry(&mut self, entry: StoredEntry) -> io::Result<()> {
        let (kind, action) = (entry.kind, entry.action);
        let entry = Entry {
            chain: entry.chain,
            seq: entry.seq,
            at: entry.at.timestamp_micros(),
            hash: hex::encode(entry.hash),
            body: entry.body,
        };
        match self {
            Self::Jsonl(_) => self.line(&Line::Entry(entry)),
            Self::Csv { entries, .. } => {
                let Entry { chain, seq, at, hash, body } = entry;
                writeln!(entries, "{chain},{seq},{at},{},{action},{hash},{}", quoted(&kind), quoted(&body))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Jsonl(out) => out.flush(),
            Self::Csv { entries, proof } => entries.flush().and_then(|()| proof.flush()),
        }
    }
}

/// A cell of a table, as RFC 4180 writes one.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
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
