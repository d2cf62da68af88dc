//! `infra logs audit verify`.

use std::path::PathBuf;

use clap::Args;
use systemprompt_governance::command::remembered;
use systemprompt_governance::ledger::checkpoint::Remembered;
use systemprompt_governance::ledger::export::trust;
use systemprompt_governance::ledger::keys::read_public_keys;
use systemprompt_governance::ledger::verify::{ExpectedHead, LedgerProblem, Scope, VerifyReport, verify_part};
use systemprompt_identity::provenance;
use systemprompt_verify::open::open;
use systemprompt_verify::verify as exported;

use crate::error::{CliError, CliResult, Exit};
use crate::ledger::{catch_up, projections};
use crate::moment::{Moment, span};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View};

/// Recompute the hash chains, and compare them with the checkpoints in the home, kept content with its digests, projections
/// with the log, and accounts and keys with the changes on record. Exit status 1 if something is not as it should be, naming
/// it, or if there is nothing to verify.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Verify this export instead of the database.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["since", "until", "expect_head"])]
    file: Option<PathBuf>,
    /// Only entries of this time or later: 2026-01-31, 2026-01-31T12:00:00Z, or 15m, 2h, 7d ago.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only entries before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// A copy of checkpoints that was kept elsewhere: lines as `ledger/checkpoints.jsonl` has them. They must be signed, and
    /// what they saw must still be there. Can be given several times.
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// Public keys that are trusted besides those of this home, as `keys list --jsonl` writes them.
    #[arg(long, value_name = "FILE")]
    key: Vec<PathBuf>,
    /// An entry that must be there, by its place and hash as an earlier `verify` printed the end of a chain: SEQ:HASH, or
    /// CHAIN:SEQ:HASH. Can be given several times.
    #[arg(long, value_name = "SEQ:HASH")]
    expect_head: Vec<ExpectedHead>,
}

impl Verify {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let project = invocation.project()?;
        let configuration = project.configuration.clone();
        let (since, until) = span(self.since, self.until, invocation.ambient.now())?;
        let (keys, copies) = (self.key, self.checkpoint);
        let home = apart(move || {
            let unreadable =
                |error: &(dyn std::error::Error + 'static)| CliError::from_error("checkpoints_unreadable", error);
            let mut home = remembered(&configuration).map_err(|error| unreadable(&error))?;
            for path in &keys {
                home.trust(read_public_keys(path).map_err(|error| unreadable(&error))?);
            }
            for path in &copies {
                home.bring(path).map_err(|error| unreadable(&error))?;
            }
            Ok::<_, CliError>(home)
        });
        let home = home.await??;
        if let Some(path) = self.file {
            return verify_file(invocation, path, home).await;
        }
        // What stands still is told by what is compared; it is no reason not to look.
        if let Err(error) = catch_up(&database.db).await {
            invocation.printer.note(error.to_string());
        }
        let scope = Scope { since, until, heads: self.expect_head };
        let verified = verify_part(database.db.write(), &home, &projections(), &scope).await;
        let mut report = verified.map_err(CliError::database)?;
        if since.is_none() && until.is_none() {
            explain_accounts(database, &mut report).await?;
        }
        // Those of one installation next to each other.
        report.chains.sort_by(|one, other| one.name.cmp(&other.name));
        invocation.printer.show(&report);
        judge(invocation, report.is_sound(), report.verified > 0)
    }
}

fn judge(invocation: &Invocation, is_sound: bool, is_something: bool) -> CliResult {
    if is_sound && !is_something {
        // What proves nothing is no proof: an empty database is what somebody leaves who deleted the ledger.
        invocation.printer.note("nothing was verified: there are no entries");
    }
    if is_sound && is_something { Ok(()) } else { Err(CliError::status(Exit::Failure)) }
}

/// Verifies an export, as `systemprompt-verify` does, with the keys and checkpoints of this home.
async fn verify_file(invocation: &Invocation, path: PathBuf, home: Remembered) -> CliResult {
    let verified = apart(move || exported::verify(&mut *open(&path)?, &trust(&home)));
    let mut report = verified.await?.map_err(|error| CliError::from_error("export_unreadable", &error))?;
    report.chains.sort_by(|one, other| one.name.cmp(&other.name));
    invocation.printer.show(&report);
    judge(invocation, report.is_sound(), report.verified + report.left_out > 0)
}

impl View for exported::Report {
    fn text(&self, layout: Layout) -> Text {
        let mut record = Record::new().with("verified", format!("{} entries", self.verified));
        if self.left_out > 0 {
            record = record.with("left out", self.left_out.to_string());
        }
        for chain in &self.chains {
            let whole = format!(
                "{} to {}, signed to {}, head {}",
                chain.from_seq, chain.to_seq, chain.signed_until, chain.head
            );
            record = record.with(&format!("chain {}", chain.name), whole);
        }
        record = record.with("checkpoints", self.checkpoints.to_string()).with("keys", self.keys.join(", "));
        for problem in &self.problems {
            record = record.with("problem", problem.to_string());
        }
        for note in &self.notes {
            record = record.with("note", note.clone());
        }
        layout.record(&record)
    }
}

/// Names accounts and keys that are not what recorded changes made them.
async fn explain_accounts(database: &OpenDatabase, report: &mut VerifyReport) -> CliResult {
    let dropped = report.chains.iter().any(|chain| chain.from_seq > 1);
    let found = provenance(database.db.write(), dropped).await.map_err(CliError::database)?;
    report.accounts = found.explained;
    if found.unknown > 0 {
        let unknown = format!("what made {} accounts or keys is not on record any more", found.unknown);
        report.notes.push(unknown);
    }
    report.problems.extend(found.unexplained.into_iter().map(|found| {
        let row = format!("id {}", found.id);
        let action = found.change.map(|change| change.as_uuid());
        LedgerProblem { action, ..LedgerProblem::row(found.table, row, found.problem) }
    }));
    Ok(())
}

/// Reads files where nobody waits for a turn.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> CliResult<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| CliError::from_error("verification_failed", &error))
}

impl View for VerifyReport {
    fn text(&self, layout: Layout) -> Text {
        let mut record = Record::new().with("verified", format!("{} entries", self.verified));
        for chain in &self.chains {
            let whole = format!("{} to {}, head {}", chain.from_seq, chain.to_seq, chain.head);
            record = record.with(&format!("chain {}", chain.name), whole);
        }
        record = record.with("checkpoints", self.checkpoints.to_string());
        record = record.with("content", format!("{} parts", self.content));
        if self.erased > 0 {
            record = record.with("erased", format!("{} parts, as the log says", self.erased));
        }
        if self.accounts > 0 {
            record = record.with("accounts and keys", self.accounts.to_string());
        }
        if !self.projections.is_empty() {
            record = record.with("projections", self.projections.join(", "));
        }
        for problem in &self.problems {
            record = record.with("problem", words(problem));
        }
        for note in &self.notes {
            record = record.with("note", note.clone());
        }
        layout.record(&record)
    }
}

fn words(problem: &LedgerProblem) -> String {
    let chain = problem.chain.map(|chain| format!("chain {chain}"));
    let seq = problem.seq.map(|seq| format!("entry {seq}"));
    let action = problem.action.map(|action| format!("action {action}"));
    let projection = problem.projection.as_ref().map(|name| format!("projection {name}"));
    let table = problem.table.as_ref().map(|name| format!("table {name}"));
    let place = [chain, seq, projection, table, problem.row.clone(), action]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ");
    if place.is_empty() { problem.problem.clone() } else { format!("{place}: {}", problem.problem) }
}
