//! `infra db execute`.

use clap::Args;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::failure::failure;
use crate::change::{About, Change, Changed};
use crate::database::execute::{self, ExecuteResult, Keep};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Run one statement that changes something.
#[derive(Debug, Args)]
pub(crate) struct Execute {
    /// The statement.
    sql: String,
    /// Run it and roll back.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Execute {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        if !self.dry_run {
            invocation.confirm(self.yes, "Execute this statement? It cannot be undone.").await?;
        }
        // The statement may hold what must not be kept; its digest tells whether it was this one.
        let statement_sha256 = hex::encode(Sha256::digest(&self.sql));
        let keep = if self.dry_run { Keep::Nothing } else { Keep::Changes };
        let execute = async || {
            let result = execute::execute(&database.db, &self.sql, keep).await.map_err(failure)?;
            Ok(Changed::unseen(result))
        };
        let name = database.db.target().database;
        let request = json!({"statement_sha256": statement_sha256, "dry_run": self.dry_run});
        let change = Change::new("database.execute", About::new("database", name), &request);
        let result = invocation.change(database, change, execute).await?;
        tracing::warn!(
            statement_sha256,
            rows_affected = result.rows_affected,
            dry_run = result.dry_run,
            "an operator executed a statement"
        );
        invocation.printer.show(&result);
        Ok(())
    }
}

impl View for ExecuteResult {
    fn text(&self, _: Layout) -> Text {
        let how = if self.dry_run { ", rolled back" } else { "" };
        Text::line(format!("{} rows affected{how} ({} ms)", self.rows_affected, self.execution_time_ms))
    }
}
