//! `plugins validate`.

use clap::Args;
use serde::Serialize;
use systemprompt_extension::ExtensionRegistry;

use crate::error::{CliError, CliResult, Exit};
use crate::project::Invocation;
use crate::view::{Layout, Text, View};

/// Check every declaration. Exit status 1 if something is wrong.
#[derive(Debug, Args)]
pub(crate) struct Validate {}

impl Validate {
    pub(crate) fn run(self, invocation: &Invocation, registry: &ExtensionRegistry) -> CliResult {
        let errors: Vec<_> = registry
            .validate_all()
            .iter()
            .map(|error| Finding {
                extension_id: error.extension().map(str::to_owned),
                error_type: error.code(),
                message: error.to_string(),
                hint: error.hint(),
            })
            .collect();
        let valid = errors.is_empty();
        let verdict = Verdict { valid, extension_count: registry.len(), errors, warnings: Vec::new() };
        invocation.printer.show(&verdict);
        if valid { Ok(()) } else { Err(CliError::status(Exit::Failure)) }
    }
}

#[derive(Serialize)]
struct Verdict {
    valid: bool,
    extension_count: usize,
    errors: Vec<Finding>,
    warnings: Vec<Finding>,
}

#[derive(Serialize)]
struct Finding {
    extension_id: Option<String>,
    error_type: &'static str,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
}

impl View for Verdict {
    fn text(&self, _: Layout) -> Text {
        if self.valid {
            return Text::line(format!("{} extensions, no problems.", self.extension_count));
        }
        let line = |finding: &Finding| match &finding.hint {
            Some(hint) => format!("{} [{}]\n  fix: {hint}", finding.message, finding.error_type),
            None => format!("{} [{}]", finding.message, finding.error_type),
        };
        Text::below(self.errors.iter().map(line).map(Text::lines))
    }
}
