//! Comparing what is kept of prompts, answers and tool calls with the digests that the log has of it.
//!
//! What is not there any more may have expired or been erased (`erased.rs`). What is there must be what an entry says, and not
//! have been erased.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{KeptContent, Record};
use uuid::Uuid;

use super::content::{ANSWER, REQUEST};
use super::kept::BETWEEN;
use super::read;
use super::report::LedgerProblem;

/// Parts looked at with one statement. Their digests are made by the database, so little of them is held here.
const PAGE: i64 = 1000;

/// How many parts are named.
const NAMED: usize = 100;

/// What was found.
#[derive(Debug, Default)]
pub(super) struct ContentCheck {
    /// How many parts are what the log says.
    pub(super) sound: u64,
    /// How many parts the log has no digest of, because it was written before there were any.
    pub(super) unknown: u64,
    pub(super) problems: Vec<LedgerProblem>,
}

/// What the log says about the content of one action.
#[derive(Debug, Default)]
struct Said {
    /// Whether an entry lists what is kept.
    lists: bool,
    kept: Vec<KeptContent>,
    /// Digests of what was judged, and of what came back.
    judged: BTreeSet<String>,
    answered: BTreeSet<String>,
    /// When it was written.
    at: BTreeSet<DateTime<Utc>>,
}

struct KeptRow {
    action: Uuid,
    part: String,
    created_at: DateTime<Utc>,
    bytes: i64,
    sha256: String,
    /// Whether it is written down as erased.
    erased: bool,
}

/// Looks at all parts that were kept in this time. `dropped`: whether retention has dropped entries, so that content may
/// have outlived what was said of it.
pub(super) async fn check(
    connection: &mut PgConnection,
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
    dropped: bool,
) -> Result<ContentCheck, sqlx::Error> {
    let mut check = ContentCheck::default();
    let mut more = 0;
    let (mut action, mut part) = (Uuid::nil(), String::new());
    loop {
        let parts = page(connection, (action, &part), since, until).await?;
        let Some(last) = parts.last() else { break };
        (action, part) = (last.action, last.part.clone());
        let actions: BTreeSet<Uuid> = parts.iter().map(|part| part.action).collect();
        let said = said(connection, &actions.into_iter().collect::<Vec<_>>()).await?;
        for part in parts {
            let problem = match said.get(&part.action) {
                _ if part.erased => "it was erased, and is here again",
                None if dropped => {
                    check.unknown += 1;
                    continue;
                }
                None => "no entry speaks of the action it is of",
                Some(said) => match said.judge(&part, dropped) {
                    Ok(true) => {
                        check.sound += 1;
                        continue;
                    }
                    Ok(false) => {
                        check.unknown += 1;
                        continue;
                    }
                    Err(problem) => problem,
                },
            };
            if check.problems.len() < NAMED {
                let row = format!("action_id {}, part {}", part.action, part.part);
                let named = LedgerProblem::row("ledger_content", row, problem.to_owned());
                check.problems.push(LedgerProblem { action: Some(part.action), ..named });
            } else {
                more += 1;
            }
        }
    }
    if more > 0 {
        let more = format!("{more} more parts of content are not what the log says");
        check.problems.push(LedgerProblem { table: Some("ledger_content".to_owned()), ..LedgerProblem::of(more) });
    }
    Ok(check)
}

impl Said {
    /// Whether it is what the log says; no if the log does not say.
    fn judge(&self, part: &KeptRow, dropped: bool) -> Result<bool, &'static str> {
        if !self.lists {
            return Ok(false);
        }
        let mut listed = self.kept.iter().filter(|kept| kept.part == part.part).peekable();
        if listed.peek().is_none() {
            return Err("no entry speaks of it");
        }
        // It decides when it expires.
        if !self.at.contains(&part.created_at) {
            return Err("it says another time than any entry about it");
        }
        let known = |digests: &BTreeSet<String>| digests.contains(&part.sha256);
        let fits = listed.any(|kept| {
            kept.bytes == part.bytes
                && match (&kept.sha256, part.part.as_str()) {
                    (Some(digest), _) => *digest == part.sha256,
                    (None, REQUEST) => known(&self.judged),
                    (None, ANSWER) => known(&self.answered),
                    (None, _) => false,
                }
        });
        // What was judged may have been said in a segment that is gone, when the end came later.
        if !fits && dropped && part.part == REQUEST && self.judged.is_empty() {
            return Ok(false);
        }
        if fits { Ok(true) } else { Err("it is not what its digest in the log is of") }
    }
}

async fn said(connection: &mut PgConnection, actions: &[Uuid]) -> Result<BTreeMap<Uuid, Said>, sqlx::Error> {
    let mut all: BTreeMap<Uuid, Said> = BTreeMap::new();
    for entry in read::about(connection, actions).await? {
        let said = all.entry(entry.action).or_default();
        said.at.insert(entry.at);
        // What cannot be read was named where the chain was followed.
        let Ok(Some(read)) = entry.read() else { continue };
        let mut lists = |kept: Option<Vec<KeptContent>>| {
            said.lists |= kept.is_some();
            said.kept.extend(kept.into_iter().flatten());
        };
        match read.record {
            Record::Decided(decided) => {
                lists(decided.kept);
                said.judged.extend(decided.content.sha256);
            }
            Record::Attempted(attempted) => said.judged.extend(attempted.content.and_then(|content| content.sha256)),
            Record::Ended(ended) => {
                lists(ended.kept);
                said.answered.extend(ended.answer.and_then(|answer| answer.sha256));
            }
            _ => {}
        }
    }
    Ok(all)
}

async fn page(
    connection: &mut PgConnection,
    after: (Uuid, &str),
    since: Option<DateTime<Utc>>,
    until: Option<DateTime<Utc>>,
) -> Result<Vec<KeptRow>, sqlx::Error> {
    sqlx::query_as!(
        KeptRow,
        r#"
        SELECT
            action_id AS action,
            part,
            created_at,
            bytes,
            encode(
                sha256(CASE
                    WHEN body IS NOT NULL AND head IS NULL AND tail IS NULL THEN convert_to(body, 'UTF8')
                    ELSE convert_to(COALESCE(body, '') || COALESCE(head, ''), 'UTF8')
                        || $5::bytea || convert_to(COALESCE(tail, ''), 'UTF8')
                END),
                'hex'
            ) AS "sha256!",
            EXISTS (
                SELECT FROM ledger_erasures AS e WHERE e.action_id = c.action_id AND e.part = c.part
            ) AS "erased!"
        FROM ledger_content AS c
        WHERE (action_id, part) > ($1, $2)
          AND ($3::timestamptz IS NULL OR created_at >= $3)
          AND ($4::timestamptz IS NULL OR created_at < $4)
        ORDER BY action_id, part
        LIMIT $6
        "#,
        after.0,
        after.1,
        since,
        until,
        &[BETWEEN][..],
        PAGE,
    )
    .fetch_all(connection)
    .await
}
