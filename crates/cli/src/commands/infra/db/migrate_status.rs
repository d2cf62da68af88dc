//! `infra db migrate-status`.

use clap::Args;
use systemprompt_database::install::history::{self, MigrationStatus};

use super::declared::Declared;
use super::failure::history_failure;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Table, Text, View};

/// Applied, pending, drifted and orphaned migrations.
#[derive(Debug, Args)]
pub(crate) struct MigrateStatus {
    /// Only this extension.
    extension: Option<String>,
}

impl MigrateStatus {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Declared { modules, options } = Declared::of(invocation);
        let status = history::status(&database.db, &modules, &options, self.extension.as_deref()).await;
        invocation.printer.show(&status.map_err(history_failure)?);
        Ok(())
    }
}

impl View for MigrationStatus {
    fn text(&self, layout: Layout) -> Text {
        let mut table = Table::new(&["extension", "#applied", "#pending", "#drifted", "#orphaned"]);
        for extension in &self.extensions {
            let counts =
                [extension.applied.len(), extension.pending.len(), extension.drifted.len(), extension.orphaned.len()];
            table.row(std::iter::once(extension.extension.clone()).chain(counts.map(|count| count.to_string())));
        }
        layout.table(&table)
    }
}
