//! `admin config validate`.

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use systemprompt_config::{Problem, Report};
use systemprompt_extension::ExtensionRegistry;
use systemprompt_model::with_causes;

use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, Project, invalid, no_profile};
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
        let (project, mut report) =
            Project::inspect(invocation.home()?, invocation.globals.profile.clone(), &invocation.environment)?;
        if let Some(missing) = no_profile(&report) {
            return Err(missing);
        }
        if let Some(Err(error)) = project.map(|project| project.check_signing_key()) {
            let problem = Problem::error("profile", "security.signing_key_path", with_causes(&error));
            report.problems.push(problem.suggest(error.hint().unwrap_or("make the file readable for its owner only")));
        }
        let valid = if self.strict { report.problems.is_empty() } else { !report.has_errors() };
        if !valid && invocation.printer.is_text() {
            return Err(invalid(&report, &invocation.printer));
        }
        invocation.printer.show(&Verdict { valid, report });
        if valid { Ok(()) } else { Err(CliError::status(Exit::Invalid)) }
    }
}

#[derive(Serialize)]
struct Verdict {
    valid: bool,
    #[serde(flatten)]
    report: Report,
}

impl View for Verdict {
    fn text(&self, layout: Layout) -> Text {
        match self.report.text(layout.symbols()) {
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
