//! `infra logs changes show`.

use clap::Args;
use systemprompt_governance::changes::{ChangeDetail, show_change};
use systemprompt_model::ActionId;

use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View, time};

/// Everything recorded about a change.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id.
    id: ActionId,
}

impl Show {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        catch_up(&database.db).await?;
        let found = show_change(database.db.write(), self.id).await.map_err(CliError::database)?;
        let Some(change) = found else {
            return Err(CliError::new("unknown_change", format!("the ledger has no change `{}`", self.id))
                .help("systemprompt infra logs changes list   shows ids"));
        };
        invocation.printer.show(&change);
        Ok(())
    }
}

impl View for ChangeDetail {
    fn text(&self, layout: Layout) -> Text {
        let change = &self.change;
        let request = self.request.as_ref().map(|request| serde_json::to_string_pretty(request).unwrap_or_default());
        layout.record(
            &Record::new()
                .with("change", change.id.to_string())
                .with("time", time(change.created_at))
                .with("operation", change.operation.clone())
                .with("about", format!("{} {}", change.about_kind, change.about_id))
                .with("by", format!("{} {}", change.actor_kind, change.actor_id))
                .with("account", change.user_id.map(|id| id.to_string()))
                .with("decision", format!("{} by {}", change.decision, change.policy))
                .with("status", change.status.clone())
                .with("reason", change.reason.clone())
                .with("before", change.before_sha256.as_ref().map(|digest| format!("sha256 {digest}")))
                .with("after", change.after_sha256.as_ref().map(|digest| format!("sha256 {digest}")))
                .with("ended", change.completed_at.map(time))
                .with("trace", change.trace_id.to_string())
                .with_prose("asked for", request),
        )
    }
}
