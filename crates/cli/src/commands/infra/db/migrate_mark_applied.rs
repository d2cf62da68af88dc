//! `infra db migrate-mark-applied`.

use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_database::install::history::{self, MigrationRow};

use super::declared::Declared;
use super::failure::history_failure;
use crate::bounds::within;
use crate::change::{About, Change, made};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Record a migration as applied without running it.
#[derive(Debug, Args)]
#[command(disable_version_flag = true)]
pub(crate) struct MigrateMarkApplied {
    /// The extension.
    #[arg(long)]
    extension: String,
    /// The migration's number.
    #[arg(long = "version", id = "migration", value_name = "VERSION", value_parser = within::<u32>(1..=999_999))]
    version: u32,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl MigrateMarkApplied {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Declared { modules, options } = Declared::of(invocation);
        let Self { extension, version, yes } = self;
        invocation
            .confirm(yes, &format!("Record migration {version} of {extension} as applied without running it?"))
            .await?;
        let change =
            Change::new("schema.mark_applied", About::new("extension", &extension), &json!({"version": version}));
        let mark = async || {
            let row = history::mark_applied(&database.db, &modules, &options, &extension, version).await;
            Ok(made(row.map_err(history_failure)?))
        };
        let row = invocation.change(database, change, mark).await?;
        invocation.printer.show(&Marked(row));
        Ok(())
    }
}

#[derive(Serialize)]
struct Marked(MigrationRow);

impl View for Marked {
    fn text(&self, _: Layout) -> Text {
        Text::line(format!("Recorded {:03} {}.", self.0.version, self.0.name))
    }
}
