//! `infra logs stream`.

use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use systemprompt_server::logs::{LogQuery, read};
use tokio::signal::unix::{SignalKind, signal};

use super::line::Level;
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};

/// How often the log is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// Log lines as they come, until interrupted.
#[derive(Debug, Args)]
pub(crate) struct Stream {
    /// Only this level.
    #[arg(long)]
    level: Option<Level>,
    /// Only lines that contain this.
    #[arg(long)]
    text: Option<String>,
}

impl Stream {
    /// Prints lines as they are stored: one document a line with `--json`, a stream of documents with `--yaml`.
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let mut query = LogQuery {
            level: self.level.map(Level::name),
            text: self.text,
            limit: 1000,
            since: Some(invocation.ambient.now() - TimeDelta::seconds(10)),
            ..LogQuery::default()
        };
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| CliError::from_error("failed", &error))?;
        loop {
            let lines = read(&database.db, &query).await.map_err(CliError::database)?;
            for line in &lines {
                invocation.printer.show_next(line);
            }
            if let Some(last) = lines.last() {
                query.after_id = Some(last.id);
            }
            tokio::select! {
                _ = interrupt.recv() => return Ok(()),
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }
}
