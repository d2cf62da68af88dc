//! `infra db tables`.

use clap::Args;

use super::declared::Declared;
use super::failure::failure;
use crate::database::catalog::{self, TableInfo};
use crate::database::qualified;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, bytes};

/// Tables with their owners, rows (estimated) and sizes.
#[derive(Debug, Args)]
pub(crate) struct Tables {
    /// Only names that contain this.
    #[arg(long)]
    filter: Option<String>,
}

impl Tables {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Declared { modules, options } = Declared::of(invocation);
        let tables = catalog::tables(&database.db, &modules, &options, self.filter.as_deref()).await;
        invocation.printer.show(&Page::whole(tables.map_err(failure)?));
        Ok(())
    }
}

impl Row for TableInfo {
    const COLUMNS: &'static [&'static str] = &["table", "extension", "#rows (about)", "#size"];
    const NONE: &'static str = "No tables.";

    fn cells(&self) -> Vec<String> {
        vec![
            qualified(&self.schema, &self.name),
            self.owner_extension.clone().unwrap_or_default(),
            self.row_count.map_or("?".to_owned(), |count| count.to_string()),
            bytes(self.size_bytes),
        ]
    }
}
