//! `infra logs changes show`.

use clap::Args;
use systemprompt_governance::changes::{ChangeDetail, changes_between, show_change};
use systemprompt_governance::page::prefix_range;

use crate::error::{CliError, CliResult, Exit};
use crate::ledger::catch_up;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Record, Text, View, time};

/// Everything recorded about a change.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id, or the beginning of it.
    id: String,
}

impl Show {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        catch_up(&database.db).await?;
        let (from, to) = prefix_range(&self.id)
            .ok_or_else(|| CliError::invalid_value(format!("`{}` is not the beginning of an id", self.id)))?;
        let ids = changes_between(database.db.write(), from, to).await.map_err(CliError::database)?;
        let id = match ids.as_slice() {
            [id] => *id,
            [] => {
                return Err(CliError::new("unknown_change", format!("the ledger has no change `{}`", self.id))
                    .help("systemprompt infra logs changes list   shows ids"));
            }
            several => {
                let several: Vec<String> = several.iter().map(ToString::to_string).collect();
                let said = format!("`{}` is the beginning of several changes: {}", self.id, several.join(", "));
                return Err(CliError::new("ambiguous_id", said).exit(Exit::Usage));
            }
        };
        let found = show_change(database.db.write(), id).await.map_err(CliError::database)?;
        let Some(change) = found else {
            return Err(CliError::new("unknown_change", format!("the ledger has no change `{id}` any more")));
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
