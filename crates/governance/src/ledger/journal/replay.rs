//! What a run that died left in the journal, brought into the ledger by the next.
//!
//! No statement of the dead run can write any more when this begins: our own connection began a new generation of the chain.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;

use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::EntryKind;
use systemprompt_model::{ActionId, with_causes};
use tokio::sync::oneshot;
use uuid::Uuid;

use super::super::entry::{self, Sealed};
use super::super::queue::{BATCH_LIMIT, Following};
use super::super::shared::Shared;
use super::record::Record;
use super::segment::{self, Contents};
use super::{DAMAGED, Journal};

/// What earlier runs left.
#[derive(Default)]
struct Left {
    /// In order.
    records: Vec<Record>,
    /// The segments that may go once the records are written.
    read: Vec<PathBuf>,
    /// Those that are kept then, for whoever wants to know what was done to them.
    damaged: Vec<PathBuf>,
}

/// What was brought into the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Replayed {
    /// Entries that had waited to be written.
    pub(in super::super) entries: u64,
    /// Actions that ended with the process, settled with what had been seen of them.
    pub(in super::super) settled: u64,
}

/// Why the journal could not be brought into the ledger.
#[derive(Debug, thiserror::Error)]
pub(in super::super) enum ReplayError {
    #[error("reading what the ledger has of the journal")]
    Database(#[from] sqlx::Error),
    #[error("the ledger stopped before the journal was written")]
    Stopped,
}

/// What the ledger has of a record.
struct Known {
    written: bool,
    decided: bool,
    closed: bool,
}

/// Writes what is not in the ledger yet, in order, and forgets it.
pub(in super::super) async fn replay(
    journal: &Journal,
    shared: &Shared,
    connection: &mut PgConnection,
) -> Result<Replayed, ReplayError> {
    let left = journal.left.lock().expect("no panic while the lock is held").clone();
    let Left { records, read, damaged } = read_all(journal, left).await;
    let mut replayed = Replayed::default();
    // Decisions that are in no ledger yet, until their end comes; and how actions stood last.
    let mut open: HashMap<Uuid, Sealed> = HashMap::new();
    let mut standing: HashMap<Uuid, Sealed> = HashMap::new();
    let mut closed: HashSet<Uuid> = HashSet::new();
    let mut records = records.into_iter().peekable();
    while records.peek().is_some() {
        let some: Vec<Record> = records.by_ref().take(BATCH_LIMIT).collect();
        let known = compare(connection, &some).await?;
        let mut missing = Vec::new();
        for (Record { is_entry, entry, content }, known) in some.into_iter().zip(known) {
            let action = entry.action;
            if known.closed {
                closed.insert(action);
            }
            if !is_entry {
                if known.decided || open.contains_key(&action) {
                    standing.insert(action, entry);
                }
                continue;
            }
            if known.written {
                continue;
            }
            match entry.kind {
                EntryKind::Decided => drop(open.insert(action, entry.clone())),
                // Of what was never decided nothing was done.
                _ if !known.decided && !open.contains_key(&action) => continue,
                EntryKind::Ended | EntryKind::Abandoned => drop(closed.insert(action)),
                EntryKind::Attempted | EntryKind::Checkpoint => {}
            }
            missing.push(Following::new(entry).keeping(content).alone());
        }
        replayed.entries += missing.len() as u64;
        write(shared, missing).await?;
    }

    let now = shared.ambient.now();
    let mut ends = Vec::new();
    for (action, end) in standing {
        open.remove(&action);
        if closed.insert(action) {
            ends.push(Following::new(end).alone());
        }
    }
    replayed.settled = ends.len() as u64;
    for (action, decided) in open {
        if closed.contains(&action) || !opens(&decided) {
            continue;
        }
        let effect = effect_of(&decided);
        ends.push(Following::new(entry::abandoned(ActionId::from_uuid(action), &effect, now)).alone());
    }
    while !ends.is_empty() {
        let some = ends.split_off(ends.len().saturating_sub(BATCH_LIMIT));
        write(shared, some).await?;
    }
    for path in read {
        if let Err(error) = fs::remove_file(&path) {
            tracing::warn!(%error, file = %path.display(), "a journal that is in the ledger could not be deleted");
        }
    }
    // Only now: what is sound in them would not be found again if it had not been written.
    for path in damaged {
        put_aside(&path);
    }
    journal.left.lock().expect("no panic while the lock is held").clear();
    Ok(replayed)
}

/// What is in these segments.
async fn read_all(journal: &Journal, left: Vec<PathBuf>) -> Left {
    let key = journal.key.clone();
    let reading = tokio::task::spawn_blocking(move || {
        let mut all = Left::default();
        for path in left {
            match segment::read(&path, key.expose().as_bytes()) {
                Ok(Contents { records: found, is_damaged }) => {
                    all.records.extend(found);
                    if is_damaged { all.damaged.push(path) } else { all.read.push(path) }
                }
                Err(error) => {
                    tracing::error!(error = %with_causes(&error), file = %path.display(), "a journal cannot be read");
                }
            }
        }
        all
    });
    reading.await.unwrap_or_default()
}

/// Somebody without the key changed it. It is kept for whoever wants to know, and read no more.
fn put_aside(path: &std::path::Path) {
    let aside = path.with_extension(DAMAGED);
    let kept = fs::rename(path, &aside).is_ok();
    tracing::error!(
        file = %if kept { aside } else { path.to_owned() }.display(),
        "a journal of the ledger was changed, or belongs to another home; what follows the change is not read"
    );
}

async fn compare(connection: &mut PgConnection, records: &[Record]) -> Result<Vec<Known>, sqlx::Error> {
    let actions: Vec<Uuid> = records.iter().map(|record| record.entry.action).collect();
    let kinds: Vec<String> = records.iter().map(|record| record.entry.kind.as_str().to_owned()).collect();
    let bodies: Vec<String> = records.iter().map(|record| record.entry.body.clone()).collect();
    sqlx::query!(
        r#"
        SELECT
            EXISTS (
                SELECT FROM ledger AS l
                WHERE l.action_id = j.action_id AND l.kind = j.kind AND l.body = j.body
            ) AS "written!",
            EXISTS (
                SELECT FROM ledger AS l
                WHERE l.action_id = j.action_id AND l.kind = 'decided'
            ) AS "decided!",
            EXISTS (
                SELECT FROM ledger AS l
                WHERE l.action_id = j.action_id AND l.kind IN ('ended', 'abandoned')
            ) AS "closed!"
        FROM UNNEST($1::uuid[], $2::text[], $3::text[]) WITH ORDINALITY AS j (action_id, kind, body, place)
        ORDER BY j.place
        "#,
        &actions,
        &kinds,
        &bodies,
    )
    .map(|row| Known { written: row.written, decided: row.decided, closed: row.closed })
    .fetch_all(connection)
    .await
}

async fn write(shared: &Shared, entries: Vec<Following>) -> Result<(), ReplayError> {
    let mut written: Vec<oneshot::Receiver<()>> = Vec::with_capacity(entries.len());
    for next in entries {
        let (next, receiver) = next.watched();
        shared.queue.push_following(next);
        written.push(receiver);
    }
    for written in written {
        written.await.map_err(|_| ReplayError::Stopped)?;
    }
    Ok(())
}

/// Whether the decision let something be done.
fn opens(decided: &Sealed) -> bool {
    member(decided, "decision", "verdict").is_some_and(|verdict| verdict != "deny")
}

fn effect_of(decided: &Sealed) -> String {
    member(decided, "effect", "kind").unwrap_or_default()
}

fn member(entry: &Sealed, object: &str, key: &str) -> Option<String> {
    let body: serde_json::Value = serde_json::from_str(&entry.body).ok()?;
    Some(body.get(object)?.get(key)?.as_str()?.to_owned())
}
