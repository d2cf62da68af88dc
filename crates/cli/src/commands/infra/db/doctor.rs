//! `infra db doctor`.

use clap::Args;
use serde_json::{Map, Value, json};

use super::declared::Declared;
use super::failure::failure;
use crate::database::doctor::{self, Doctor as Findings};
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Text, View, yaml};

/// Compare the declared schema with the live one.
#[derive(Debug, Args)]
pub(crate) struct Doctor {
    /// Exit status 1 if there are findings.
    #[arg(long)]
    strict: bool,
}

impl Doctor {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Declared { modules, options } = Declared::of(invocation);
        let found = doctor::doctor(&database.db, &modules, &options).await.map_err(failure)?;
        invocation.printer.show(&found);
        if self.strict && !found.is_healthy() {
            invocation.printer.note("systemprompt infra db migrate   applies what is missing");
            return Err(CliError::status(Exit::Failure));
        }
        Ok(())
    }
}

impl View for Findings {
    fn text(&self, _: Layout) -> Text {
        if self.is_healthy() {
            return Text::line("The live schema is the declared one.");
        }
        let value = serde_json::to_value(self).unwrap_or_default();
        let findings: Map<_, _> = value
            .as_object()
            .into_iter()
            .flatten()
            .filter(|(_, finding)| !matches!(finding, Value::Array(items) if items.is_empty()) && **finding != json!(0))
            .map(|(key, finding)| (key.clone(), finding.clone()))
            .collect();
        Text::lines(yaml(&findings))
    }
}
