//! `governance secrets scan-history`.

use clap::Args;
use serde::Serialize;
use serde_json::json;
use systemprompt_governance::config::SecretScanConfig;
use systemprompt_governance::ledger::history::{self, Cursor};
use systemprompt_governance::secret_scan::{SecretScanner, hash};
use systemprompt_model::ActionId;

use super::masked::masked;
use super::of_project::Scan;
use super::rules::unknown;
use crate::bounds::{ROWS, within};
use crate::change::{About, Change, Changed};
use crate::error::{CliError, CliResult, Exit};
use crate::moment::{Moment, span};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row};

/// Look through what the ledger keeps of prompts and answers with the rules of today: what they would find now. That you had
/// it read is recorded.
#[derive(Debug, Args)]
pub(crate) struct ScanHistory {
    /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
    #[arg(long)]
    since: Option<Moment>,
    /// Only until then.
    #[arg(long)]
    until: Option<Moment>,
    /// Only what this rule finds.
    #[arg(long)]
    rule: Option<String>,
    /// At most so many findings.
    #[arg(short = 'n', long, default_value_t = 100, value_parser = within::<u32>(ROWS))]
    limit: u32,
}

impl ScanHistory {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let Scan { scanner, config, .. } = Scan::of(invocation)?;
        if let Some(rule) = &self.rule {
            check(rule, &scanner, &config)?;
        }
        let (since, until) = span(self.since, self.until, invocation.ambient.now())?;
        let asked = json!({
            "command": "governance secrets scan-history",
            "since": since,
            "until": until,
            "rule": self.rule,
            "limit": self.limit,
        });
        let change = Change::new("content.read", About::new("ledger", "content"), &asked);
        invocation.change(database, change, async || Ok(Changed::unseen(()))).await?;

        let mut connection = database.db.read().acquire().await.map_err(CliError::database)?;
        let (mut cursor, mut items, mut parts) = (Cursor::default(), Vec::new(), 0_u64);
        let limit = self.limit as usize;
        'pages: loop {
            let page = history::page(&mut connection, &cursor, since, until).await.map_err(CliError::database)?;
            let Some(last) = page.last() else { break };
            cursor = Cursor::after(last);
            for kept in page {
                parts += 1;
                for text in kept.texts() {
                    let wanted = |id: &str| self.rule.as_deref().is_none_or(|rule| rule == id);
                    for found in scanner.matches(text.as_bytes()).iter().filter(|found| wanted(&found.rule.id)) {
                        if items.len() == limit {
                            invocation.printer.note("There is more; use --limit or --rule.");
                            break 'pages;
                        }
                        let value = found.value.expose();
                        items.push(Later {
                            created_at: kept.created_at,
                            request_id: kept.action,
                            part: kept.part.clone(),
                            rule: found.rule.id.clone(),
                            masked: masked(value),
                            sha256: hash(value),
                        });
                    }
                }
            }
        }
        invocation.printer.show(&Page::whole(items));
        invocation.printer.note(format!("{parts} texts were looked through."));
        Ok(())
    }
}

/// Whether a rule of this name is in force, before everything is read for it in vain.
fn check(rule: &str, scanner: &SecretScanner, config: &SecretScanConfig) -> CliResult {
    let mut ids = scanner.rules().iter().map(|rule| rule.id.as_str());
    if ids.clone().any(|id| id == rule) {
        return Ok(());
    }
    if config.rules.disable.iter().any(|id| id == rule) {
        let message = format!("the rule `{rule}` is switched off");
        return Err(CliError::new("rule_disabled", message)
            .exit(Exit::Usage)
            .help("take it out of `rules.disable` of the policy secret_scan"));
    }
    Err(unknown(rule, &mut ids))
}

/// What would be found now.
#[derive(Debug, Serialize)]
struct Later {
    created_at: chrono::DateTime<chrono::Utc>,
    request_id: ActionId,
    /// Which text of it: `request`, `answer`, or the call of a tool.
    part: String,
    rule: String,
    masked: String,
    sha256: String,
}

impl Row for Later {
    const COLUMNS: &'static [&'static str] = &["time", "request", "~part", "rule", "secret"];
    const NONE: &'static str = "The rules of today find nothing in what is kept.";

    fn cells(&self) -> Vec<String> {
        vec![
            crate::view::time(self.created_at),
            self.request_id.to_string(),
            self.part.clone(),
            self.rule.clone(),
            self.masked.clone(),
        ]
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_rule_that_is_not_in_force_is_told_before_anything_is_read() {
        let config: SecretScanConfig =
            serde_json::from_value(json!({"rules": {"disable": ["jwt-raw"]}})).expect("settings");
        let scanner = SecretScanner::new(&config).expect("a scanner");
        assert!(check("github-token-classic", &scanner, &config).is_ok());
        for (rule, code) in [("github-token-clasic", "unknown_rule"), ("jwt-raw", "rule_disabled")] {
            assert_eq!(check(rule, &scanner, &config).expect_err(rule).code, code);
        }
    }
}
