//! `governance secrets test`.

use std::io::Read as _;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use systemprompt_governance::secret_scan::{Examined, hash};

use super::masked::masked;
use super::of_project::Scan;
use crate::error::{CliError, CliResult, Exit};
use crate::project::Invocation;
use crate::view::{Layout, Page, Record, Row, Text};

/// The largest text, in bytes.
const LARGEST: u64 = 64 * 1024 * 1024;

/// Look for secrets in a text as the policy `secret_scan` does. What is found is shown masked, with the hash that an entry of
/// `allow` names it by.
#[derive(Debug, Args)]
pub(crate) struct Test {
    /// A text, a file, or `-` for standard input.
    #[arg(value_name = "TEXT|FILE|-")]
    text: String,
}

impl Test {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        let scan = Scan::of(invocation)?;
        let content = read(&self.text)?;
        let found = scan.scanner.examine(&content);
        invocation.printer.show(&Page::whole(found.iter().map(|found| Found::of(&content, found, &scan)).collect()));
        if is_perhaps_a_file(&self.text) {
            // It may be a secret, so it is not said again.
            invocation.printer.note("There is no such file; this was looked at as text.");
        }
        scan.note(invocation);
        Ok(())
    }
}

/// Whether this looks like the path of a file, and is none.
fn is_perhaps_a_file(text: &str) -> bool {
    let is_path = text.contains('/') && !text.contains("://") && !text.contains(char::is_whitespace);
    is_path && !Path::new(text).is_file()
}

/// What the argument means.
fn read(text: &str) -> CliResult<Vec<u8>> {
    let mut content = Vec::new();
    let limited = |source: &mut dyn std::io::Read, content: &mut Vec<u8>| source.take(LARGEST + 1).read_to_end(content);
    let taken = if text == "-" {
        limited(&mut std::io::stdin(), &mut content)
    } else if Path::new(text).is_file() {
        std::fs::File::open(text).and_then(|mut file| limited(&mut file, &mut content))
    } else if Path::new(text).is_dir() {
        return Err(CliError::invalid_value(format!("{text} is a directory; name a file in it")));
    } else {
        return Ok(text.as_bytes().to_vec());
    };
    let read = taken.map_err(|error| CliError::new("unreadable", format!("{text}: {error}")).exit(Exit::Usage))?;
    if read as u64 > LARGEST {
        return Err(CliError::invalid_value(format!("{text} is larger than {} MiB", LARGEST >> 20)));
    }
    Ok(content)
}

/// What was found.
#[derive(Debug, Serialize)]
struct Found {
    line: usize,
    /// In characters from 1.
    column: usize,
    /// Where in JSON, `$` for a text.
    path: String,
    rule: String,
    /// How sure it is.
    confidence: &'static str,
    /// What happens to it: `replaced`, `refused`, `recorded`, `allowed`, or `off` if requests are not looked through.
    outcome: &'static str,
    masked: String,
    sha256: String,
}

impl Found {
    fn of(content: &[u8], examined: &Examined<'_>, scan: &Scan) -> Self {
        let before = &content[..examined.found.at.start];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let rule = examined.found.rule;
        let outcome = if examined.is_allowed { "allowed" } else { scan.outcome(rule) };
        let value = examined.found.value.expose();
        Self {
            line: before.split(|&byte| byte == b'\n').count(),
            column: String::from_utf8_lossy(&before[line_start..]).chars().count() + 1,
            path: examined.path.clone(),
            rule: rule.id.clone(),
            confidence: rule.confidence.as_str(),
            outcome,
            masked: masked(value),
            sha256: hash(value),
        }
    }
}

impl Row for Found {
    const COLUMNS: &'static [&'static str] = &["#line", "#column", "rule", "sure", "what happens", "secret"];
    const NONE: &'static str = "Nothing found.";

    fn cells(&self) -> Vec<String> {
        vec![
            self.line.to_string(),
            self.column.to_string(),
            self.rule.clone(),
            self.confidence.to_owned(),
            self.outcome.to_owned(),
            self.masked.clone(),
        ]
    }

    /// The hash is to be copied, so nothing is cut.
    fn lay_out(items: &[Self], layout: Layout) -> Text {
        Text::apart(items.iter().map(|found| {
            let path = if found.path == "$" { String::new() } else { format!(", {}", found.path) };
            layout.record(
                &Record::new()
                    .with("rule", found.rule.clone())
                    .with("where", format!("line {}, column {}{path}", found.line, found.column))
                    .with("how sure", found.confidence.to_owned())
                    .with("outcome", found.outcome.to_owned())
                    .with("secret", found.masked.clone())
                    .with("sha256", found.sha256.clone()),
            )
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_no_text_and_a_path_that_is_no_file_is_told() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name).to_string_lossy().into_owned();
        std::fs::write(path("prod.env"), "NAME=value").expect("a file");
        assert!(read(&path("")).expect_err("it is no file").to_string().contains("is a directory"));
        assert_eq!(read(&path("prod.env")).expect("a file"), b"NAME=value");
        assert!(!is_perhaps_a_file(&path("prod.env")));
        for (text, told) in
            [(path("pord.env").as_str(), true), ("a / b", false), ("postgres://a:b@c/d", false), ("prod.env", false)]
        {
            assert_eq!(is_perhaps_a_file(text), told, "{text}");
            assert_eq!(read(text).expect("a text"), text.as_bytes());
        }
    }
}
