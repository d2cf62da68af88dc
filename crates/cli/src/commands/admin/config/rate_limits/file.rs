//! `admin config rate-limits export` and `import`: limits in a file of their own.

use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_config::edit::Step::Key;
use systemprompt_config::profile::RateLimits;

use super::difference::differences;
use crate::error::{CliError, CliResult, Exit};
use crate::profile_file::ProfileFile;
use crate::project::Invocation;
use crate::view::{Layout, Text, View, yaml};

/// Write the limits in force to a file.
#[derive(Debug, Args)]
pub(crate) struct Export {
    /// The file.
    file: PathBuf,
}

/// Take the limits of a file.
#[derive(Debug, Args)]
pub(crate) struct Import {
    /// The file, as `export` writes it.
    file: PathBuf,
    /// Do not ask.
    #[arg(short, long)]
    yes: bool,
}

impl Export {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        let limits = &invocation.project()?.configuration.profile.rate_limits;
        std::fs::write(&self.file, format!("{}\n", yaml(limits)))
            .map_err(|error| CliError::new("export_failed", format!("{}: {error}", self.file.display())))?;
        invocation.printer.show(&Exported { file: self.file });
        Ok(())
    }
}

impl Import {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let limits = read(&self.file)?;
        apply(invocation, &limits, "rate_limits.import", &format!("the limits of {}", self.file.display()), self.yes)
            .await
    }
}

/// Puts limits into the profile.
pub(super) async fn apply(
    invocation: &Invocation,
    limits: &RateLimits,
    operation: &'static str,
    what: &str,
    yes: bool,
) -> CliResult {
    let mut profile = ProfileFile::open(invocation)?;
    let changed = differences(&profile.project.configuration.profile.rate_limits, limits);
    if !changed.is_empty() {
        invocation.confirm(yes, &format!("Change {} values to {what}?", changed.len())).await?;
        profile.set(&[Key("rate_limits")], limits)?;
    }
    profile.save(operation, &json!({"changed": changed}), format!("The profile has {what}.")).await
}

/// The limits in a file.
pub(super) fn read(file: &Path) -> CliResult<RateLimits> {
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::new("file_unreadable", format!("{}: {error}", file.display())).exit(Exit::Usage))?;
    let value = systemprompt_config::edit::YamlText::new(text).map(|document| document.value().clone());
    let read = value
        .map_err(|error| error.to_string())
        .and_then(|value| serde_json::from_value(value).map_err(|error| error.to_string()));
    read.map_err(|error| {
        CliError::new("file_invalid", format!("{}: {error}", file.display()))
            .help("systemprompt admin config rate-limits export FILE   writes one")
            .exit(Exit::Invalid)
    })
}

#[derive(Debug, Serialize)]
struct Exported {
    file: PathBuf,
}

impl View for Exported {
    fn text(&self, _: Layout) -> Text {
        Text::line(format!("Wrote {}.", self.file.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_not_there_is_named() {
        let error = read(Path::new("/nowhere/limits.yaml")).expect_err("there is none");
        assert_eq!((&*error.code, error.exit), ("file_unreadable", Exit::Usage));
        assert!(error.text(false).contains("/nowhere/limits.yaml: "), "{error:?}");
    }
}
