//! `infra db migrate`.

use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_database::InstallOptions;
use systemprompt_database::install::{ModuleReport, install};

use super::declared::Declared;
use super::failure::failure;
use crate::change::{About, Change, made};
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Table, Text, View, yes};

/// Bring the schema up to date.
#[derive(Debug, Args)]
pub(crate) struct Migrate {
    /// Go on although an applied migration has changed since.
    #[arg(long)]
    allow_checksum_drift: bool,
    /// Apply migrations that are older than one already applied.
    #[arg(long)]
    allow_out_of_order: bool,
}

impl Migrate {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Declared { modules, options } = Declared::of(invocation);
        let options = InstallOptions {
            allow_checksum_drift: self.allow_checksum_drift,
            allow_out_of_order: self.allow_out_of_order,
            ..options
        };
        let request = json!({
            "allow_checksum_drift": self.allow_checksum_drift, "allow_out_of_order": self.allow_out_of_order,
        });
        let migrate = async || {
            let report = install(&database.db, &modules, &options).await.map_err(|error| failure(error.into()))?;
            let message = match report.migrations() {
                0 => "The schema is up to date.".to_owned(),
                count => format!("{count} migrations applied."),
            };
            Ok(made(Migrated {
                modules_installed: report.modules.iter().map(|module| module.extension.clone()).collect(),
                message,
                modules: report.modules,
                warnings: report.warnings,
            }))
        };
        let change = Change::new("schema.migrate", About::new("database", database.db.target().database), &request);
        let migrated = invocation.change(database, change, migrate).await?;
        invocation.printer.show(&migrated);
        Ok(())
    }
}

#[derive(Serialize)]
struct Migrated {
    modules_installed: Vec<String>,
    message: String,
    modules: Vec<ModuleReport>,
    warnings: Vec<String>,
}

impl View for Migrated {
    fn text(&self, layout: Layout) -> Text {
        let mut table = Table::new(&["extension", "fresh", "#statements", "#stamped", "#applied", "#seeds"]);
        for module in &self.modules {
            table.row([
                module.extension.clone(),
                yes(module.fresh),
                module.schema_statements.to_string(),
                module.stamped.len().to_string(),
                module.applied.len().to_string(),
                module.seeds.to_string(),
            ]);
        }
        let warnings = self.warnings.iter().map(|warning| Text::line(format!("warning: {warning}")));
        let said = Text::below(std::iter::once(Text::line(&self.message)).chain(warnings));
        Text::apart([layout.table(&table), said])
    }
}
