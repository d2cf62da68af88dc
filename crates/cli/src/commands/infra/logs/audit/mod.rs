//! `infra logs audit`: everything recorded about a request, and what else can be asked of the ledger.

mod export;
mod verify;

use clap::{Args, Subcommand};
use serde::Serialize;
use serde_json::{Value, json};
use systemprompt_gateway::request::queries::RequestDetail;
use systemprompt_model::Microdollars;

use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::requests::{GLIMPSE, look_up, record};
use crate::view::{Layout, Text, View};

/// Everything recorded about a request: who, decision, messages, tools, cost.
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
}

impl Audit {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match (self.command, self.id) {
            (Some(Question::Verify(command)), _) => command.run(invocation, database).await,
            (Some(Question::Export(command)), _) => command.run(invocation, database).await,
            (None, Some(id)) => {
                let requests = look_up(&database.db, &id).await?;
                invocation.printer.show(&Recorded { requests, full: self.full });
                Ok(())
            }
            (None, None) => Err(CliError::new("missing_value", "which request?").exit(Exit::Usage)),
        }
    }
}

/// Everything about a request, or about all requests of a trace.
struct Recorded {
    requests: Vec<RequestDetail>,
    full: bool,
}

impl Serialize for Recorded {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.requests.iter().map(document))
    }
}

impl View for Recorded {
    fn text(&self, layout: Layout) -> Text {
        let limit = if self.full { usize::MAX } else { GLIMPSE };
        let records = self.requests.iter().map(|detail| layout.record(&record(detail, Some(limit), true)));
        Text::apart(records)
    }
}

/// What programs get: the documented names, and everything else beside them.
fn document(detail: &RequestDetail) -> Value {
    let mut value = serde_json::to_value(detail).unwrap_or_default();
    if let Value::Object(fields) = &mut value {
        fields.insert("cost_dollars".to_owned(), json!(detail.summary.cost.unwrap_or(Microdollars::ZERO).dollars()));
    }
    value
}
