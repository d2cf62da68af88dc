//! `admin access-control validate`.

use clap::Args;
use serde::Serialize;
use systemprompt_config::{Problem, Report};

use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, Project, invalid, no_profile};
use crate::view::{Layout, Text, View};

/// Check services/access-control: rules, groups and roles. Exit status 78 if there are errors.
#[derive(Debug, Args)]
pub(crate) struct Validate {}

impl Validate {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        let (_, mut report) =
            Project::inspect(invocation.home()?, invocation.globals.profile.clone(), &invocation.environment)?;
        if let Some(missing) = no_profile(&report) {
            return Err(missing);
        }
        let is_of_rules = |problem: &Problem| {
            let directory = problem.path.as_deref().and_then(std::path::Path::parent);
            directory.is_some_and(|directory| directory.ends_with("access-control"))
        };
        report.problems.retain(is_of_rules);
        if !report.has_errors() {
            invocation.printer.show(&Verdict { valid: true, report });
            return Ok(());
        }
        if invocation.printer.is_text() {
            return Err(invalid(&report, &invocation.printer));
        }
        invocation.printer.show(&Verdict { valid: false, report });
        Err(CliError::status(Exit::Invalid))
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
            nothing if nothing.is_empty() => Text::line("The access rules are valid."),
            warnings => Text::lines(format!("{warnings}\nThe access rules are valid, with warnings.")),
        }
    }
}
