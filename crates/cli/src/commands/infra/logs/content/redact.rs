//! `infra logs content redact`.

use clap::Args;
use serde_json::json;
use systemprompt_governance::ledger::erasure::{erase_action, erased_parts, kept_parts};
use systemprompt_model::ActionId;

use super::gone::{Gone, recorded};
use crate::change::{About, Change};
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::requests::look_up;

/// Erase what one request holds of what was said.
#[derive(Debug, Args)]
pub(crate) struct Redact {
    /// Its id, or the beginning of it.
    id: String,
    /// Only this part of it: `request`, `answer`, `tool_call.0`, `finding.0` …; may be given again.
    #[arg(long = "part")]
    parts: Vec<String>,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Redact {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let found = look_up(&database.db, &self.id).await?;
        let [request] = found.as_slice() else {
            return Err(CliError::new("ambiguous_id", format!("`{}` is a trace of {} requests", self.id, found.len()))
                .help(format!("systemprompt infra logs audit {}   shows them all", self.id))
                .exit(Exit::Usage));
        };
        let id = request.request.summary.request_id;
        let parts = (!self.parts.is_empty()).then_some(self.parts.as_slice());
        all_known(database, id, &self.parts).await?;
        let what = parts.map_or_else(|| "all content".to_owned(), |parts| parts.join(", "));
        invocation.confirm(self.yes, &format!("Erase {what} of {id}, for ever?")).await?;
        let change_id = ActionId::generate(&invocation.ambient);
        let erase = async || {
            let erased = erase_action(database.db.write(), id, parts, change_id, invocation.ambient.now()).await;
            recorded(database, change_id, erased.map_err(CliError::database)?).await
        };
        let asked = json!({"parts": parts});
        let change = Change::new("content.redact", About::new("request", id), &asked).under(change_id);
        let erased = invocation.change(database, change, erase).await?;
        invocation.printer.show(&Gone { of: id.to_string(), erased });
        Ok(())
    }
}

/// Whether there is each of these parts, or was until it was erased.
async fn all_known(database: &OpenDatabase, id: ActionId, parts: &[String]) -> CliResult {
    let pool = database.db.write();
    let kept = kept_parts(pool, id).await.map_err(CliError::database)?;
    let erased = erased_parts(pool, id).await.map_err(CliError::database)?;
    match parts.iter().find(|part| !kept.contains(part) && !erased.contains(part)) {
        None => Ok(()),
        Some(part) => {
            let kept = if kept.is_empty() { "nothing".to_owned() } else { kept.join(", ") };
            Err(CliError::new("unknown_part", format!("{id} has no part `{part}`"))
                .help(format!("of it there is kept: {kept}"))
                .exit(Exit::Usage))
        }
    }
}
