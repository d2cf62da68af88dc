//! `infra db query`.

use std::time::Duration;

use clap::Args;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::failure::failure;
use crate::bounds::{OFFSET, within};
use crate::change::{About, Change, Changed};
use crate::database::query::{self, QueryOptions, QueryResult};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Table, Text, View};

/// How long a statement may take.
const LIMIT: Duration = Duration::from_secs(30);

/// Where what was said is kept: who reads it is recorded.
const CONTENT: &str = "ledger_content";

/// Run one reading statement, in a read-only transaction. That you read `ledger_content` is recorded.
#[derive(Debug, Args)]
pub(crate) struct Query {
    /// SELECT, WITH, EXPLAIN, SHOW, TABLE or VALUES.
    sql: String,
    /// At most this many rows.
    #[arg(short = 'n', long, default_value_t = 1000, value_parser = within::<u64>(1..=1_000_000))]
    limit: u64,
    /// Leave out this many rows.
    #[arg(long, default_value_t = 0, value_parser = within::<u64>(OFFSET))]
    offset: u64,
}

impl Query {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let options =
            QueryOptions { limit: self.limit as usize, offset: self.offset as usize, statement_timeout: LIMIT };
        if self.sql.to_ascii_lowercase().contains(CONTENT) {
            // The statement may quote what was said; its digest tells whether it was this one.
            let request =
                json!({"command": "infra db query", "statement_sha256": hex::encode(Sha256::digest(&self.sql))});
            let change = Change::new("content.read", About::new("table", CONTENT), &request);
            invocation.change(database, change, async || Ok(Changed::unseen(()))).await?;
        }
        invocation.printer.show(&query::query(&database.db, &self.sql, &options).await.map_err(failure)?);
        Ok(())
    }
}

impl View for QueryResult {
    fn text(&self, layout: Layout) -> Text {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name.as_str()).collect();
        let mut table = Table::new(&names);
        for row in &self.rows {
            table.row(row.iter().map(|value| match value {
                Value::Null => String::new(),
                Value::String(text) => text.clone(),
                other => other.to_string(),
            }));
        }
        let more = if self.truncated { ", more were left out (--limit)" } else { "" };
        let sum = format!("({} rows{more}, {} ms)", self.row_count, self.execution_time_ms);
        Text::below([layout.table(&table), Text::line(sum)])
    }
}
