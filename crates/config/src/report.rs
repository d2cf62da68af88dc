//! Problems with the configuration, and how they are told to people.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use crate::document::Location;

/// How much a problem matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Nothing starts while it is there.
    Error,
    /// It starts, and says so.
    Warning,
}

/// One thing that is wrong, and where. Messages never hold the value of a secret or of an interpolated field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The part of the configuration: `profile`, `secrets`, `services`, a section's key, or `ext:<id>`.
    pub domain: String,
    /// Whether it stops the start.
    pub severity: Severity,
    /// The key, dotted, for example `server.port` or `providers[0].endpoint`.
    pub field: String,
    /// What is wrong, a sentence without a full stop.
    pub message: String,
    /// The file it was read from.
    pub path: Option<PathBuf>,
    /// The line in it, from 1.
    pub line: Option<usize>,
    /// The column in characters, from 1.
    pub column: Option<usize>,
    /// What to do.
    pub suggestion: Option<String>,
    /// A stable name of this kind of problem, for example `unknown_key`.
    pub code: &'static str,
}

impl Problem {
    /// A problem that stops the start.
    pub fn error(domain: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            domain: domain.into(),
            severity: Severity::Error,
            field: field.into(),
            message: message.into(),
            path: None,
            line: None,
            column: None,
            suggestion: None,
            code: "invalid_value",
        }
    }

    /// A problem that does not.
    pub fn warning(domain: impl Into<String>, field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(domain, field, message) }
    }

    /// Names the place in a file.
    #[must_use]
    pub fn at(mut self, location: &Location) -> Self {
        self.path = Some(location.file.to_path_buf());
        self.line = Some(location.line);
        self.column = Some(location.column);
        self
    }

    /// Names the place, when it is known.
    #[must_use]
    pub fn at_option(self, location: Option<&Location>) -> Self {
        match location {
            Some(location) => self.at(location),
            None => self,
        }
    }

    /// Names the file.
    #[must_use]
    pub fn in_file(mut self, path: &Path) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Says what to do.
    #[must_use]
    pub fn suggest(mut self, suggestion: impl Into<String>) -> Self {
        self.suggestion = Some(suggestion.into());
        self
    }

    /// Names the kind of problem; `invalid_value` otherwise.
    #[must_use]
    pub fn code(mut self, code: &'static str) -> Self {
        self.code = code;
        self
    }

    /// Whether it stops the start.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// One line: `server.port: must be …`.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.field.is_empty() { f.write_str(&self.message) } else { write!(f, "{}: {}", self.field, self.message) }
    }
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_struct("Problem", 7)?;
        out.serialize_field("field", &self.field)?;
        out.serialize_field("message", &self.message)?;
        for (key, value) in [
            ("path", self.path.as_ref().map(|path| path.to_string_lossy())),
            ("suggestion", self.suggestion.as_deref().map(Into::into)),
        ] {
            match value {
                Some(value) => out.serialize_field(key, &value)?,
                None => out.skip_field(key)?,
            }
        }
        for (key, value) in [("line", self.line), ("column", self.column)] {
            match value {
                Some(value) => out.serialize_field(key, &value)?,
                None => out.skip_field(key)?,
            }
        }
        out.serialize_field("code", self.code)?;
        out.end()
    }
}

/// Everything that is wrong with a configuration. As an error it reads as its plain text form.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The profile file, once it is known.
    pub profile_path: Option<PathBuf>,
    /// The project root; paths below it are shown relative to it.
    pub root: Option<PathBuf>,
    /// The problems, errors and warnings.
    pub problems: Vec<Problem>,
}

/// The characters of the text form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Symbols {
    /// `✗ ▸ ⚠`, for a terminal.
    Unicode,
    /// ASCII only, for files, pipes and `NO_COLOR`.
    Ascii,
}

impl Report {
    /// A report of these problems, for one profile.
    pub fn new(profile_path: Option<PathBuf>, problems: Vec<Problem>) -> Self {
        Self { profile_path, root: None, problems }
    }

    /// Whether anything stops the start.
    pub fn has_errors(&self) -> bool {
        self.problems.iter().any(Problem::is_error)
    }

    /// The errors, in the order of the report.
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.sorted().into_iter().filter(|problem| problem.is_error())
    }

    /// The warnings, in the order of the report.
    pub fn warnings(&self) -> impl Iterator<Item = &Problem> {
        self.sorted().into_iter().filter(|problem| !problem.is_error())
    }

    /// The text form for people, several lines, ending in a newline.
    pub fn text(&self, symbols: Symbols) -> String {
        let (cross, arrow, alert) = match symbols {
            Symbols::Unicode => ("\u{2717}", "\u{25b8}", "\u{26a0}"),
            Symbols::Ascii => ("x", ">", "!"),
        };
        let errors: Vec<_> = self.errors().collect();
        let mut out = String::new();
        let profile = self.profile_path.as_ref().map(|path| format!("  Profile: {}\n", path.display()));
        if errors.is_empty() {
            if self.problems.is_empty() {
                return out;
            }
            let _ = writeln!(out, "{alert} Configuration Warnings");
            out.extend(profile);
        } else {
            let _ = writeln!(out, "{cross} Validation Failed");
            out.extend(profile);
            let _ = writeln!(out, "  {} error(s) found:", errors.len());
        }
        let mut domain = None;
        for problem in errors {
            if domain != Some(&problem.domain) {
                let _ = writeln!(out, "\n  {arrow} {}", problem.domain);
                domain = Some(&problem.domain);
            }
            if problem.field.is_empty() {
                let _ = writeln!(out, "    error: {}", indented(&problem.message, 11));
                self.write_place(&mut out, problem, "    ", 3);
            } else {
                let _ = writeln!(out, "    {}\n      error: {}", problem.field, indented(&problem.message, 13));
                self.write_place(&mut out, problem, "      ", 3);
            }
        }
        for problem in self.warnings() {
            let message = indented(&problem.message, 6);
            if problem.field.is_empty() {
                let _ = writeln!(out, "\n  {alert} [{}] {message}", problem.domain);
            } else {
                let _ = writeln!(out, "\n  {alert} [{}] {}\n      {message}", problem.domain, problem.field);
            }
            self.write_place(&mut out, problem, "      ", 1);
        }
        out
    }

    /// Where the problem is and what to do, with `gap` spaces after the shorter label.
    fn write_place(&self, out: &mut String, problem: &Problem, indent: &str, gap: usize) {
        if let Some(path) = &problem.path {
            let shown = self.root.as_ref().and_then(|root| path.strip_prefix(root).ok()).unwrap_or(path);
            let _ = write!(out, "{indent}path:{:1$}{2}", "", gap.max(2) - 1, shown.display());
            for number in [problem.line, problem.column].into_iter().flatten() {
                let _ = write!(out, ":{number}");
            }
            out.push('\n');
        }
        if let Some(suggestion) = &problem.suggestion {
            let suggestion = indented(suggestion, indent.len() + 4 + gap);
            let _ = writeln!(out, "{indent}fix:{:gap$}{suggestion}", "");
        }
    }

    /// By domain in start-up order, then file, then line.
    fn sorted(&self) -> Vec<&Problem> {
        let mut sorted: Vec<_> = self.problems.iter().collect();
        sorted.sort_by_key(|p| (priority(&p.domain), &p.domain, &p.path, p.line, p.column));
        sorted
    }
}

/// The order in which the parts of the configuration are read and reported.
fn priority(domain: &str) -> u8 {
    match domain {
        "profile" => 0,
        "secrets" => 1,
        "services" => 2,
        "files" => 5,
        "web" => 10,
        "content" => 20,
        extension if extension.starts_with("ext:") => 200,
        _ => 100,
    }
}

fn indented(text: &str, columns: usize) -> String {
    text.trim_end().replace('\n', &format!("\n{}", " ".repeat(columns)))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text(Symbols::Ascii))
    }
}

impl std::error::Error for Report {}

impl Serialize for Report {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Group<'a> {
            domain: &'a str,
            errors: Vec<&'a Problem>,
            warnings: Vec<&'a Problem>,
        }

        let mut domains: BTreeMap<(u8, &str), Group<'_>> = BTreeMap::new();
        for problem in self.sorted() {
            let domain = problem.domain.as_str();
            let entry = domains.entry((priority(domain), domain)).or_insert(Group {
                domain,
                errors: Vec::new(),
                warnings: Vec::new(),
            });
            match problem.severity {
                Severity::Error => entry.errors.push(problem),
                Severity::Warning => entry.warnings.push(problem),
            }
        }
        let (extensions, domains): (Vec<_>, Vec<_>) =
            domains.into_iter().partition(|((_, domain), _)| domain.starts_with("ext:"));
        let mut out = serializer.serialize_struct("Report", 3)?;
        out.serialize_field("profile_path", &self.profile_path.as_ref().map(|path| path.to_string_lossy()))?;
        out.serialize_field("domains", &domains.into_iter().map(|(_, domain)| domain).collect::<Vec<_>>())?;
        out.serialize_field("extensions", &extensions.into_iter().map(|(_, domain)| domain).collect::<Vec<_>>())?;
        out.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Report {
        let at = |file: &str, line, column| Location { file: Path::new(file).into(), line, column };
        Report {
            profile_path: Some("/srv/x/.systemprompt/profiles/local/profile.yaml".into()),
            root: Some("/srv/x".into()),
            problems: vec![
                Problem::warning("files", "upload.maxFileSizeBytes", "larger than 2 GiB").suggest("lower the limit"),
                Problem::error("agents", "agents.welcome.port", "port 8123 is outside agent_port_range 9000-9999")
                    .at(&at("/srv/x/services/agents/welcome.yaml", 7, 9))
                    .suggest("choose a port in the range or widen settings.agent_port_range"),
                Problem::error("profile", "", "not a mapping").at(&at("/elsewhere/profile.yaml", 1, 1)),
                Problem::error("ext:acme", "acme.key", "is required").code("missing_key"),
            ],
        }
    }

    #[test]
    fn the_text_form() {
        insta::assert_snapshot!(sample().text(Symbols::Unicode), @r"
        ✗ Validation Failed
          Profile: /srv/x/.systemprompt/profiles/local/profile.yaml
          3 error(s) found:

          ▸ profile
            error: not a mapping
            path:  /elsewhere/profile.yaml:1:1

          ▸ agents
            agents.welcome.port
              error: port 8123 is outside agent_port_range 9000-9999
              path:  services/agents/welcome.yaml:7:9
              fix:   choose a port in the range or widen settings.agent_port_range

          ▸ ext:acme
            acme.key
              error: is required

          ⚠ [files] upload.maxFileSizeBytes
              larger than 2 GiB
              fix: lower the limit
        ");
    }

    #[test]
    fn the_plain_text_form_is_ascii() {
        assert!(sample().to_string().is_ascii());
        assert!(sample().to_string().starts_with("x Validation Failed\n"));
    }

    #[test]
    fn warnings_alone_have_their_own_head() {
        let report = Report { problems: sample().problems[..1].to_vec(), ..Report::default() };
        insta::assert_snapshot!(report, @r"
        ! Configuration Warnings

          ! [files] upload.maxFileSizeBytes
              larger than 2 GiB
              fix: lower the limit
        ");
    }

    #[test]
    fn the_json_form_groups_by_domain_and_keeps_extensions_apart() {
        let json = serde_json::to_value(sample()).unwrap();
        let names = |list: &str| -> Vec<_> {
            json[list].as_array().unwrap().iter().map(|domain| domain["domain"].as_str().unwrap()).collect()
        };
        assert_eq!(names("domains"), ["profile", "files", "agents"]);
        assert_eq!(names("extensions"), ["ext:acme"]);
        assert_eq!(
            json["domains"][2],
            serde_json::json!({
                "domain": "agents",
                "errors": [{
                    "field": "agents.welcome.port",
                    "message": "port 8123 is outside agent_port_range 9000-9999",
                    "path": "/srv/x/services/agents/welcome.yaml",
                    "line": 7,
                    "column": 9,
                    "suggestion": "choose a port in the range or widen settings.agent_port_range",
                    "code": "invalid_value",
                }],
                "warnings": [],
            })
        );
    }
}
