//! `infra db count`.

use clap::Args;

use super::failure::failure;
use crate::database::catalog::{self, Counted};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Rows of a table, counted exactly.
#[derive(Debug, Args)]
pub(crate) struct Count {
    /// The table.
    table: String,
}

impl Count {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        invocation.printer.show(&catalog::count(&database.db, &self.table).await.map_err(failure)?);
        Ok(())
    }
}

impl View for Counted {
    fn text(&self, _: Layout) -> Text {
        Text::line(self.row_count.to_string())
    }
}
