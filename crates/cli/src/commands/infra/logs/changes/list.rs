//! `infra logs changes list`.

use clap::Args;
use systemprompt_governance::changes::{ChangeFilter, ChangeRow, list_changes};

use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::moment::span;
use crate::paging::Paging;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Row, time};

/// The latest changes.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    paging: Paging,
    /// Only this operation (`user.create`), or those on this kind of thing (`user`).
    #[arg(long)]
    operation: Option<String>,
    /// Only of this kind of thing, or of the thing with this id.
    #[arg(long)]
    about: Option<String>,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let (since, _) = span(self.paging.since, None, invocation.ambient.now())?;
        let filter = ChangeFilter {
            since,
            operation: self.operation,
            about: self.about,
            before: self.paging.before()?,
            limit: self.paging.limit,
        };
        catch_up(&database.db).await?;
        let found = list_changes(database.db.write(), &filter).await.map_err(CliError::database)?;
        invocation.show_page(found);
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
