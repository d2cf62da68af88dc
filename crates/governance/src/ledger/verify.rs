//! Recomputing the chains, and the projections from them.
//!
//! Three things are looked at: whether every chain is whole from its first entry (or the end of what retention dropped) to
//! its end; whether what was remembered in checkpoints is still so; whether the projections say what the log says. Nothing is
//! locked, and the log is read as it was at one moment, so it can run beside a busy server.

use std::collections::BTreeMap;

use chrono::DateTime;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, PgPool};
use systemprompt_extension::ledger::{LedgerEntry, Projection, Record};
use systemprompt_model::with_causes;
use uuid::Uuid;

use super::chain::{Head, link_hash};
use super::checkpoint::Remembered;
use super::expected::{Expected, Followed};
use super::projector;
use super::read::{self, Places, StoredEntry};
pub use super::report::{ChainReport, LedgerProblem, VerifyReport};
use super::text::{Sha, sha256};

/// Entries looked at with one statement.
const PAGE: i64 = 2000;

/// Verifies the ledger in this database: all chains, against what the home remembers, and these projections.
pub async fn verify(
    pool: &PgPool,
    home: &Remembered,
    projections: &[std::sync::Arc<dyn Projection>],
) -> Result<VerifyReport, sqlx::Error> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut report = verify_log(&mut transaction, home).await?;
    transaction.rollback().await?;
    if report.is_sound() {
        for projection in projections {
            report.projections.push(projection.name().to_owned());
            report.problems.extend(compare(pool, &**projection).await?);
        }
    }
    Ok(report)
}

/// The chains alone, within one snapshot.
async fn verify_log(connection: &mut PgConnection, home: &Remembered) -> Result<VerifyReport, sqlx::Error> {
    let mut expected = Expected::of(home);
    let mut report = home.report();
    let chains = sqlx::query!(
        "SELECT chain_id, name, seq, hash, dropped_seq, dropped_hash FROM ledger_chains ORDER BY chain_id"
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut followed = BTreeMap::new();
    for row in &chains {
        let start = match (row.dropped_seq, row.dropped_hash.as_deref().and_then(|hash| Sha::try_from(hash).ok())) {
            (seq, Some(hash)) if seq > 0 => Head { seq, hash, at: DateTime::UNIX_EPOCH },
            _ => Head::first(row.chain_id),
        };
        let mut chain = ChainCheck::new(row.chain_id, start);
        loop {
            let entries = read::chain(&mut *connection, row.chain_id, chain.end.seq, row.seq, PAGE).await?;
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
        followed.insert(row.chain_id, chain.followed());
        report.add(&row.name, chain);
    }
    for places in expected.places(&followed, PAGE as usize) {
        for (chain, seq, hash) in read::hashes(&mut *connection, &places).await? {
            report.problems.extend(expected.differs(chain, seq, &hex::encode(hash)));
        }
    }
    let (problems, notes) = expected.judge(&followed);
    report.problems.extend(problems);
    report.notes.extend(notes);
    for stray in read::strays(&mut *connection).await? {
        let whose = if stray.known { "outside of what its chain says it has" } else { "of a chain that is not listed" };
        let problem = format!("{} entries {whose}, the last of them {}", stray.count, stray.last);
        report.problems.push(LedgerProblem::at(stray.chain, stray.first, problem));
    }
    Ok(report)
}

impl VerifyReport {
    /// Adds a chain that was followed as far as it goes.
    pub(super) fn add(&mut self, name: &str, check: ChainCheck) {
        self.verified += check.end.seq - check.start.seq;
        self.chains.push(ChainReport {
            chain: check.chain,
            name: name.to_owned(),
            from_seq: check.start.seq + 1,
            to_seq: check.end.seq,
            head: hex::encode(check.end.hash),
        });
        self.problems.extend(check.problem);
    }
}

/// Follows one chain, entry by entry.
pub(super) struct ChainCheck {
    chain: Uuid,
    start: Head,
    end: Head,
    pub(super) problem: Option<LedgerProblem>,
}

impl ChainCheck {
    pub(super) fn new(chain: Uuid, start: Head) -> Self {
        Self { chain, start, end: start, problem: None }
    }

    /// How far it is sound.
    pub(super) fn followed(&self) -> Followed {
        Followed { start: self.start, end: self.end }
    }

    /// Whether the entry is the next one and sound. What it says about chains is expected from now on.
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
        match entry.read() {
            Ok(Some(LedgerEntry { record: Record::Checkpoint(checkpoint), .. })) => {
                expected.note(self.chain, entry.seq, &checkpoint);
            }
            // Of a kind that is not known here the chain is what counts.
            Ok(_) => {}
            Err(error) => return self.broken(Some(entry), format!("it cannot be read: {}", with_causes(&error))),
        }
        self.end = Head { seq: entry.seq, hash, at: entry.at };
        true
    }

    fn broken(&mut self, entry: Option<&StoredEntry>, problem: String) -> bool {
        self.problem = Some(LedgerProblem {
            action: entry.map(|entry| entry.action).filter(|action| !action.is_nil()),
            ..LedgerProblem::at(self.chain, entry.map_or(self.end.seq + 1, |entry| entry.seq), problem)
        });
        false
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
