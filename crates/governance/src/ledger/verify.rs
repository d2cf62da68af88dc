//! Recomputing the chains, and the projections from them.
//!
//! Four things are looked at: whether every chain is whole from its first entry (or the end of what retention dropped) to
//! its end; whether what was remembered in checkpoints is still so; whether the content that is kept is what its digests are
//! of; whether the projections say what the log says, and nothing else. Everything that is wrong is named. Nothing is locked,
//! and the log is read as it was at one moment, so it can run beside a busy server.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{ChainHead, Projection};
use uuid::Uuid;

use super::chain::Head;
use super::checkpoint::Remembered;
use super::compare::compare;
use super::erased::ErasureCheck;
use super::expected::Expected;
pub use super::followed::ExpectedHead;
use super::followed::{Begins, Followed};
use super::following::ChainCheck;
use super::read::{self, Places};
pub use super::report::{ChainReport, LedgerProblem, VerifyReport};
use super::text::Sha;
use super::{chains, contents};

/// Entries looked at with one statement.
const PAGE: i64 = 2000;

/// What is looked at.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    /// Entries of this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Entries before this time.
    pub until: Option<DateTime<Utc>>,
    /// Ends that must be in the log.
    pub heads: Vec<ExpectedHead>,
}

impl Scope {
    /// Whether all of the log is looked at.
    fn is_whole(&self) -> bool {
        self.since.is_none() && self.until.is_none()
    }
}

/// Verifies the ledger in this database: all chains, against what the home remembers, all content that is kept, and these
/// projections.
pub async fn verify(
    pool: &PgPool,
    home: &Remembered,
    projections: &[std::sync::Arc<dyn Projection>],
) -> Result<VerifyReport, sqlx::Error> {
    verify_part(pool, home, projections, &Scope::default()).await
}

/// The same for a part of it. Projections are compared only with all of the log.
pub async fn verify_part(
    pool: &PgPool,
    home: &Remembered,
    projections: &[std::sync::Arc<dyn Projection>],
    scope: &Scope,
) -> Result<VerifyReport, sqlx::Error> {
    let mut transaction = pool.begin_with("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
    let mut report = verify_log(&mut transaction, home, scope).await?;
    transaction.rollback().await?;
    if scope.is_whole() {
        for projection in projections {
            report.projections.push(projection.name().to_owned());
            report.problems.extend(compare(pool, &**projection).await?);
        }
    } else {
        report
            .notes
            .push("projections are compared only with all of the log, without a beginning or an end".to_owned());
    }
    Ok(report)
}

/// The chains and the content, within one snapshot.
async fn verify_log(
    connection: &mut PgConnection,
    home: &Remembered,
    scope: &Scope,
) -> Result<VerifyReport, sqlx::Error> {
    let mut expected = Expected::of(home);
    let mut report = home.report();
    let chains = sqlx::query!(
        "SELECT chain_id, name, seq, hash, at, dropped_seq, dropped_hash FROM ledger_chains ORDER BY chain_id"
    )
    .fetch_all(&mut *connection)
    .await?;
    let mut followed = BTreeMap::new();
    let mut erasures = ErasureCheck::new(&mut *connection).await?;
    for row in &chains {
        let (mut start, mut begins) = match (row.dropped_seq, row.dropped_hash.as_deref().map(Sha::try_from)) {
            (seq, Some(Ok(hash))) if seq > 0 => (Head { seq, hash, at: DateTime::UNIX_EPOCH }, Begins::Dropped),
            _ => (Head::first(row.chain_id), Begins::First),
        };
        if let Some(since) = scope.since
            && let Some((seq, at, hash)) = read::last_before(&mut *connection, row.chain_id, row.seq, since).await?
            && seq > start.seq
        {
            (start, begins) = (Head { seq, hash: Sha::try_from(hash).unwrap_or_default(), at }, Begins::Chosen);
        }
        let until = match scope.until {
            Some(until) => {
                let last = read::last_before(&mut *connection, row.chain_id, row.seq, until).await?;
                last.map_or(start.seq, |(seq, ..)| seq.max(start.seq))
            }
            None => row.seq,
        };
        let mut chain = ChainCheck::new(row.chain_id, start, begins);
        loop {
            let entries = read::chain(&mut *connection, row.chain_id, chain.place(), until, PAGE).await?;
            if entries.is_empty() {
                break;
            }
            for entry in &entries {
                chain.follow(entry, &mut expected);
            }
            erasures.look(&mut *connection, &entries).await?;
        }
        if until == row.seq {
            chain.ends(row.seq, &row.hash, row.at);
        }
        if chains::chain_of(&row.name) != row.chain_id {
            let renamed = format!("the chain is not the one of an installation `{}`", row.name);
            report.problems.push(LedgerProblem { chain: Some(row.chain_id), ..LedgerProblem::of(renamed) });
        }
        followed.insert(row.chain_id, chain.followed((until < row.seq).then_some(row.seq)));
        report.add(&row.name, chain, home);
    }
    for places in expected.places(&followed, PAGE as usize) {
        for (chain, seq, hash) in read::hashes(&mut *connection, &places).await? {
            report.problems.extend(expected.differs(chain, seq, &hex::encode(hash)));
        }
    }
    let (problems, notes) = expected.judge(&followed);
    report.problems.extend(problems);
    report.notes.extend(notes);
    report.problems.extend(expect_heads(&mut *connection, &scope.heads, &followed).await?);
    for stray in read::strays(&mut *connection).await? {
        let whose = if stray.known { "outside of what its chain says it has" } else { "of a chain that is not listed" };
        let problem = format!("{} entries {whose}, the last of them {}", stray.count, stray.last);
        report.problems.push(LedgerProblem::at(stray.chain, stray.first, problem));
    }
    let dropped = chains.iter().any(|row| row.dropped_seq > 0);
    let content = contents::check(&mut *connection, scope.since, scope.until, dropped).await?;
    report.content = content.sound;
    let erasures = erasures.judge(&mut *connection, dropped).await?;
    report.erased = erasures.erased;
    report.problems.extend(erasures.problems);
    report.notes.extend(erasures.notes);
    report.problems.extend(content.problems);
    if content.unknown > 0 {
        let unknown = content.unknown;
        report
            .notes
            .push(format!("of {unknown} parts of content the log has no digest: they are older than such digests"));
    }
    Ok(report)
}

/// The ends that somebody wrote down and that are not in the log.
async fn expect_heads(
    connection: &mut PgConnection,
    heads: &[ExpectedHead],
    followed: &BTreeMap<Uuid, Followed>,
) -> Result<Vec<LedgerProblem>, sqlx::Error> {
    let mut problems = Vec::new();
    for head in heads {
        let chains: Vec<Uuid> = followed.keys().copied().collect();
        let places = Places { seqs: vec![head.seq; chains.len()], chains };
        let mut found = read::hashes(&mut *connection, &places).await?.into_iter();
        let is_there = found.any(|(chain, seq, hash)| {
            let is_sound = followed.get(&chain).is_some_and(|chain| chain.has(seq) || chain.start.seq == seq);
            is_sound && head.is_at(&ChainHead { chain, hash: hex::encode(hash), seq })
        });
        if !is_there {
            let whose = head.chain.map_or_else(|| "no chain".to_owned(), |chain| format!("the chain {chain} not"));
            let problem = format!("{whose} has the entry {} with the hash {} that was expected", head.seq, head.hash);
            problems.push(LedgerProblem { chain: head.chain, seq: Some(head.seq), ..LedgerProblem::of(problem) });
        }
    }
    Ok(problems)
}

impl VerifyReport {
    /// Adds a chain that was followed as far as it goes.
    fn add(&mut self, name: &str, check: ChainCheck, home: &Remembered) {
        let Followed { start, end, .. } = check.followed(None);
        let chain = check.chain;
        self.verified += end.seq - start.seq;
        self.chains.push(ChainReport {
            chain,
            name: name.to_owned(),
            from_seq: start.seq + 1,
            to_seq: end.seq,
            head: hex::encode(end.hash),
        });
        let (problems, signed) = check.findings();
        self.problems.extend(problems);
        // Of the chain of this home it is known whose keys sign it.
        let known: BTreeSet<&str> = home.keys.iter().map(|key| key.key.as_str()).collect();
        if home.chain == Some(chain) && !home.checkpoints.is_empty() {
            let strange = signed.into_iter().filter(|(_, key)| !known.contains(key.as_str()));
            self.problems.extend(strange.map(|(seq, key)| {
                let problem = format!("it is signed by the key {key}, which this home never had");
                LedgerProblem::at(chain, seq, problem)
            }));
        }
    }
}
