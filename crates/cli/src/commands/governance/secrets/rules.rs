//! `governance secrets rules`: what the policy `secret_scan` looks for.

use clap::{Args, Subcommand};
use serde::Serialize;
use systemprompt_config::nearest;
use systemprompt_governance::secret_scan::{Rule, built_in, forms};

use super::of_project::Scan;
use crate::error::{CliError, CliResult, Exit};
use crate::project::Invocation;
use crate::view::{Layout, Page, Record, Row, Text, View};

/// What the policy `secret_scan` looks for.
#[derive(Debug, Subcommand)]
pub(crate) enum Rules {
    List(List),
    Show(Show),
}

/// The rules, those of the project included.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Only those with this in their id, or in what they are.
    #[arg(long)]
    filter: Option<String>,
}

/// One rule: what it is, how it is recognised, and what happens to what it finds.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id.
    id: String,
}

impl Rules {
    pub(crate) fn run(self, invocation: &Invocation) -> CliResult {
        match self {
            Self::List(command) => {
                let wanted = command.filter.unwrap_or_default().to_lowercase();
                let fits =
                    |rule: &Shown| rule.id.contains(&wanted) || rule.description.to_lowercase().contains(&wanted);
                let scan = Scan::of(invocation)?;
                invocation.printer.show(&Page::whole(all(&scan).into_iter().filter(fits).collect()));
                scan.note(invocation);
            }
            Self::Show(command) => {
                let scan = Scan::of(invocation)?;
                invocation.printer.show(&one(&scan, &command.id)?);
                scan.note(invocation);
            }
        }
        Ok(())
    }
}

/// A rule, as the project has it.
#[derive(Debug, Serialize)]
struct Shown {
    id: String,
    description: String,
    category: &'static str,
    confidence: &'static str,
    /// What happens to what it finds: `acts`, `records`, or `off`.
    mode: &'static str,
    /// How it is recognised.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    forms: Vec<String>,
}

impl Shown {
    fn of(rule: &Rule, mode: &'static str) -> Self {
        Self {
            id: rule.id.clone(),
            description: rule.description.clone(),
            category: rule.category.as_str(),
            confidence: rule.confidence.as_str(),
            mode,
            forms: Vec::new(),
        }
    }
}

fn all(scan: &Scan) -> Vec<Shown> {
    let of = |rule: &Rule| Shown::of(rule, scan.mode(rule));
    let off = built_in().into_iter().filter(|rule| scan.config.rules.disable.contains(&rule.id));
    let off = off.map(|rule| Shown::of(&rule, "off"));
    let mut rules: Vec<Shown> = scan.scanner.rules().iter().map(of).chain(off).collect();
    rules.sort_by(|left, right| left.id.cmp(&right.id));
    rules
}

fn one(scan: &Scan, id: &str) -> CliResult<Shown> {
    let mut rules = all(scan);
    match rules.iter().position(|rule| rule.id == id) {
        Some(at) => Ok(Shown { forms: forms(id), ..rules.swap_remove(at) }),
        None => Err(unknown(id, rules.iter().map(|rule| rule.id.as_str()))),
    }
}

/// That none of these rules has this id.
pub(super) fn unknown<'r>(id: &str, rules: impl Iterator<Item = &'r str>) -> CliError {
    let error = CliError::new("unknown_rule", format!("there is no rule `{id}`")).exit(Exit::Usage);
    error.help(nearest(id, rules).map_or_else(
        || "systemprompt governance secrets rules list   shows those there are".to_owned(),
        |near| format!("did you mean `{near}`?"),
    ))
}

impl Row for Shown {
    const COLUMNS: &'static [&'static str] = &["rule", "~what it is", "?for", "sure", "mode"];
    const NONE: &'static str = "No rule matches.";

    fn cells(&self) -> Vec<String> {
        vec![
            self.id.clone(),
            self.description.clone(),
            self.category.to_owned(),
            self.confidence.to_owned(),
            self.mode.to_owned(),
        ]
    }
}

impl View for Shown {
    fn text(&self, layout: Layout) -> Text {
        layout.record(
            &Record::new()
                .with("rule", self.id.clone())
                .with("what it is", self.description.clone())
                .with("for", self.category.to_owned())
                .with("how sure", self.confidence.to_owned())
                .with("mode", self.mode.to_owned())
                .with_list("looks like", self.forms.iter().cloned()),
        )
    }
}
