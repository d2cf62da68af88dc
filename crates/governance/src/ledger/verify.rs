//! Recomputing the chains, and the projections from them.
//!
//! Three things are looked at: whether every chain is whole from its first entry (or the end of what retention dropped) to
//! its end; whether the ends that were remembered in checkpoints are still there; whether the projections say what the log
//! says. Nothing is locked, so it can run beside a busy server.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, PgPool};
use systemprompt_extension::ledger::{ChainHead, EntryKind, Projection, Record};
use systemprompt_model::with_causes;
use uuid::Uuid;

use super::chain::{Head, link_hash};
use super::checkpoint::SignedCheckpoint;
use super::projector;
use super::read::{self, Places, StoredEntry};
use super::text::{Sha, sha256};

/// Entries looked at with one statement.
const PAGE: i64 = 2000;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// How many entries are sound.
    pub verified: i64,
    /// Each chain.
    pub chains: Vec<ChainReport>,
    /// How many checkpoints were compared.
    pub checkpoints: usize,
    /// The projections that were compared; empty when a chain is broken already, or only an export was read.
    pub projections: Vec<String>,
    /// Everything that is not as it should be. Empty means that the ledger is sound.
    pub problems: Vec<LedgerProblem>,
}

/// One chain, as far as it is sound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChainReport {
    /// The chain.
    pub chain: Uuid,
    /// The installation that writes it.
    pub name: String,
    /// The first entry that was looked at.
    pub from_seq: i64,
    /// The last entry that is sound; less than `from_seq` when there is none.
    pub to_seq: i64,
    /// The hash of the last sound entry, in hexadecimal: what to compare with a copy kept elsewhere.
    pub head: String,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LedgerProblem {
    /// The chain it is in.
    pub chain: Option<Uuid>,
    /// The entry.
    pub seq: Option<i64>,
    /// The action it is about.
    pub action: Option<Uuid>,
    /// The projection that disagrees with the log.
    pub projection: Option<String>,
    /// What is wrong.
    pub problem: String,
}

impl VerifyReport {
    /// Whether nothing is wrong.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Verifies the ledger in this database: all chains, against these checkpoints, and these projections.
pub async fn verify(
    pool: &PgPool,
    checkpoints: &[SignedCheckpoint],
    projections: &[std::sync::Arc<dyn Projection>],
) -> Result<VerifyReport, sqlx::Error> {
    let mut report =
        VerifyReport { verified: 0, chains: Vec::new(), checkpoints: 0, projections: Vec::new(), problems: Vec::new() };
    let mut expected = Expected::default();
    for checkpoint in checkpoints {
        expected.add(checkpoint.at, &checkpoint.heads);
        report.checkpoints += 1;
    }
    let chains = sqlx::query!(
        "SELECT chain_id, name, seq, hash, dropped_seq, dropped_hash FROM ledger_chains ORDER BY chain_id"
    )
    .fetch_all(pool)
    .await?;
    let mut connection = pool.acquire().await?;
    for body in sqlx::query_scalar!("SELECT body FROM ledger WHERE kind = 'checkpoint'").fetch_all(pool).await? {
        // One that cannot be read is reported where its chain is followed.
        if let Ok(Record::Checkpoint(checkpoint)) = Record::read(EntryKind::Checkpoint, &body) {
            expected.add(checkpoint.at, &checkpoint.heads);
        }
    }
    for row in &chains {
        let start = match (row.dropped_seq, row.dropped_hash.as_deref().and_then(|hash| Sha::try_from(hash).ok())) {
            (seq, Some(hash)) if seq > 0 => Head { seq, hash, at: DateTime::UNIX_EPOCH },
            _ => Head::first(row.chain_id),
        };
        expected.forget_before(row.chain_id, start.seq);
        let mut chain = ChainCheck::new(row.chain_id, start);
        loop {
            let entries = read::chain(&mut connection, row.chain_id, chain.end.seq, row.seq, PAGE).await?;
            if entries.is_empty() || !entries.iter().all(|entry| chain.follow(entry, &mut expected)) {
                break;
            }
        }
        if chain.problem.is_none() && (chain.end.seq != row.seq || chain.end.hash[..] != row.hash) {
            chain.broken(
                None,
                format!("entry {} is missing: the recorded end of the chain is {}", chain.end.seq + 1, row.seq),
            );
        }
        report.verified += chain.end.seq - start.seq;
        report.chains.push(ChainReport {
            chain: row.chain_id,
            name: row.name.clone(),
            from_seq: start.seq + 1,
            to_seq: chain.end.seq,
            head: hex::encode(chain.end.hash),
        });
        report.problems.extend(chain.problem);
    }
    report.problems.extend(expected.unmet());
    if report.is_sound() {
        for projection in projections {
            report.projections.push(projection.name().to_owned());
            report.problems.extend(compare(pool, &**projection).await?);
        }
    }
    Ok(report)
}

/// Follows one chain, entry by entry.
pub(super) struct ChainCheck {
    chain: Uuid,
    pub(super) end: Head,
    pub(super) problem: Option<LedgerProblem>,
}

impl ChainCheck {
    pub(super) fn new(chain: Uuid, start: Head) -> Self {
        Self { chain, end: start, problem: None }
    }

    /// Whether the entry is the next one and sound.
    pub(super) fn follow(&mut self, entry: &StoredEntry, expected: &mut Expected) -> bool {
        if entry.seq != self.end.seq + 1 {
            let problem = format!("entry {} is missing; the next one is {}", self.end.seq + 1, entry.seq);
            return self.broken(None, problem);
        }
        let hash = link_hash(&self.end.hash, entry.seq, entry.at, &sha256(entry.body.as_bytes()));
        if hash[..] != entry.hash {
            return self.broken(Some(entry), "it was changed, or does not follow the entry before it".to_owned());
        }
        if entry.at < self.end.at {
            return self.broken(Some(entry), "it is older than the entry before it".to_owned());
        }
        if read::said(&entry.body) != (entry.kind.clone(), entry.action) {
            return self.broken(Some(entry), "its columns say something else than its body".to_owned());
        }
        if let Err(error) = entry.read() {
            return self.broken(Some(entry), format!("it cannot be read: {}", with_causes(&error)));
        }
        self.end = Head { seq: entry.seq, hash, at: entry.at };
        expected.reached(self.chain, &self.end);
        true
    }

    fn broken(&mut self, entry: Option<&StoredEntry>, problem: String) -> bool {
        self.problem = Some(LedgerProblem {
            chain: Some(self.chain),
            seq: Some(entry.map_or(self.end.seq + 1, |entry| entry.seq)),
            action: entry.map(|entry| entry.action).filter(|action| !action.is_nil()),
            projection: None,
            problem,
        });
        false
    }
}

/// Hashes that were seen at one place, and when.
type Seen = Vec<(String, DateTime<Utc>)>;

/// Ends of chains that somebody has seen.
#[derive(Debug, Default)]
pub(super) struct Expected {
    /// By chain and place: every hash that was seen there, and when. All must agree, so that a forged checkpoint in the
    /// database cannot speak over a signed one.
    open: BTreeMap<(Uuid, i64), Seen>,
    /// Chains that were followed, and how far.
    reached: BTreeMap<Uuid, Head>,
    /// What was seen and is another one now.
    unmet: Vec<LedgerProblem>,
}

impl Expected {
    pub(super) fn add(&mut self, at: DateTime<Utc>, heads: &[ChainHead]) {
        for head in heads {
            self.open.entry((head.chain, head.seq)).or_default().push((head.hash.clone(), at));
        }
    }

    pub(super) fn forget_before(&mut self, chain: Uuid, seq: i64) {
        self.open.retain(|(known, at), _| *known != chain || *at > seq);
    }

    pub(super) fn reached(&mut self, chain: Uuid, head: &Head) {
        self.reached.insert(chain, *head);
        let reached = hex::encode(head.hash);
        let seen = self.open.remove(&(chain, head.seq)).unwrap_or_default();
        if let Some((_, at)) = seen.into_iter().find(|(hash, _)| *hash != reached) {
            let problem = format!("it is another one than the checkpoint of {at} saw");
            self.unmet.push(LedgerProblem {
                chain: Some(chain),
                seq: Some(head.seq),
                action: None,
                projection: None,
                problem,
            });
        }
    }

    /// What was seen and is not there, or is another one.
    pub(super) fn unmet(self) -> Vec<LedgerProblem> {
        let mut unmet = self.unmet;
        for ((chain, seq), seen) in self.open {
            let reached = self.reached.get(&chain).map_or(0, |head| head.seq);
            if let Some((_, at)) = seen.first()
                && reached < seq
            {
                unmet.push(LedgerProblem {
                    chain: Some(chain),
                    seq: Some(reached + 1),
                    action: None,
                    projection: None,
                    problem: format!("entries {} to {seq} are missing: the checkpoint of {at} saw them", reached + 1),
                });
            }
        }
        // One line for each chain says it.
        unmet.sort_by_key(|problem| (problem.chain, problem.seq));
        unmet.dedup_by_key(|problem| (problem.chain, problem.seq));
        unmet
    }
}

/// Applies the log to empty copies of the projection's tables, as far as the projection has come, and compares.
async fn compare(pool: &PgPool, projection: &dyn Projection) -> Result<Vec<LedgerProblem>, sqlx::Error> {
    // A connection of its own: the copies shadow the tables for as long as it lives.
    let mut connection = pool.acquire().await?.detach();
    let result = compare_on(&mut connection, projection).await;
    // The copies are gone with it.
    let _ = connection.close().await;
    result
}

async fn compare_on(
    connection: &mut PgConnection,
    projection: &dyn Projection,
) -> Result<Vec<LedgerProblem>, sqlx::Error> {
    let schema =
        sqlx::query_scalar!(r#"SELECT current_schema()::text AS "schema!""#).fetch_one(&mut *connection).await?;
    // One snapshot for cursors, rows and entries.
    sqlx::raw_sql("BEGIN ISOLATION LEVEL REPEATABLE READ").execute(&mut *connection).await?;
    let until = projector::load(&mut *connection, projection.name()).await?;
    for table in projection.tables() {
        let copy = format!("CREATE TEMPORARY TABLE {table} (LIKE {schema}.{table} INCLUDING ALL) ON COMMIT DROP");
        sqlx::raw_sql(AssertSqlSafe(copy)).execute(&mut *connection).await?;
    }
    let problem = |problem: String| LedgerProblem {
        chain: None,
        seq: None,
        action: None,
        projection: Some(projection.name().to_owned()),
        problem,
    };
    let mut places = Places::default();
    let mut problems = Vec::new();
    loop {
        let mut stored = read::after(&mut *connection, &places, PAGE).await?;
        if stored.is_empty() {
            break;
        }
        projector::advance(&mut places, &stored);
        stored.retain(|entry| entry.seq <= until.get(entry.chain));
        if let Err(error) = projector::apply(&mut *connection, projection, &stored).await {
            sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
            return Ok(vec![problem(format!("the log cannot be applied: {}", with_causes(&error)))]);
        }
    }
    for table in projection.tables() {
        for (more, less, words) in [
            (format!("{schema}.{table}"), format!("pg_temp.{table}"), "are not as the log says"),
            (format!("pg_temp.{table}"), format!("{schema}.{table}"), "of the log are missing"),
        ] {
            let difference =
                format!("SELECT COUNT(*), MIN(d::text) FROM (SELECT * FROM {more} EXCEPT SELECT * FROM {less}) AS d");
            let (count, example): (i64, Option<String>) =
                sqlx::query_as(AssertSqlSafe(difference)).fetch_one(&mut *connection).await?;
            if count > 0 {
                let example = example.unwrap_or_default();
                let shown: String = example.chars().take(200).collect();
                problems.push(problem(format!("{count} rows of `{table}` {words}, such as {shown}")));
            }
        }
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut *connection).await?;
    Ok(problems)
}
