//! `infra db describe`.

use clap::Args;

use super::failure::failure;
use crate::database::catalog::{self, TableDescription};
use crate::database::qualified;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Table, Text, View, yes};

/// Columns, indexes and foreign keys of a table.
#[derive(Debug, Args)]
pub(crate) struct Describe {
    /// The table, optionally with its schema.
    table: String,
}

impl Describe {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        invocation.printer.show(&catalog::describe(&database.db, &self.table).await.map_err(failure)?);
        Ok(())
    }
}

impl View for TableDescription {
    fn text(&self, layout: Layout) -> Text {
        let mut columns = Table::new(&["column", "type", "null", "default", "key"]);
        for column in &self.columns {
            columns.row([
                column.name.clone(),
                column.type_name.clone(),
                yes(column.nullable),
                column.default.clone().unwrap_or_default(),
                if column.primary_key { "primary" } else { "" }.to_owned(),
            ]);
        }
        let indexes =
            self.indexes.iter().map(|index| Text::line(format!("index {}: {}", index.name, index.definition)));
        let keys =
            self.foreign_keys.iter().map(|key| Text::line(format!("foreign key {}: {}", key.name, key.definition)));
        let table = Text::below(std::iter::once(layout.table(&columns)).chain(indexes).chain(keys));
        Text::apart([Text::line(qualified(&self.schema, &self.name)), table])
    }
}
