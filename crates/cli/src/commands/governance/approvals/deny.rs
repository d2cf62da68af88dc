//! `governance approvals deny`.

use clap::Args;
use systemprompt_governance::approvals::Resolution;
use systemprompt_model::ApprovalId;

use super::one::decide;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Refuse a call that waits.
#[derive(Debug, Args)]
pub(crate) struct Deny {
    /// The approval.
    id: ApprovalId,
    /// Why, for whoever asked.
    #[arg(long, value_name = "TEXT")]
    note: Option<String>,
}

impl Deny {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        decide(invocation, database, self.id, Resolution::Deny, self.note.as_deref()).await
    }
}
