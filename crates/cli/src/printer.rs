//! Where results go: one document on standard output, everything else on standard error.

use std::io::{IsTerminal, Write};

use comfy_table::presets::{NOTHING, UTF8_HORIZONTAL_ONLY};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table as TextTable};
use serde::Serialize;
use serde_json::Value;
use systemprompt_config::profile::OutputFormat;

use crate::yaml;

/// The form of results.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
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
pub struct Printer {
    /// The form of results.
    pub format: Format,
    /// Whether standard error gets more than errors.
    pub quiet: bool,
    /// Whether escape codes and box characters may be used.
    pub decorated: bool,
}

/// Rows for people. The same command gives its typed result to [`Printer::result`] for programs.
#[derive(Debug, Clone, Default)]
pub struct Table {
    headers: Vec<String>,
    numeric: Vec<bool>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these columns; a column whose name begins with `#` holds numbers and is aligned to the right.
    pub fn new(headers: &[&str]) -> Self {
        Self {
            headers: headers.iter().map(|header| header.trim_start_matches('#').to_owned()).collect(),
            numeric: headers.iter().map(|header| header.starts_with('#')).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with one text per column.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// One thing with named properties, for people.
#[derive(Debug, Clone, Default)]
pub struct Record(Vec<(String, String)>);

impl Record {
    /// No properties yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a property; absent ones are left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Option<String>>) -> Self {
        if let Some(value) = value.into() {
            self.0.push((name.to_owned(), value));
        }
        self
    }
}

impl Printer {
    /// A printer for this process's terminal.
    pub fn new(format: Format, quiet: bool, no_color: bool) -> Self {
        Self { format, quiet, decorated: !no_color && std::io::stdout().is_terminal() }
    }

    /// The characters of validation reports.
    pub fn symbols(&self) -> systemprompt_config::Symbols {
        if self.decorated { systemprompt_config::Symbols::Unicode } else { systemprompt_config::Symbols::Ascii }
    }

    /// Whether results are for people.
    pub fn is_text(&self) -> bool {
        self.format == Format::Text
    }

    /// The result of a command: `text` for people, `value` for programs.
    pub fn result(&self, value: &impl Serialize, text: impl FnOnce() -> String) {
        let document = match self.format {
            Format::Text => text(),
            Format::Json => serde_json::to_string_pretty(value)
                .unwrap_or_else(|error| format!("{{\"error\":{:?}}}", error.to_string())),
            Format::Yaml => yaml::to_string(&serde_json::to_value(value).unwrap_or(Value::Null)),
        };
        self.document(&document);
    }

    /// A list with columns for people.
    pub fn list(&self, value: &impl Serialize, table: impl FnOnce() -> Table, nothing: &str) {
        self.result(value, || {
            let table = table();
            if table.is_empty() { nothing.to_owned() } else { self.table(&table) }
        });
    }

    /// One thing with properties for people.
    pub fn record(&self, value: &impl Serialize, record: impl FnOnce() -> Record) {
        self.result(value, || self.properties(&record()));
    }

    /// Lays out a table.
    pub fn table(&self, table: &Table) -> String {
        let mut text = TextTable::new();
        text.load_style(if self.decorated { UTF8_HORIZONTAL_ONLY } else { NOTHING });
        if self.decorated {
            text.set_content_arrangement(ContentArrangement::Dynamic);
        }
        text.set_header(&table.headers);
        for row in &table.rows {
            text.add_row(row.iter().zip(&table.numeric).map(|(cell, numeric)| {
                Cell::new(cell).set_alignment(if *numeric { CellAlignment::Right } else { CellAlignment::Left })
            }));
        }
        text.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
    }

    /// Lays out properties, names in one column.
    pub fn properties(&self, record: &Record) -> String {
        let width = record.0.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        let indent = " ".repeat(width + 2);
        record
            .0
            .iter()
            .map(|(name, value)| format!("{name:width$}  {}", value.replace('\n', &format!("\n{indent}"))))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// A line about what is going on; not part of the result.
    #[expect(clippy::print_stderr, reason = "this is where the CLI talks to people")]
    pub fn note(&self, text: impl AsRef<str>) {
        if !self.quiet {
            eprintln!("{}", text.as_ref());
        }
    }

    /// A line that is printed even when quiet.
    #[expect(clippy::print_stderr, reason = "this is where the CLI talks to people")]
    pub fn alert(&self, text: impl AsRef<str>) {
        eprintln!("{}", text.as_ref());
    }

    /// Writes to standard output. A reader that went away (`| head`) ends the output, not the command.
    pub fn document(&self, text: &str) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

/// Sizes for people: `1.5 MB`.
pub fn bytes(size: i64) -> String {
    let mut value = size as f64;
    for unit in ["B", "kB", "MB", "GB", "TB"] {
        if value < 1000.0 || unit == "TB" {
            return if unit == "B" { format!("{size} B") } else { format!("{value:.1} {unit}") };
        }
        value /= 1000.0;
    }
    unreachable!("the last unit returns")
}

/// Points in time for people, in UTC to the second.
pub fn time(at: chrono::DateTime<chrono::Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}
