//! `infra logs changes list`.

use clap::Args;
use systemprompt_governance::changes::{ChangeFilter, ChangeRow, list_changes};

use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::moment::moment;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, time};

/// The latest changes.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: u32,
    /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
    #[arg(long)]
    since: Option<String>,
    /// Only this operation (`user.create`), or those on this kind of thing (`user`).
    #[arg(long)]
    operation: Option<String>,
    /// Only of this kind of thing, or of the thing with this id.
    #[arg(long)]
    about: Option<String>,
    /// Go on after the cursor the last page printed.
    #[arg(long)]
    before: Option<String>,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let not_a_cursor = |cursor| CliError::invalid_value(format!("`{cursor}` is not a cursor"));
        let filter = ChangeFilter {
            since: moment(self.since.as_deref(), invocation.ambient.now())?,
            operation: self.operation,
            about: self.about,
            before: self.before.map(|cursor| cursor.parse().map_err(|_| not_a_cursor(cursor))).transpose()?,
            limit: self.limit,
        };
        catch_up(&database.db).await?;
        let found = list_changes(database.db.write(), &filter).await.map_err(CliError::database)?;
        let next = found.next.map(|next| next.to_string());
        let page = Page { items: found.items, next, total: None };
        invocation.printer.show(&page);
        if let Some(next) = page.next {
            invocation.printer.note(format!("\nmore: --before {next}"));
        }
        Ok(())
    }
}

impl Row for ChangeRow {
    const COLUMNS: &'static [&'static str] = &["time", "change", "operation", "about", "by", "status"];
    const NONE: &'static str = "No changes.";

    fn cells(&self) -> Vec<String> {
        vec![
            time(self.created_at),
            self.id.to_string(),
            self.operation.clone(),
            format!("{} {}", self.about_kind, self.about_id),
            format!("{} {}", self.actor_kind, self.actor_id),
            self.status.clone(),
        ]
    }
}
