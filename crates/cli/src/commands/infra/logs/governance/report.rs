//! `infra logs governance report`.

use clap::{Args, ValueEnum};
use serde::Serialize;
use systemprompt_governance::decision_report::{DecisionCount, GroupBy, ReportFilter, count_decisions};

use crate::bounds::{ROWS, within};
use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::moment::{Moment, span};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Page, Row, Text, View, time};

/// How often what was decided, by policy, tool, user or decision; those with most refusals first.
#[derive(Debug, Args)]
pub(crate) struct Report {
    /// Only decisions of this time or later: 2026-01-31, 2026-01-31T12:00:00Z, or 15m, 2h, 7d ago.
    #[arg(long, value_name = "TIME")]
    since: Option<Moment>,
    /// Only decisions before this time.
    #[arg(long, value_name = "TIME")]
    until: Option<Moment>,
    /// By what they are counted.
    #[arg(long, value_enum, default_value_t = By::Policy)]
    group_by: By,
    /// Only `allow`, `warn` or `deny`.
    #[arg(long, value_enum)]
    decision: Option<Decision>,
    /// Only those of this policy.
    #[arg(long)]
    policy: Option<String>,
    /// A table for people, a table for programs, or JSON as `--json` gives it.
    #[arg(long, value_enum, default_value_t = Format::Table)]
    format: Format,
    /// At most so many groups.
    #[arg(long, short = 'n', default_value = "100", value_parser = within::<i64>(ROWS))]
    limit: i64,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    Policy,
    Tool,
    User,
    Decision,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Decision {
    Allow,
    Warn,
    Deny,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Table,
    Csv,
    Json,
}

impl Report {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let (since, until) = span(self.since, self.until, invocation.ambient.now())?;
        let decision = self.decision.map(|decision| match decision {
            Decision::Allow => "allow".to_owned(),
            Decision::Warn => "warn".to_owned(),
            Decision::Deny => "deny".to_owned(),
        });
        let by = match self.group_by {
            By::Policy => GroupBy::Policy,
            By::Tool => GroupBy::Tool,
            By::User => GroupBy::User,
            By::Decision => GroupBy::Decision,
        };
        catch_up(&database.db).await?;
        let filter = ReportFilter { since, until, decision, policy: self.policy };
        let counts = count_decisions(database.db.write(), by, &filter, self.limit).await.map_err(CliError::database)?;
        match self.format {
            Format::Table => invocation.printer.show(&Page::whole(counts)),
            Format::Csv => invocation.printer.show(&Csv(counts)),
            Format::Json => invocation.printer.show(&Document(Page::whole(counts))),
        }
        Ok(())
    }
}

impl Row for DecisionCount {
    const COLUMNS: &'static [&'static str] =
        &["group", "#decisions", "#allowed", "#warned", "#denied", "#users", "first", "last"];
    const NONE: &'static str = "No decisions.";

    fn cells(&self) -> Vec<String> {
        vec![
            self.group.clone(),
            self.decisions.to_string(),
            self.allowed.to_string(),
            self.warned.to_string(),
            self.denied.to_string(),
            self.users.to_string(),
            time(self.first_at),
            time(self.last_at),
        ]
    }
}

/// A table for programs, as RFC 4180 has it.
#[derive(Serialize)]
struct Csv(Vec<DecisionCount>);

impl View for Csv {
    fn text(&self, _: Layout) -> Text {
        let mut lines = vec!["group,decisions,allowed,warned,denied,users,first_at,last_at".to_owned()];
        lines.extend(self.0.iter().map(|count| {
            format!(
                "{},{},{},{},{},{},{},{}",
                cell(&count.group),
                count.decisions,
                count.allowed,
                count.warned,
                count.denied,
                count.users,
                count.first_at.to_rfc3339(),
                count.last_at.to_rfc3339()
            )
        }));
        Text::lines(lines.join("\n"))
    }
}

/// A cell. What a spreadsheet would take for a formula it is kept from.
fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { "'" } else { "" };
    format!("\"{guard}{}\"", text.replace('"', "\"\""))
}

/// The same whether people or programs get it.
#[derive(Serialize)]
struct Document(Page<DecisionCount>);

impl View for Document {
    fn text(&self, _: Layout) -> Text {
        Text::lines(serde_json::to_string_pretty(&self.0).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::cell;

    #[test]
    fn no_cell_is_a_formula_or_ends_its_row() {
        assert_eq!(cell("secret_scan"), "\"secret_scan\"");
        assert_eq!(cell("=HYPERLINK(\"x\")"), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(cell("a,b\n"), "\"a,b\n\"");
    }
}
