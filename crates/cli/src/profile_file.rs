//! Changes of the profile by commands: made where they stand in the file, checked as a whole before anything is written, and
//! recorded.

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;
use systemprompt_config::edit::{EditError, Step, YamlText};
use systemprompt_config::files::write_file;

use crate::change::{About, Change, Changed, StateDigest};
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, Project, invalid};
use crate::view::{Layout, Text, View};

/// The profile of a project, to be changed.
pub(crate) struct ProfileFile<'a> {
    invocation: &'a Invocation,
    /// The project as it is.
    pub(crate) project: Project,
    before: String,
    document: YamlText,
}

/// What became of the profile.
#[derive(Debug, Serialize)]
pub(crate) struct Edited {
    /// The file.
    pub(crate) file: PathBuf,
    /// Whether it says otherwise now.
    pub(crate) written: bool,
    /// What was done, in a sentence.
    pub(crate) done: String,
    /// Whether running servers take it by themselves.
    pub(crate) watched: bool,
}

impl<'a> ProfileFile<'a> {
    /// The profile the command is about, which must be valid.
    pub(crate) fn open(invocation: &'a Invocation) -> CliResult<Self> {
        let project = invocation.project()?;
        let path = &project.configuration.profile_file;
        let before = std::fs::read_to_string(path)
            .map_err(|error| CliError::from_error("profile_unreadable", &error).exit(Exit::Configuration))?;
        let document = YamlText::new(before.clone()).map_err(by_hand)?;
        Ok(Self { invocation, project, before, document })
    }

    /// What it says at a place.
    pub(crate) fn get(&self, path: &[Step<'_>]) -> Option<&Value> {
        self.document.get(path)
    }

    /// Puts a value at a place.
    pub(crate) fn set(&mut self, path: &[Step<'_>], value: &impl Serialize) -> CliResult {
        self.document.set(path, value).map_err(by_hand)
    }

    /// Adds an item to a list.
    pub(crate) fn push(&mut self, path: &[Step<'_>], value: &impl Serialize) -> CliResult {
        self.document.push(path, value).map_err(by_hand)
    }

    /// Takes away what is at a place.
    pub(crate) fn remove(&mut self, path: &[Step<'_>]) -> CliResult<bool> {
        self.document.remove(path).map_err(by_hand)
    }

    /// Checks the whole configuration with the change in it.
    pub(crate) fn check(&self) -> CliResult {
        let path = &self.project.configuration.profile_file;
        // Beside the profile, because relative paths start there.
        let draft = path.with_file_name(format!(".profile-{}.yaml", std::process::id()));
        let written = write_file(&draft, self.document.text().as_bytes(), 0o600);
        let checked = written.map_err(|error| CliError::from_error("profile_not_written", &error)).and_then(|()| {
            let named = Some(draft.display().to_string());
            Project::inspect(self.project.home.clone(), named, &self.invocation.environment)
        });
        // A draft that stays behind is nobody's profile.
        let _ = std::fs::remove_file(&draft);
        let (_, mut report) = checked?;
        for problem in &mut report.problems {
            if problem.path.as_ref() == Some(&draft) {
                problem.path = Some(path.clone());
            }
        }
        if report.has_errors() {
            let failure = invalid(&report, &self.invocation.printer);
            return Err(failure.help("nothing was written: with this change the configuration would not be valid"));
        }
        Ok(())
    }

    /// Checks, writes and records the change. Nothing is recorded if nothing changes.
    pub(crate) async fn save(self, operation: &'static str, request: &Value, done: String) -> CliResult {
        let edited = self.write(operation, request, done).await?;
        edited.0.printer.show(&edited.1);
        Ok(())
    }

    async fn write(
        self,
        operation: &'static str,
        request: &Value,
        done: String,
    ) -> CliResult<(&'a Invocation, Edited)> {
        let configuration = &self.project.configuration;
        let (file, watched) = (configuration.profile_file.clone(), configuration.profile.server.watch_configuration);
        if self.document.text() == self.before {
            let done = "The profile says so already.".to_owned();
            return Ok((self.invocation, Edited { file, written: false, done, watched }));
        }
        self.check()?;
        let mode = std::fs::metadata(&file).map_or(0o644, |metadata| metadata.permissions().mode() & 0o777);
        let change = Change::new(operation, About::new("profile", &configuration.profile.name), request);
        let write = async || {
            write_file(&file, self.document.text().as_bytes(), mode)
                .map_err(|error| CliError::from_error("profile_not_written", &error).exit(Exit::Configuration))?;
            let (before, after) = (StateDigest::of(&self.before), StateDigest::of(&self.document.text()));
            Ok(Changed { before: Some(before), after: Some(after), value: () })
        };
        let invocation = self.invocation;
        let recorded = invocation.with_database(async |database| invocation.change(database, change, write).await);
        Box::pin(recorded).await?;
        Ok((invocation, Edited { file, written: true, done, watched }))
    }
}

/// The place of an item of a list with this value under a key.
pub(crate) fn position(list: Option<&Value>, key: &str, wanted: &str) -> Option<usize> {
    list?.as_array()?.iter().position(|item| item[key] == wanted)
}

fn by_hand(error: EditError) -> CliError {
    CliError::from_error("profile_not_changed", &error).exit(Exit::Configuration)
}

impl View for Edited {
    fn text(&self, _: Layout) -> Text {
        if !self.written {
            return Text::line(&self.done);
        }
        let next = if self.watched {
            "Running servers take it within seconds; `systemprompt admin config reload` tells how that went."
        } else {
            "`systemprompt admin config reload` has running servers take it."
        };
        Text::below([Text::line(&self.done), Text::line(next)])
    }
}
