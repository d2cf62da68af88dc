//! `infra logs audit export`.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_governance::ledger::export::export;

use crate::change::{About, Change, Changed};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View};

/// Write the whole log as lines of JSON, which `verify --file` verifies without a database.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file to write.
    #[arg(long, short = 'o', value_name = "FILE")]
    output: PathBuf,
}

#[derive(Debug, Serialize)]
struct Exported {
    file: PathBuf,
    entries: u64,
}

impl Export {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let change = Change::new("ledger.export", About::new("ledger", "all"), &json!({"file": self.output}));
        invocation.change(database, change, async || Ok(Changed::unseen(()))).await?;
        let failed = |error: std::io::Error| CliError::from_error("export_failed", &error);
        let mut file = BufWriter::new(File::create(&self.output).map_err(failed)?);
        let entries = export(database.db.write(), &mut file).await;
        let entries = entries.map_err(|error| CliError::from_error("export_failed", &error))?;
        file.flush().map_err(failed)?;
        invocation.printer.show(&Exported { file: self.output, entries });
        Ok(())
    }
}

impl View for Exported {
    fn text(&self, _: Layout) -> Text {
        Text::line(format!("Wrote {} entries of the ledger to {}.", self.entries, self.file.display()))
    }
}
