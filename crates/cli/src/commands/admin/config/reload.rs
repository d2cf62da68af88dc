//! `admin config reload`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use serde_json::json;
use sqlx::postgres::{PgListener, PgPoolOptions};
use systemprompt_database::notify;
use systemprompt_model::ActionId;
use systemprompt_server::reload::{ANSWERED, ASKED, Reloaded, Report};

use crate::bounds::{WAIT, within};
use crate::change::{About, Change, Changed};
use crate::error::{CliError, CliResult, Exit};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Page, Row};

/// Have every running server read its configuration again.
///
/// What this machine has is checked first. Every server on this database then reads its own files and says how that went: a
/// configuration is in force as a whole or not at all, and what cannot change without a restart is named. Exit status 78 if
/// one refused.
#[derive(Debug, Args)]
pub(crate) struct Reload {
    /// How long to wait for their answers, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = within::<u32>(WAIT))]
    wait: u32,
}

impl Reload {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let project = invocation.project()?;
        let profile = project.configuration.profile.name.clone();
        let work = invocation.with_database(async |database| self.ask(invocation, database, &profile).await);
        let (answers, servers) = Box::pin(work).await?;
        let refused = answers.iter().any(|answer| matches!(answer.reloaded, Reloaded::Refused { .. }));
        let silent = servers.saturating_sub(answers.len());
        invocation.printer.show(&Page::whole(answers.into_iter().map(Answer::of).collect()));
        if silent > 0 {
            return Err(CliError::new("no_answer", format!("{silent} of {servers} servers did not answer in time"))
                .help("`systemprompt infra logs search` and their health pages say how they are")
                .exit(Exit::Unavailable));
        }
        if refused { Err(CliError::status(Exit::Invalid)) } else { Ok(()) }
    }

    async fn ask(
        &self,
        invocation: &Invocation,
        database: &OpenDatabase,
        profile: &str,
    ) -> CliResult<(Vec<Report>, usize)> {
        let servers = servers(database).await.map_err(CliError::database)?;
        if servers == 0 {
            return Err(CliError::new("not_running", "no server runs on this database")
                .help("the next start reads the configuration: systemprompt up"));
        }
        let pool = PgPoolOptions::new().max_connections(1).connect_lazy_with(database.db.dedicated_options("reload"));
        let mut listener = PgListener::connect_with(&pool).await.map_err(CliError::database)?;
        listener.listen(ANSWERED).await.map_err(CliError::database)?;
        let word = ActionId::generate(&invocation.ambient).to_string();
        let ask = async || {
            notify::notify(database.db.write(), ASKED, &word).await.map_err(CliError::database)?;
            Ok(Changed { before: None, after: None, value: () })
        };
        let change = Change::new("configuration.reload", About::new("configuration", profile), &json!({}));
        invocation.change(database, change, ask).await?;
        let mut answers: Vec<Report> = Vec::new();
        let all = async {
            while answers.len() < servers {
                let heard = listener.recv().await.map_err(CliError::database)?;
                let report = serde_json::from_str::<Report>(heard.payload()).ok();
                answers.extend(report.filter(|report| report.asked == word));
            }
            Ok::<_, CliError>(())
        };
        // Whoever is silent by then is counted.
        if let Ok(failed) = tokio::time::timeout(Duration::from_secs(self.wait.into()), all).await {
            failed?;
        }
        answers.sort_by(|a, b| a.instance.cmp(&b.instance));
        Ok((answers, servers))
    }
}

/// How many servers listen on this database. Each has one connection for that.
async fn servers(database: &OpenDatabase) -> Result<usize, sqlx::Error> {
    let listening: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'systemprompt/%:listen'",
    )
    .fetch_one(database.db.write())
    .await?;
    Ok(usize::try_from(listening).unwrap_or(0))
}

/// What a server answered.
#[derive(Serialize)]
struct Answer {
    instance: String,
    outcome: &'static str,
    changed: Vec<String>,
    needs_restart: Vec<String>,
    problems: Vec<String>,
}

impl Answer {
    fn of(report: Report) -> Self {
        let (outcome, changed, needs_restart, problems) = match report.reloaded {
            Reloaded::Unchanged => ("unchanged", Vec::new(), Vec::new(), Vec::new()),
            Reloaded::Applied { changed, needs_restart } => ("applied", changed, needs_restart, Vec::new()),
            Reloaded::Refused { problems } => ("refused", Vec::new(), Vec::new(), problems),
        };
        Self { instance: report.instance, outcome, changed, needs_restart, problems }
    }
}

impl Row for Answer {
    const COLUMNS: &'static [&'static str] = &["server", "outcome", "changed", "needs restart", "problems"];
    const NONE: &'static str = "No server answered.";

    fn cells(&self) -> Vec<String> {
        vec![
            self.instance.clone(),
            self.outcome.to_owned(),
            self.changed.join(", "),
            self.needs_restart.join(", "),
            self.problems.join("; "),
        ]
    }
}
