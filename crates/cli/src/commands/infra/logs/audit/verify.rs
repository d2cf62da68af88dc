//! `infra logs audit verify`.

use clap::Args;
use systemprompt_governance::ledger::{self, VerifyReport};

use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, View};

/// Recompute the hash chain from the rows it speaks about. Exit status 1 if they do not agree, naming the first entry
/// that does not.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The first entry; the oldest one unless given.
    #[arg(long, value_name = "SEQ")]
    from: Option<i64>,
    /// The last entry; the newest one unless given.
    #[arg(long, value_name = "SEQ")]
    to: Option<i64>,
}

impl Verify {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let report = ledger::verify(database.db.read(), self.from, self.to).await.map_err(CliError::database)?;
        invocation.printer.show(&report);
        if report.divergence.is_some() { Err(CliError::status(Exit::Failure)) } else { Ok(()) }
    }
}

impl View for VerifyReport {
    fn text(&self, layout: Layout) -> String {
        let problem = self.divergence.as_ref().map(|divergence| {
            let at = divergence.seq.map(|seq| format!("entry {seq}")).unwrap_or_default();
            let of = divergence.request_id.map(|id| format!("request {id}")).unwrap_or_default();
            [at, of, divergence.problem.clone()]
                .into_iter()
                .filter(|part| !part.is_empty())
                .collect::<Vec<_>>()
                .join(", ")
        });
        layout.record(
            &Record::new()
                .with("entries", format!("{} to {}", self.from_seq, self.to_seq))
                .with("verified", self.verified.to_string())
                .with("head", self.head.clone())
                .with("divergence", problem),
        )
    }
}
