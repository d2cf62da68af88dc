//! Where results go: one document on standard output, everything else on standard error.

use std::io::{ErrorKind, IsTerminal, Write};
use std::sync::OnceLock;

use systemprompt_config::profile::OutputFormat;

use crate::error::{CliError, CliResult, Exit};
use crate::view::{Layout, Text, View, WIDTH, json, json_line, yaml};
use crate::visible;

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Text,
    /// One JSON document.
    Json,
    /// One YAML document.
    Yaml,
}

impl From<OutputFormat> for Format {
    fn from(format: OutputFormat) -> Self {
        match format {
            OutputFormat::Text => Self::Text,
            OutputFormat::Json => Self::Json,
            OutputFormat::Yaml => Self::Yaml,
        }
    }
}

/// Prints what commands have to say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Printer {
    /// The form of results.
    pub(crate) format: Format,
    /// How text for people is laid out.
    pub(crate) layout: Layout,
    /// Whether standard error gets no more than errors.
    quiet: bool,
}

impl Printer {
    /// A printer for this process's terminal.
    pub(crate) fn new(format: Format, quiet: bool, no_color: bool) -> Self {
        let is_terminal = std::io::stdout().is_terminal();
        let width = comfy_table::Table::new().width().filter(|_| is_terminal).map_or(WIDTH, usize::from).max(WIDTH);
        Self { format, quiet, layout: Layout { decorated: !no_color && is_terminal, width } }
    }

    /// Whether results are for people.
    pub(crate) fn is_text(&self) -> bool {
        self.format == Format::Text
    }

    /// The result of a command.
    pub(crate) fn show(&self, view: &impl View) {
        match self.format {
            Format::Text => self.say(&view.text(self.layout)),
            Format::Json => self.document(&json(view)),
            Format::Yaml => self.document(&yaml(view)),
        }
    }

    /// One of several results that come one after the other: a line of JSON, or a YAML document of a stream of them. Whether
    /// they reach anybody.
    pub(crate) fn show_next(&self, view: &impl View) -> bool {
        let written = match self.format {
            Format::Text => write(view.text(self.layout).as_str()),
            Format::Json => write(&json_line(view)),
            Format::Yaml => write(&format!("---\n{}", yaml(view))),
        };
        written.is_ok()
    }

    /// A command that failed. Programs read one document from standard output, whichever way it went.
    pub(crate) fn failure(&self, error: &CliError, debug: bool) {
        let written = match self.format {
            _ if error.said => return,
            Format::Text => return self.alert(error.text(debug)),
            Format::Json => write(&json_line(&error.value())),
            Format::Yaml => write(&yaml(&error.value())),
        };
        if written.is_err() {
            self.alert(error.text(debug));
        }
    }

    /// A line about what is going on; not part of the result.
    pub(crate) fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            self.alert(text);
        }
    }

    /// A line that is printed even when quiet.
    pub(crate) fn alert(&self, text: impl AsRef<str>) {
        // Where nobody listens there is nobody to tell so.
        let _ = writeln!(std::io::stderr(), "{}", visible::lines(text.as_ref()));
    }

    /// Text for people, on standard output.
    pub(crate) fn say(&self, text: &Text) {
        self.document(text.as_str());
    }

    /// Writes to standard output. A reader that went away (`| head`) ends the output, not the command, which tells by its
    /// exit status that not all of its result was read.
    fn document(&self, text: &str) {
        let _ = write(text);
    }
}

fn write(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    if let Err(error) = &written {
        note_loss(error);
    }
    written
}

/// Remembers that a result was lost.
pub(crate) fn note_loss(error: &std::io::Error) {
    // The first loss says it all.
    let _ = LOSS.set((error.kind(), error.to_string()));
}

/// Fails if some result could not be written. Who stopped reading knows that, and is told by the status only.
pub(crate) fn nothing_lost() -> CliResult {
    match LOSS.get() {
        None => Ok(()),
        Some((ErrorKind::BrokenPipe, _)) => Err(CliError::status(Exit::BrokenPipe)),
        Some((_, why)) => {
            Err(CliError::new("output_failed", format!("the result cannot be written to standard output: {why}")))
        }
    }
}

/// Why a result was lost.
static LOSS: OnceLock<(ErrorKind, String)> = OnceLock::new();
