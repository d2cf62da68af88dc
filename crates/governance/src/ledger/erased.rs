//! What of the content that the log says was kept is not there any more: what was erased, by whom, and what nobody explains.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::Record;
use systemprompt_model::ActionId;
use uuid::Uuid;

use super::canonical::canonical;
use super::erasure::{self, ErasedState};
use super::read::{self, StoredEntry};
use super::report::LedgerProblem;
use super::text::sha256;

/// What is that much younger than the oldest that is there has not expired.
const MARGIN: TimeDelta = TimeDelta::days(1);

/// The changes that erase.
const ERASING: [&str; 2] = ["content.erase", "content.redact"];

/// Changes looked up with one statement.
const PAGE: usize = 500;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Erasures {
    /// How many parts are erased on record.
    pub(super) erased: u64,
    pub(super) problems: Vec<LedgerProblem>,
    pub(super) notes: Vec<String>,
}

/// Looks at what the log says was kept.
#[derive(Debug)]
pub(super) struct ErasureCheck {
    /// The oldest that is there, by the class its part is of.
    oldest: BTreeMap<String, DateTime<Utc>>,
    erased: u64,
    /// What is neither erased nor old, and the first of it.
    lost: u64,
    first_lost: Option<(Uuid, String)>,
    /// Changes that erased something.
    changes: BTreeSet<Uuid>,
}

/// What is recorded of a change that erases.
#[derive(Default)]
struct OnRecord {
    /// There is an entry about it, whatever it says.
    is_known: bool,
    erases: bool,
    completed: bool,
    after: Option<String>,
}

/// What such a change says of itself.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ChangeFacts {
    operation: String,
    after_sha256: Option<String>,
}

impl ErasureCheck {
    pub(super) async fn new(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let rows = sqlx::query!(
            r#"
            SELECT
                CASE WHEN part LIKE '%.%' THEN split_part(part, '.', 1) ELSE part END AS "class!",
                MIN(created_at) AS "oldest!"
            FROM ledger_content
            GROUP BY 1
            "#
        )
        .fetch_all(connection)
        .await?;
        let oldest = rows.into_iter().map(|row| (row.class, row.oldest)).collect();
        Ok(Self { oldest, erased: 0, lost: 0, first_lost: None, changes: BTreeSet::new() })
    }

    /// Looks at some entries of the log.
    pub(super) async fn look(
        &mut self,
        connection: &mut PgConnection,
        entries: &[StoredEntry],
    ) -> Result<(), sqlx::Error> {
        let (mut actions, mut parts, mut times) = (Vec::new(), Vec::new(), Vec::new());
        for entry in entries {
            // All but a few bodies are told by the first look.
            if entry.body.contains(r#""operation":"content."#)
                && ERASING.iter().any(|erasing| entry.body.contains(&format!(r#""operation":"{erasing}""#)))
            {
                self.changes.insert(entry.action);
            }
            // Most say nothing of it, and need not be read.
            if !entry.body.contains(r#""kept":[{"#) {
                continue;
            }
            let kept = match entry.read().ok().flatten().map(|read| read.record) {
                Some(Record::Decided(decided)) => decided.kept,
                Some(Record::Ended(ended)) => ended.kept,
                _ => None,
            };
            for kept in kept.into_iter().flatten() {
                actions.push(entry.action);
                parts.push(kept.part);
                times.push(entry.at);
            }
        }
        if actions.is_empty() {
            return Ok(());
        }
        let gone = sqlx::query!(
            r#"
            SELECT k.action_id AS "action!", k.part AS "part!", k.at AS "at!", e.action_id IS NOT NULL AS "erased!"
            FROM UNNEST($1::uuid[], $2::text[], $3::timestamptz[]) AS k (action_id, part, at)
            LEFT JOIN ledger_erasures AS e ON e.action_id = k.action_id AND e.part = k.part
            WHERE NOT EXISTS (
                SELECT FROM ledger_content AS c WHERE c.action_id = k.action_id AND c.part = k.part
            )
            "#,
            &actions,
            &parts,
            &times,
        )
        .fetch_all(connection)
        .await?;
        for gone in gone {
            let class = gone.part.split_once('.').map_or(gone.part.as_str(), |(class, _)| class);
            if gone.erased {
                self.erased += 1;
            } else if self.oldest.get(class).is_some_and(|oldest| gone.at > *oldest + MARGIN) {
                self.lost += 1;
                self.first_lost.get_or_insert((gone.action, gone.part));
            }
        }
        Ok(())
    }

    /// Compares what is written down of erasures with what the log says of them.
    pub(super) async fn judge(self, connection: &mut PgConnection, dropped: bool) -> Result<Erasures, sqlx::Error> {
        let mut found = Erasures { erased: self.erased, ..Erasures::default() };
        if let Some((action, part)) = self.first_lost {
            found.notes.push(format!(
                "{} parts of content that were kept are gone, though older ones are there and no erasure says so; the \
                 first is {part} of the action {action}: a server that is killed loses what it had not written yet",
                self.lost
            ));
        }
        let written = sqlx::query!("SELECT change_id, COUNT(*) AS \"parts!\" FROM ledger_erasures GROUP BY 1")
            .fetch_all(&mut *connection)
            .await?;
        for row in written.iter().filter(|row| row.change_id.is_none()) {
            let problem = format!("{} parts were erased, and it is not written down by which change", row.parts);
            found.problems.push(LedgerProblem::row("ledger_erasures", "change_id NULL".to_owned(), problem));
        }
        let listed: BTreeSet<Uuid> = written.iter().filter_map(|row| row.change_id).collect();
        let all: Vec<Uuid> = self.changes.union(&listed).copied().collect();
        for changes in all.chunks(PAGE) {
            let mut on_record = recorded(connection, changes).await?;
            for change in changes {
                let recorded = on_record.remove(change).unwrap_or_default();
                if !recorded.erases {
                    // What was refused erased nothing. What retention dropped is not there to be asked.
                    if listed.contains(change) && (recorded.is_known || !dropped) {
                        found.problems.push(problem(*change, "no entry of the log says that this change erased it"));
                    }
                    continue;
                }
                // One that was interrupted may have erased some.
                if !recorded.completed {
                    continue;
                }
                let Some(after) = recorded.after else {
                    found.problems.push(problem(*change, "its end does not say what it erased"));
                    continue;
                };
                let state = erasure::state(connection, ActionId::from_uuid(*change)).await?;
                if digest(&state) != after {
                    found.problems.push(problem(*change, "it is not what this change recorded that it erased"));
                }
            }
        }
        Ok(found)
    }
}

/// What the log says of these changes.
async fn recorded(connection: &mut PgConnection, changes: &[Uuid]) -> Result<BTreeMap<Uuid, OnRecord>, sqlx::Error> {
    let mut all: BTreeMap<Uuid, OnRecord> = BTreeMap::new();
    for entry in read::about(connection, changes).await? {
        let recorded = all.entry(entry.action).or_default();
        recorded.is_known = true;
        match entry.read().ok().flatten().map(|read| read.record) {
            Some(Record::Decided(decided)) if !decided.is_refused() => {
                let facts: ChangeFacts = decided.effect.facts.read().unwrap_or_default();
                recorded.erases |= ERASING.contains(&facts.operation.as_str());
            }
            Some(Record::Ended(ended)) if ended.status == "completed" => {
                let facts: ChangeFacts = ended.facts.as_ref().and_then(|facts| facts.read().ok()).unwrap_or_default();
                recorded.completed = true;
                recorded.after = facts.after_sha256;
            }
            _ => {}
        }
    }
    Ok(all)
}

/// As the end of a change has it.
fn digest(state: &ErasedState) -> String {
    hex::encode(sha256(canonical(&serde_json::to_value(state).unwrap_or_default()).as_bytes()))
}

fn problem(change: Uuid, problem: &str) -> LedgerProblem {
    let row = format!("change_id {change}");
    LedgerProblem { action: Some(change), ..LedgerProblem::row("ledger_erasures", row, problem.to_owned()) }
}
