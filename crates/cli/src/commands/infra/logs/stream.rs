//! `infra logs stream`.

use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use systemprompt_server::logs::{LogQuery, read};

use super::line::Level;
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};

/// How often the log is looked at.
const EVERY: Duration = Duration::from_millis(500);

/// Log lines as they come, until interrupted.
#[derive(Debug, Args)]
pub(crate) struct Stream {
    /// Only this level and those above it.
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
            levels: self.level.map(Level::and_above),
            text: self.text,
            limit: 1000,
            since: Some(invocation.ambient.now() - TimeDelta::seconds(10)),
            ..LogQuery::default()
        };
        loop {
            let lines = read(&database.db, &query).await.map_err(CliError::database)?;
            if !lines.iter().all(|line| invocation.printer.show_next(line)) {
                // The reader has seen enough (`| head`).
                return Ok(());
            }
            if let Some(last) = lines.last() {
                query.after_id = Some(last.id);
            }
            tokio::time::sleep(EVERY).await;
        }
    }
}
