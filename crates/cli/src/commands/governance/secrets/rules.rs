//! `governance secrets rules`: what the policy `secret_scan` looks for.

use clap::{Args, Subcommand};
use serde::Serialize;
use systemprompt_config::nearest;
use systemprompt_governance::secret_scan::{Rule, built_in, forms};

use super::of_project::scanner;
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
                invocation.printer.show(&Page::whole(all(invocation)?.into_iter().filter(fits).collect()));
            }
            Self::Show(command) => invocation.printer.show(&one(invocation, &command.id)?),
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

fn all(invocation: &Invocation) -> CliResult<Vec<Shown>> {
    let (scanner, config) = scanner(invocation)?;
    let of = |rule: &Rule| Shown::of(rule, if rule.acts { "acts" } else { "records" });
    let off = built_in().into_iter().filter(|rule| config.rules.disable.contains(&rule.id));
    let mut rules: Vec<Shown> = scanner.rules().iter().map(of).chain(off.map(|rule| Shown::of(&rule, "off"))).collect();
    rules.sort_by(|left, right| left.id.cmp(&right.id));
    Ok(rules)
}

fn one(invocation: &Invocation, id: &str) -> CliResult<Shown> {
    let rules = all(invocation)?;
    let near = nearest(id, rules.iter().map(|rule| rule.id.as_str())).map(str::to_owned);
    let rule = rules.into_iter().find(|rule| rule.id == id).ok_or_else(|| {
        let error = CliError::new("unknown_rule", format!("there is no rule `{id}`")).exit(Exit::Usage);
        error.help(near.map_or_else(
            || "systemprompt governance secrets rules list   shows those there are".to_owned(),
            |near| format!("did you mean `{near}`?"),
        ))
    })?;
    Ok(Shown { forms: forms(id), ..rule })
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
