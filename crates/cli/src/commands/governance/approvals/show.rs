//! `governance approvals show`.

use clap::Args;
use systemprompt_model::ApprovalId;

use super::one::{approvals, failed};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Everything known of a call that waits, or did.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The approval.
    id: ApprovalId,
}

impl Show {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let approval = approvals(invocation, database).find(self.id).await.map_err(failed)?;
        invocation.printer.show(&approval);
        Ok(())
    }
}
