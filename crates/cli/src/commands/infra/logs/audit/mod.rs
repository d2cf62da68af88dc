//! `infra logs audit`: everything recorded about a request, and what else can be asked of the ledger.

mod export;
mod keys;
mod verify;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use systemprompt_gateway::request::queries::{RequestDetail, TRACE_LIMIT};
use systemprompt_model::Microdollars;

use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::prompt::typed;
use crate::requests::{GLIMPSE, Named, look_up, record, record_reading};
use crate::view::{Layout, Page, Row, Text};

/// Everything recorded about a request: who, decision, messages, tools, cost. That you read it is recorded.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true, subcommand_negates_reqs = true)]
pub(crate) struct Audit {
    #[command(subcommand)]
    command: Option<Question>,
    /// The request's or trace's id, or the beginning of one.
    #[arg(required = true)]
    id: Option<String>,
    /// All recorded content, not cut.
    #[arg(long)]
    full: bool,
}

/// What else can be asked of the ledger.
#[derive(Debug, Subcommand)]
enum Question {
    Verify(verify::Verify),
    Export(export::Export),
    #[command(subcommand)]
    Keys(keys::Keys),
}

impl Audit {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match (self.command, self.id) {
            (Some(Question::Verify(command)), _) => command.run(invocation, database).await,
            (Some(Question::Export(command)), _) => command.run(invocation, database).await,
            (Some(Question::Keys(group)), _) => group.run(invocation, database).await,
            (None, Some(id)) => {
                let requests = look_up(&database.db, &id).await?;
                record_reading(invocation, database, &requests, "infra logs audit").await?;
                let full = self.full;
                if requests.len() as i64 >= TRACE_LIMIT {
                    invocation.printer.note(format!("only the first {TRACE_LIMIT} requests of this trace are shown"));
                }
                invocation
                    .printer
                    .show(&Page::whole(requests.into_iter().map(|detail| Recorded { detail, full }).collect()));
                Ok(())
            }
            (None, None) => Err(CliError::new("missing_value", "which request?").exit(Exit::Usage)),
        }
    }
}

/// Everything about a request.
struct Recorded {
    detail: Named<RequestDetail>,
    full: bool,
}

impl Serialize for Recorded {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        document(&self.detail).serialize(serializer)
    }
}

impl Row for Recorded {
    const COLUMNS: &'static [&'static str] = &[];
    const NONE: &'static str = "No requests.";

    fn cells(&self) -> Vec<String> {
        Vec::new()
    }

    fn lay_out(items: &[Self], layout: Layout) -> Text {
        Text::apart(items.iter().map(|Self { detail, full }| {
            let limit = if *full { usize::MAX } else { GLIMPSE };
            layout.record(&record(detail, Some(limit), true))
        }))
    }
}

/// What programs get: the documented names, and everything else beside them.
fn document(detail: &Named<RequestDetail>) -> Value {
    let mut value = serde_json::to_value(detail).unwrap_or_default();
    let request = &detail.request;
    if let Value::Object(fields) = &mut value {
        fields.insert("cost_dollars".to_owned(), json!(request.summary.cost.unwrap_or(Microdollars::ZERO).dollars()));
        fields.insert("prompt".to_owned(), json!(typed(&request.messages)));
    }
    value
}
