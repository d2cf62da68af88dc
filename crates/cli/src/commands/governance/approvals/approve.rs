//! `governance approvals approve`.

use clap::Args;
use systemprompt_governance::approvals::Resolution;
use systemprompt_model::ApprovalId;

use super::one::decide;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Let a call that waits be made once it is asked for again.
#[derive(Debug, Args)]
pub(crate) struct Approve {
    /// The approval.
    id: ApprovalId,
    /// Why, for whoever asked.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl Approve {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        decide(invocation, database, self.id, Resolution::Approve, self.note.as_deref()).await
    }
}
