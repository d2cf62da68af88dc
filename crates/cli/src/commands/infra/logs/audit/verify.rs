//! `infra logs audit verify`.

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;
use systemprompt_governance::command::remembered;
use systemprompt_governance::ledger::export::verify_export;
use systemprompt_governance::ledger::verify::{LedgerProblem, VerifyReport, verify};

use crate::error::{CliError, CliResult, Exit};
use crate::ledger::projections;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View};

/// Recompute the hash chains, compare them with the checkpoints in the home, and the projections with the log. Exit
/// status 1 if something is not as it should be, naming it, or if there is nothing to verify.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// Verify this export instead of the database.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}

impl Verify {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let project = invocation.project()?;
        let configuration = project.configuration.clone();
        let home = apart(move || remembered(&configuration)).await?;
        let home = home.map_err(|error| CliError::from_error("checkpoints_unreadable", &error))?;
        let mut report = match self.file {
            Some(path) => {
                let verified = apart(move || verify_export(BufReader::new(File::open(path)?), &home)).await?;
                verified.map_err(|error| CliError::from_error("export_unreadable", &error))?
            }
            None => verify(database.db.write(), &home, &projections()).await.map_err(CliError::database)?,
        };
        // Those of one installation next to each other.
        report.chains.sort_by(|one, other| one.name.cmp(&other.name));
        invocation.printer.show(&report);
        if report.is_sound() && report.verified == 0 {
            // What proves nothing is no proof: an empty database is what somebody leaves who deleted the ledger.
            invocation.printer.note("nothing was verified: there are no entries");
        }
        if report.is_sound() && report.verified > 0 { Ok(()) } else { Err(CliError::status(Exit::Failure)) }
    }
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
    let place = [chain, seq, action, projection].into_iter().flatten().collect::<Vec<_>>().join(", ");
    if place.is_empty() { problem.problem.clone() } else { format!("{place}: {}", problem.problem) }
}
