//! `infra db migrate-down`.

use clap::Args;
use serde_json::json;
use systemprompt_database::install::history::{self, Reverted, Run};

use super::declared::Declared;
use super::failure::history_failure;
use crate::bounds::within;
use crate::change::{About, Change, altered};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, yes};

/// Take the newest migrations of an extension back, newest first.
#[derive(Debug, Args)]
pub(crate) struct MigrateDown {
    /// The extension.
    extension: String,
    /// How many.
    #[arg(default_value_t = 1, value_parser = within::<usize>(1..=1000))]
    count: usize,
    /// Show which they are.
    #[arg(long)]
    dry_run: bool,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl MigrateDown {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Declared { modules, options } = Declared::of(invocation);
        let extension = self.extension.as_str();
        let down = async |run: Run| {
            history::down(&database.db, &modules, &options, extension, self.count, run).await.map_err(history_failure)
        };
        let planned = down(Run::Plan).await?;
        if self.dry_run || planned.is_empty() {
            invocation.printer.show(&Page::whole(planned));
            return Ok(());
        }
        let names: Vec<_> = planned.iter().map(|row| format!("{:03} {}", row.version, row.name)).collect();
        invocation
            .confirm(self.yes, &format!("Take back {} of {extension}? Their data is lost.", names.join(", ")))
            .await?;
        let change = Change::new("schema.down", About::new("extension", extension), &json!({"count": self.count}));
        let reverted =
            invocation.change(database, change, async || Ok(altered(&planned, down(Run::Apply).await?))).await?;
        invocation.printer.show(&Page::whole(reverted));
        Ok(())
    }
}

impl Row for Reverted {
    const COLUMNS: &'static [&'static str] = &["migration", "taken back"];
    const NONE: &'static str = "No migration of this extension is recorded.";

    fn cells(&self) -> Vec<String> {
        vec![format!("{:03} {}", self.version, self.name), yes(self.applied)]
    }
}
