//! `governance secrets test`.

use std::io::Read as _;
use std::path::Path;

use clap::Args;
use serde::Serialize;
use systemprompt_governance::config::{SecretAction, SecretScanConfig};
use systemprompt_governance::secret_scan::{Examined, hash};

use super::masked::masked;
use super::of_project::scanner;
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
        let (scanner, config) = scanner(invocation)?;
        let content = read(&self.text)?;
        let items = scanner.examine(&content).into_iter().map(|found| Found::of(&content, &found, &config)).collect();
        invocation.printer.show(&Page::whole(items));
        Ok(())
    }
}

/// What the argument means.
fn read(text: &str) -> CliResult<Vec<u8>> {
    let mut content = Vec::new();
    let limited = |source: &mut dyn std::io::Read, content: &mut Vec<u8>| source.take(LARGEST + 1).read_to_end(content);
    let taken = if text == "-" {
        limited(&mut std::io::stdin(), &mut content)
    } else if Path::new(text).is_file() {
        std::fs::File::open(text).and_then(|mut file| limited(&mut file, &mut content))
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
    /// What happens to it: `replaced`, `refused`, `recorded`, or `allowed`.
    outcome: &'static str,
    masked: String,
    sha256: String,
}

impl Found {
    fn of(content: &[u8], examined: &Examined<'_>, config: &SecretScanConfig) -> Self {
        let before = &content[..examined.found.at.start];
        let line_start = before.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let rule = examined.found.rule;
        let outcome = if examined.is_allowed {
            "allowed"
        } else if !rule.acts {
            "recorded"
        } else if config.action == SecretAction::Deny || config.deny.contains(&rule.id) {
            "refused"
        } else {
            "replaced"
        };
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
