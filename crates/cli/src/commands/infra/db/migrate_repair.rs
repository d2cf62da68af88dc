//! `infra db migrate-repair`.

use clap::Args;
use serde_json::json;
use systemprompt_database::InstallOptions;
use systemprompt_database::install::history::{self, Repair, RepairAction, RepairMode, Run};

use super::declared::Declared;
use super::failure::history_failure;
use crate::change::{About, Change, altered};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row, yes};

/// Deal with migrations that changed after they were applied. Without --apply it shows what it would do.
#[derive(Debug, Args)]
pub(crate) struct MigrateRepair {
    /// Only this extension.
    extension: Option<String>,
    /// Do it: run them again and record the new checksum.
    #[arg(long)]
    apply: bool,
    /// Only record the new checksum.
    #[arg(long)]
    reconcile_only: bool,
}

impl MigrateRepair {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Declared { modules, options } = Declared::of(invocation);
        let options = InstallOptions { allow_checksum_drift: true, ..options };
        let mode = if self.reconcile_only { RepairMode::Reconcile } else { RepairMode::Reexecute };
        let extension = self.extension.as_deref();
        let repair = async |run: Run| {
            history::repair(&database.db, &modules, &options, extension, mode, run).await.map_err(history_failure)
        };
        let planned = repair(Run::Plan).await?;
        let repairs = if self.apply && !planned.is_empty() {
            let about = About::new("database", database.db.target().database);
            let request = json!({"extension": extension, "reconcile_only": self.reconcile_only});
            let change = Change::new("schema.repair", about, &request);
            invocation.change(database, change, async || Ok(altered(&planned, repair(Run::Apply).await?))).await?
        } else {
            planned
        };
        invocation.printer.show(&Page::whole(repairs));
        Ok(())
    }
}

impl Row for Repair {
    const COLUMNS: &'static [&'static str] = &["extension", "migration", "stored", "current", "action", "done"];
    const NONE: &'static str = "No migration has changed since it was applied.";

    fn cells(&self) -> Vec<String> {
        let action = match self.action {
            RepairAction::Reexecute => "run again",
            RepairAction::Reconcile => "record checksum",
            RepairAction::Skip => "skip: not transactional",
        };
        let short = |checksum: &str| checksum.chars().take(19).collect::<String>();
        vec![
            self.extension.clone(),
            format!("{:03} {}", self.drift.version, self.drift.name),
            short(&self.drift.stored),
            short(&self.drift.current),
            action.to_owned(),
            yes(self.applied),
        ]
    }
}
