//! `infra db migrate-history`.

use clap::Args;
use systemprompt_database::install::history::{self, HistoryError, MigrationRow};
use systemprompt_extension::ExtensionRegistry;

use super::failure::history_failure;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, time};

/// What is recorded of an extension's migrations, oldest first. The extension need not be in this binary.
#[derive(Debug, Args)]
pub(crate) struct MigrateHistory {
    /// The extension.
    extension: String,
}

impl MigrateHistory {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let rows = match history::history(&database.db, &self.extension).await {
            // Nothing is recorded of it, but it is there.
            Err(HistoryError::UnknownExtension { .. }) if is_linked(&self.extension) => Vec::new(),
            rows => rows.map_err(history_failure)?,
        };
        invocation.printer.show(&Page::whole(rows));
        Ok(())
    }
}

fn is_linked(extension: &str) -> bool {
    ExtensionRegistry::discover().modules().iter().any(|module| module.id == extension)
}

impl Row for MigrationRow {
    const COLUMNS: &'static [&'static str] = &["migration", "recorded", "by version", "how", "#ms"];
    const NONE: &'static str = "No migrations.";

    fn cells(&self) -> Vec<String> {
        vec![
            format!("{:03} {}", self.version, self.name),
            time(self.applied_at),
            self.applied_by.clone(),
            if self.stamped { "recorded only" } else { "run" }.to_owned(),
            self.duration_ms.to_string(),
        ]
    }
}
