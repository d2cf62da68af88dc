//! `admin config validate`.

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use systemprompt_config::Report;
use systemprompt_extension::ExtensionRegistry;

use crate::error::CliResult;
use crate::project::{Invocation, Project, invalid};
use crate::view::{Layout, Text, View, json};

/// Check everything that start-up checks, and report every problem. Exit status 78 if there are errors.
#[derive(Debug, Args)]
pub(crate) struct Validate {
    /// Treat warnings as errors.
    #[arg(long)]
    strict: bool,
    /// Print the JSON Schema of the profile instead.
    #[arg(long)]
    schema: bool,
}

impl Validate {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        if self.schema {
            let sections = ExtensionRegistry::discover().section_specs();
            invocation.printer.show(&Schema(systemprompt_config::json_schema(&sections)));
            return Ok(());
        }
        let (_, report) =
            Project::inspect(invocation.home()?, invocation.globals.profile.clone(), &invocation.environment)?;
        if report.has_errors() || (self.strict && !report.problems.is_empty()) {
            return Err(invalid(&report, &invocation.printer));
        }
        invocation.printer.show(&Valid(report));
        Ok(())
    }
}

#[derive(Serialize)]
struct Valid(Report);

impl View for Valid {
    fn text(&self, layout: Layout) -> Text {
        match self.0.text(layout.symbols()) {
            nothing if nothing.is_empty() => Text::line("The configuration is valid."),
            warnings => Text::lines(format!("{warnings}\nThe configuration is valid, with warnings.")),
        }
    }
}

#[derive(Serialize)]
struct Schema(Value);

impl View for Schema {
    fn text(&self, _: Layout) -> Text {
        Text::lines(json(&self.0))
    }
}
