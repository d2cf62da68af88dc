//! `infra logs telemetry spans`.

use clap::Args;
use systemprompt_telemetry::stored::{StoredSpan, list_spans};

use super::filter::Which;
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Row, time};

/// The latest spans.
#[derive(Debug, Args)]
pub(crate) struct Spans {
    #[command(flatten)]
    which: Which,
    /// Only of this trace, by its 32 hexadecimal digits or as a UUID.
    #[arg(long)]
    trace: Option<String>,
}

impl Spans {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let filter = self.which.filter(self.trace, invocation)?;
        let found = list_spans(&database.db, &filter).await.map_err(CliError::database)?;
        self.which.show(found, |span| span.id, invocation);
        Ok(())
    }
}

impl Row for StoredSpan {
    const COLUMNS: &'static [&'static str] =
        &["time", "trace", "span", "name", "service", "#took_us", "status", "user"];
    const NONE: &'static str = "No spans.";

    fn cells(&self) -> Vec<String> {
        vec![
            time(self.started_at),
            self.trace_id.simple().to_string(),
            self.span_id.clone(),
            self.name.clone(),
            self.service.clone().unwrap_or_default(),
            self.duration_us.to_string(),
            self.status.clone(),
            self.user_id.to_string(),
        ]
    }
}
