//! `infra db size`.

use clap::Args;

use super::failure::failure;
use crate::database::catalog::{self, DatabaseSize};
use crate::database::qualified;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Table, Text, View, bytes};

/// Size of the database and its largest tables.
#[derive(Debug, Args)]
pub(crate) struct Size {}

impl Size {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        invocation.printer.show(&catalog::size(&database.db).await.map_err(failure)?);
        Ok(())
    }
}

impl View for DatabaseSize {
    fn text(&self, layout: Layout) -> Text {
        let mut table = Table::new(&["table", "#total", "#rows", "#indexes"]);
        for row in &self.tables {
            table.row([
                qualified(&row.schema, &row.name),
                bytes(row.size_bytes),
                bytes(row.table_bytes),
                bytes(row.index_bytes),
            ]);
        }
        Text::apart([Text::line(format!("{} in all", bytes(self.size_bytes))), layout.table(&table)])
    }
}
