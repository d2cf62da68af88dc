//! `infra db projections status`.

use clap::Args;
use systemprompt_governance::ledger::ProjectionStatus;

use crate::error::{CliError, CliResult};
use crate::ledger::projector;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, time};

/// How far each projection has applied the log.
#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let status = projector(&database.db).status().await.map_err(CliError::database)?;
        invocation.printer.show(&Page::whole(status));
        Ok(())
    }
}

impl Row for ProjectionStatus {
    const COLUMNS: &'static [&'static str] = &["projection", "#behind", "applied until", "stands still because"];
    const NONE: &'static str = "No projections.";

    fn cells(&self) -> Vec<String> {
        let until = self.applied_until.map(time).unwrap_or_default();
        vec![self.name.clone(), self.behind.to_string(), until, self.error.clone().unwrap_or_default()]
    }
}
