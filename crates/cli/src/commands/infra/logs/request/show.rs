//! `infra logs request show`.

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use systemprompt_gateway::request::queries::RequestDetail;

use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::requests::{Named, look_up, record, record_reading};
use crate::view::{Layout, Text, View};

/// One request.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id, or the beginning of it.
    id: String,
    /// With what was said. That you read it is recorded.
    #[arg(short, long)]
    messages: bool,
    /// With the tools that were called, which is recorded as well.
    #[arg(short, long)]
    tools: bool,
}

impl Show {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Self { id, messages, tools } = self;
        let found = look_up(&database.db, &id).await?;
        let [detail] = found.as_slice() else {
            return Err(CliError::new("ambiguous_id", format!("`{id}` is a trace of {} requests", found.len()))
                .help(format!("systemprompt infra logs audit {id}   shows them all"))
                .exit(Exit::Usage));
        };
        if messages || tools {
            record_reading(invocation, database, &found, "infra logs request show").await?;
        }
        invocation.printer.show(&Shown { detail, messages, tools });
        Ok(())
    }
}

/// A request, with as much of it as was asked for.
struct Shown<'a> {
    detail: &'a Named<RequestDetail>,
    messages: bool,
    tools: bool,
}

impl Serialize for Shown<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut value = serde_json::to_value(self.detail).map_err(serde::ser::Error::custom)?;
        if let Value::Object(fields) = &mut value {
            if !self.messages {
                fields.remove("messages");
                fields.remove("excerpts");
            }
            if !self.tools {
                fields.remove("tool_calls");
            }
        }
        value.serialize(serializer)
    }
}

impl View for Shown<'_> {
    fn text(&self, layout: Layout) -> Text {
        layout.record(&record(self.detail, self.messages.then_some(usize::MAX), self.tools))
    }
}
