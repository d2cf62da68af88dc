//! `infra logs telemetry logs`.

use clap::Args;
use systemprompt_telemetry::stored::{StoredRecord, list_logs};

use super::filter::{Which, brief};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Row, time};

/// The latest log records and events.
#[derive(Debug, Args)]
pub(crate) struct Logs {
    #[command(flatten)]
    which: Which,
    /// Only of this trace, by its 32 hexadecimal digits or as a UUID.
    #[arg(long)]
    trace: Option<String>,
}

impl Logs {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let filter = self.which.filter(self.trace, invocation)?;
        let found = list_logs(&database.db, &filter).await.map_err(CliError::database)?;
        self.which.show(found, |record| record.id, invocation);
        Ok(())
    }
}

impl Row for StoredRecord {
    const COLUMNS: &'static [&'static str] = &["time", "severity", "event", "body", "attributes", "service", "user"];
    const NONE: &'static str = "No log records.";

    fn cells(&self) -> Vec<String> {
        vec![
            time(self.at),
            self.severity.clone().unwrap_or_default(),
            self.event.clone().unwrap_or_default(),
            self.body.clone().unwrap_or_default(),
            brief(&self.attributes),
            self.service.clone().unwrap_or_default(),
            self.user_id.to_string(),
        ]
    }
}
