//! `infra db indexes`.

use clap::Args;

use super::failure::failure;
use crate::database::catalog::{self, Index};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, bytes, yes};

/// Indexes.
#[derive(Debug, Args)]
pub(crate) struct Indexes {
    /// Only those of this table.
    #[arg(long)]
    table: Option<String>,
}

impl Indexes {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let indexes = catalog::indexes(&database.db, self.table.as_deref()).await.map_err(failure)?;
        invocation.printer.show(&Page::whole(indexes));
        Ok(())
    }
}

impl Row for Index {
    const COLUMNS: &'static [&'static str] = &["index", "table", "columns", "unique", "#size"];
    const NONE: &'static str = "No indexes.";

    fn cells(&self) -> Vec<String> {
        let unique = if self.valid { yes(self.unique) } else { "invalid".to_owned() };
        vec![self.name.clone(), self.table.clone(), self.columns.join(", "), unique, bytes(self.size_bytes)]
    }
}
