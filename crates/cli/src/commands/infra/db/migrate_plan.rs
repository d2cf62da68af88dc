//! `infra db migrate-plan`.

use clap::Args;
use systemprompt_database::install::history::{self, MigrationPlan, PlannedAction};

use super::declared::Declared;
use super::failure::history_failure;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// What `migrate` would do.
#[derive(Debug, Args)]
pub(crate) struct MigratePlan {
    /// Only this extension.
    extension: Option<String>,
}

impl MigratePlan {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Declared { modules, options } = Declared::of(invocation);
        let plan = history::plan(&database.db, &modules, &options, self.extension.as_deref()).await;
        invocation.printer.show(&plan.map_err(history_failure)?);
        Ok(())
    }
}

impl View for MigrationPlan {
    fn text(&self, _: Layout) -> Text {
        if self.extensions.is_empty() && self.problems.is_empty() {
            return Text::line("Nothing to do.");
        }
        let mut lines = Vec::new();
        for extension in &self.extensions {
            lines.push(format!("{}{}", extension.extension, if extension.fresh { " (new)" } else { "" }));
            if extension.schema_changed {
                lines.push("  apply the declarative schema".to_owned());
            }
            lines.extend(extension.migrations.iter().map(|migration| {
                let action = match migration.action {
                    PlannedAction::Run => "run",
                    PlannedAction::Stamp => "record",
                };
                format!("  {action} {:03} {}", migration.version, migration.name)
            }));
        }
        lines.extend(self.problems.iter().map(|problem| format!("problem: {problem}")));
        Text::below(lines.iter().map(Text::line))
    }
}
