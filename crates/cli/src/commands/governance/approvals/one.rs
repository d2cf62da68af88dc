//! One approval: how it looks, and deciding about it.

use systemprompt_extension::Metrics;
use systemprompt_governance::approvals::store::Approvals;
use systemprompt_governance::approvals::{Approval, ApprovalError, Decider, Resolution, change_of};
use systemprompt_model::ApprovalId;

use crate::change::Operator;
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View, time};

/// The approvals of an installation.
pub(super) fn approvals(invocation: &Invocation, database: &OpenDatabase) -> Approvals {
    Approvals::new(database.db.clone(), invocation.ambient.clone(), &Metrics::new())
}

/// Decides about one, as the person at the keyboard.
pub(super) async fn decide(
    invocation: &Invocation,
    database: &OpenDatabase,
    id: ApprovalId,
    resolution: Resolution,
    note: Option<&str>,
) -> CliResult {
    let approvals = approvals(invocation, database);
    let by = Decider { user: None, name: Operator::of_this_process().name };
    let approval = approvals.find(id).await.map_err(failed)?;
    let change = change_of(&approval, resolution, note);
    let work = async || approvals.decide(id, resolution, &by, note).await.map_err(failed);
    let decided = invocation.change(database, change, work).await?;
    invocation.printer.show(&decided);
    Ok(())
}

/// What a command says of it.
pub(super) fn failed(error: ApprovalError) -> CliError {
    let list = "systemprompt governance approvals list   shows what waits";
    match error {
        ApprovalError::Unknown(_) => CliError::new("unknown_approval", error.to_string()).help(list),
        ApprovalError::NotPending { .. } => {
            CliError::new("not_pending", error.to_string()).help(list).exit(Exit::Conflict)
        }
        ApprovalError::Own => CliError::new("own_approval", error.to_string()).exit(Exit::Denied),
        ApprovalError::Database(error) => CliError::database(error),
    }
}

impl View for Approval {
    fn text(&self, layout: Layout) -> Text {
        layout.record(
            &Record::new()
                .with("approval", self.id.to_string())
                .with("state", self.state.clone())
                .with("tool", self.tool_name.clone())
                .with("why", self.rule.clone())
                .with("asked by", self.user_name.clone())
                .with("for", (!self.approvers.is_empty()).then(|| self.approvers.join(", ")))
                .with("session", self.session_id.map(|id| id.to_string()))
                .with("action", self.action_id.to_string())
                .with("asked at", time(self.requested_at))
                .with("expires", time(self.expires_at))
                .with("decided by", self.decided_by.clone())
                .with("decided at", self.decided_at.map(time))
                .with("note", self.note.clone()),
        )
    }
}
