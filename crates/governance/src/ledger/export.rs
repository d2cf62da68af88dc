//! The log as lines of JSON, and its verification from these lines alone.
//!
//! A line is `{"chain", "seq", "at", "hash", "body"}`: `body` is the text that was hashed, `at` microseconds since 1970.
//! The first line says what to begin with: `{"chain", "name", "seq", "hash"}` for every chain.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Seek, Write};

use chrono::DateTime;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use uuid::Uuid;

use super::chain::Head;
use super::checkpoint::Remembered;
use super::expected::Expected;
use super::lines;
use super::read::{self, StoredEntry};
use super::report::{LedgerProblem, VerifyReport};
use super::text::Sha;
use super::verify::ChainCheck;

/// Bytes of a line at most.
const LINE_LIMIT: u64 = 64 * 1024 * 1024;

/// Entries read with one statement.
const PAGE: i64 = 2000;

/// The first line.
#[derive(Debug, Serialize, Deserialize)]
struct Header {
    chains: Vec<Beginning>,
}

/// Where a chain begins: before its first entry, or after what retention has dropped.
#[derive(Debug, Serialize, Deserialize)]
struct Beginning {
    chain: Uuid,
    name: String,
    seq: i64,
    hash: String,
}

/// An entry.
#[derive(Debug, Serialize, Deserialize)]
struct Line {
    chain: Uuid,
    seq: i64,
    at: i64,
    hash: String,
    body: String,
}

/// Why a ledger cannot be exported, or an export not be read.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The database.
    #[error("reading the ledger")]
    Database(#[from] sqlx::Error),
    /// The lines.
    #[error("reading or writing the export")]
    Io(#[from] io::Error),
    /// A line is none.
    #[error("line {line} is not one of an export")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong.
        source: serde_json::Error,
    },
    /// The file is empty.
    #[error("the export has no first line")]
    Empty,
}

/// Writes the whole log, chain by chain, and gives the number of entries.
pub async fn export(pool: &PgPool, mut out: impl Write) -> Result<u64, ExportError> {
    let chains = sqlx::query!(
        "SELECT chain_id, name, seq, dropped_seq, dropped_hash FROM ledger_chains WHERE seq > 0 ORDER BY chain_id"
    )
    .fetch_all(pool)
    .await?;
    let beginnings = chains.iter().map(|row| Beginning {
        chain: row.chain_id,
        name: row.name.clone(),
        seq: row.dropped_seq,
        hash: match &row.dropped_hash {
            Some(hash) if row.dropped_seq > 0 => hex::encode(hash),
            _ => hex::encode(Head::first(row.chain_id).hash),
        },
    });
    write_line(&mut out, &Header { chains: beginnings.collect() })?;
    let mut connection = pool.acquire().await?;
    let mut written = 0;
    for row in &chains {
        let mut after = row.dropped_seq;
        loop {
            let entries = read::chain(&mut connection, row.chain_id, after, row.seq, PAGE).await?;
            let Some(last) = entries.last() else { break };
            after = last.seq;
            for entry in entries {
                let line = Line {
                    chain: entry.chain,
                    seq: entry.seq,
                    at: entry.at.timestamp_micros(),
                    hash: hex::encode(entry.hash),
                    body: entry.body,
                };
                write_line(&mut out, &line)?;
                written += 1;
            }
        }
    }
    out.flush()?;
    Ok(written)
}

/// Verifies an export, against what the home remembers. Reads it twice: what is found of the chains comes first, whether
/// it is what checkpoints saw second.
pub fn verify_export(mut export: impl BufRead + Seek, home: &Remembered) -> Result<VerifyReport, ExportError> {
    let mut expected = Expected::of(home);
    let mut report = home.report();
    let first = lines::next(&mut export, LINE_LIMIT)?.ok_or(ExportError::Empty)?;
    let header: Header = serde_json::from_slice(&first.text).map_err(|source| ExportError::Line { line: 1, source })?;
    let mut checks: BTreeMap<Uuid, (String, ChainCheck)> = BTreeMap::new();
    for beginning in header.chains {
        let mut start = Head::first(beginning.chain);
        if let Some(hash) = hex::decode(&beginning.hash).ok().and_then(|hash| Sha::try_from(hash).ok())
            && beginning.seq > 0
        {
            start = Head { seq: beginning.seq, hash, at: DateTime::UNIX_EPOCH };
        }
        checks.insert(beginning.chain, (beginning.name, ChainCheck::new(beginning.chain, start)));
    }
    let mut number = 1;
    let mut strays = BTreeMap::new();
    while let Some(line) = lines::next(&mut export, LINE_LIMIT)? {
        number += 1;
        let line: Line =
            serde_json::from_slice(&line.text).map_err(|source| ExportError::Line { line: number, source })?;
        match checks.get_mut(&line.chain) {
            Some((_, check)) if check.problem.is_none() => {
                check.follow(&line.into_entry(), &mut expected);
            }
            Some(_) => {}
            None => {
                strays.entry(line.chain).or_insert(line.seq);
            }
        }
    }
    let followed: BTreeMap<_, _> = checks.iter().map(|(chain, (_, check))| (*chain, check.followed())).collect();
    for (name, check) in checks.into_values() {
        report.add(&name, check);
    }

    export.rewind()?;
    lines::next(&mut export, LINE_LIMIT)?;
    while let Some(line) = lines::next(&mut export, LINE_LIMIT)? {
        if let Ok(line) = serde_json::from_slice::<Line>(&line.text)
            && followed.get(&line.chain).is_some_and(|chain| chain.has(line.seq))
        {
            report.problems.extend(expected.differs(line.chain, line.seq, &line.hash));
        }
    }
    let (problems, notes) = expected.judge(&followed);
    report.problems.extend(problems);
    report.notes.extend(notes);
    report.problems.extend(strays.into_iter().map(|(chain, seq)| {
        LedgerProblem::at(chain, seq, "it is of a chain that the first line does not list".to_owned())
    }));
    Ok(report)
}

impl Line {
    /// The entry as it is stored: kind and action are what the body says.
    fn into_entry(self) -> StoredEntry {
        let (kind, action) = read::said(&self.body);
        StoredEntry {
            chain: self.chain,
            seq: self.seq,
            at: DateTime::from_timestamp_micros(self.at).unwrap_or_default(),
            kind,
            action,
            body: self.body,
            hash: hex::decode(self.hash).unwrap_or_default(),
        }
    }
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, line)?;
    out.write_all(b"\n")
}
