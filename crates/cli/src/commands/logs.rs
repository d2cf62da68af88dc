//! `infra logs`: what the server said and what it recorded.

use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use systemprompt_database::DbPool;
use systemprompt_governance::ledger::queries::{self, RequestFilter, RequestStats, RequestSummary};
use systemprompt_identity::{UserReference, Users as Accounts};
use systemprompt_model::UserId;
use systemprompt_server::logs::{LogQuery, StoredLine, read};
use uuid::Uuid;

use crate::args::{Level, LogFilter, Logs, RequestLogs};
use crate::commands::audit;
use crate::error::{CliError, CliResult, Exit};
use crate::printer::{Printer, Table, time};
use crate::project::{Invocation, OpenDatabase};

/// How often a followed log is looked at.
const FOLLOW: Duration = Duration::from_millis(500);

/// Runs an `infra logs` command.
pub(crate) async fn run(invocation: &Invocation, command: Logs) -> CliResult {
    let database = invocation.database().await?;
    let outcome = match command {
        Logs::Request(command) => requests(invocation, &database, command).await,
        Logs::Audit(args) => audit::run(invocation, &database, args).await,
        Logs::View(filter) => view(invocation, &database, &filter, None).await,
        Logs::Search { text, filter } => view(invocation, &database, &filter, Some(text)).await,
        Logs::Stream { level, text } => stream(invocation, &database, level, text).await,
    };
    database.close().await;
    outcome
}

async fn view(invocation: &Invocation, database: &OpenDatabase, filter: &LogFilter, text: Option<String>) -> CliResult {
    let now = invocation.ambient.now();
    let trace = filter
        .trace
        .as_deref()
        .map(|trace| Uuid::try_parse(trace).map_err(|_| invalid(format!("`{trace}` is not a trace id"))))
        .transpose()?;
    let query = LogQuery {
        after_id: None,
        since: moment(filter.since.as_deref(), now)?,
        until: moment(filter.until.as_deref(), now)?,
        level: filter.level.map(level_name),
        trace_id: trace,
        text,
        limit: filter.limit.into(),
    };
    let lines = read(&database.db, &query).await.map_err(database_failure)?;
    let nothing = || "No log lines.".to_owned();
    let text = || lines.iter().map(line).collect::<Vec<_>>().join("\n");
    invocation.printer.result(&lines, || if lines.is_empty() { nothing() } else { text() });
    Ok(())
}

/// Prints lines as they are stored, one document a line with `--json`, until interrupted.
async fn stream(
    invocation: &Invocation,
    database: &OpenDatabase,
    level: Option<Level>,
    text: Option<String>,
) -> CliResult {
    let mut query = LogQuery {
        level: level.map(level_name),
        text,
        limit: 1000,
        since: Some(invocation.ambient.now() - TimeDelta::seconds(10)),
        ..LogQuery::default()
    };
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .map_err(|error| CliError::from_error("failed", &error))?;
    loop {
        let lines = read(&database.db, &query).await.map_err(database_failure)?;
        for stored in &lines {
            if invocation.printer.is_text() {
                invocation.printer.document(&line(stored));
            } else {
                invocation.printer.document(&serde_json::to_string(stored).unwrap_or_default());
            }
        }
        if let Some(last) = lines.last() {
            query.after_id = Some(last.id);
        }
        tokio::select! {
            _ = interrupt.recv() => return Ok(()),
            () = tokio::time::sleep(FOLLOW) => {}
        }
    }
}

fn line(stored: &StoredLine) -> String {
    let fields = stored.fields.as_object().into_iter().flatten();
    let fields: String = fields
        .map(|(key, value)| format!(" {key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    format!("{} {:5} {}{fields}", time(stored.at), stored.level, stored.message)
}

async fn requests(invocation: &Invocation, database: &OpenDatabase, command: RequestLogs) -> CliResult {
    let printer = &invocation.printer;
    let now = invocation.ambient.now();
    match command {
        RequestLogs::List { limit, since, until, provider, model, user, before } => {
            let user = match user {
                None => None,
                Some(user) => Some(find_user(invocation, &database.db, &user).await?),
            };
            let before = before
                .map(|cursor| cursor.parse().map_err(|_| invalid(format!("`{cursor}` is not a cursor"))))
                .transpose()?;
            let filter = RequestFilter {
                since: moment(since.as_deref(), now)?,
                until: moment(until.as_deref(), now)?,
                provider,
                model,
                user,
                before,
                limit,
            };
            let page = queries::list_requests(database.db.read(), &filter).await.map_err(database_failure)?;
            printer.list(&page, || request_table(&page.items), "No requests.");
            if let Some(next) = page.next {
                printer.note(format!("\nmore: --before {next}"));
            }
        }
        RequestLogs::Show { id, messages, tools } => audit::show(invocation, database, &id, messages, tools).await?,
        RequestLogs::Stats { since } => {
            let stats = queries::request_stats(database.db.read(), moment(since.as_deref(), now)?)
                .await
                .map_err(database_failure)?;
            printer.result(&stats, || statistics(printer, &stats));
        }
    }
    Ok(())
}

/// The latest requests of a user.
pub(crate) async fn requests_of(db: &DbPool, user: UserId, limit: u32) -> CliResult<Vec<RequestSummary>> {
    let filter = RequestFilter { user: Some(user), limit, ..RequestFilter::default() };
    Ok(queries::list_requests(db.read(), &filter).await.map_err(database_failure)?.items)
}

fn request_table(requests: &[RequestSummary]) -> Table {
    let mut table = Table::new(&["time", "request", "status", "model", "provider", "#in", "#out", "#cost", "#ms"]);
    for request in requests {
        let number = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        table.row([
            time(request.created_at),
            request.request_id.to_string(),
            request.status.clone(),
            request.requested_model.clone().unwrap_or_default(),
            request.provider.clone().unwrap_or_else(|| "-".to_owned()),
            number(request.input_tokens),
            number(request.output_tokens),
            request.cost.map_or("-".to_owned(), |cost| cost.to_string()),
            number(request.latency_ms),
        ]);
    }
    table
}

fn statistics(printer: &Printer, stats: &RequestStats) -> String {
    let mut table = Table::new(&["provider", "model", "#requests", "#failed", "#in", "#out", "#cost", "#mean ms"]);
    for model in &stats.models {
        table.row([
            model.provider.clone().unwrap_or_else(|| "-".to_owned()),
            model.model.clone().unwrap_or_else(|| "-".to_owned()),
            model.requests.to_string(),
            model.failed.to_string(),
            model.input_tokens.to_string(),
            model.output_tokens.to_string(),
            model.cost.to_string(),
            model.latency_mean_ms.map_or("-".to_owned(), |mean| format!("{mean:.0}")),
        ]);
    }
    let percentile = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0} ms"));
    format!(
        "{} requests: {} completed, {} failed, {} abandoned, {} rejected, {} running\n{} tokens in, {} out, {}\nlatency p50 {}, p95 {}\n\n{}",
        stats.requests,
        stats.completed,
        stats.failed,
        stats.abandoned,
        stats.rejected,
        stats.pending,
        stats.input_tokens,
        stats.output_tokens,
        stats.cost,
        percentile(stats.latency_p50_ms),
        percentile(stats.latency_p95_ms),
        printer.table(&table),
    )
}

async fn find_user(invocation: &Invocation, db: &DbPool, text: &str) -> CliResult<UserId> {
    let accounts = Accounts::new(db.clone(), invocation.ambient.clone());
    let reference: UserReference = match text.parse() {
        Ok(reference) => reference,
        Err(never) => match never {},
    };
    let user = accounts.find(&reference).await.map_err(|error| CliError::from_error("db_failed", &error))?;
    Ok(user.ok_or_else(|| CliError::new("unknown_user", format!("there is no user `{text}`")))?.id)
}

/// A point in time as people write it: a date, an RFC 3339 time, or how long ago (`15m`, `2h`, `7d`).
pub(crate) fn moment(text: Option<&str>, now: DateTime<Utc>) -> CliResult<Option<DateTime<Utc>>> {
    let Some(text) = text else { return Ok(None) };
    let ago = || {
        let split = text.len().checked_sub(1).filter(|split| text.is_char_boundary(*split))?;
        let (number, unit) = text.split_at(split);
        let number: i64 = number.parse().ok()?;
        let span = match unit {
            "s" => TimeDelta::try_seconds(number),
            "m" => TimeDelta::try_minutes(number),
            "h" => TimeDelta::try_hours(number),
            "d" => TimeDelta::try_days(number),
            _ => None,
        }?;
        now.checked_sub_signed(span)
    };
    let date = || text.parse::<NaiveDate>().ok()?.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc());
    let exact = || DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc));
    exact().or_else(date).or_else(ago).map(Some).ok_or_else(|| {
        invalid(format!("`{text}` is not a time: write 2026-01-31, 2026-01-31T12:00:00Z, or 15m, 2h, 7d"))
    })
}

fn level_name(level: Level) -> String {
    match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
    }
    .to_owned()
}

fn invalid(message: String) -> CliError {
    CliError::new("invalid_value", message).exit(Exit::Usage)
}

pub(crate) fn database_failure(error: sqlx::Error) -> CliError {
    CliError::from_error("db_failed", &error).help("systemprompt infra db status   tells how the database is")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_write_them() {
        let now = DateTime::parse_from_rfc3339("2026-02-01T12:00:00Z").expect("a time").with_timezone(&Utc);
        for (text, expected) in [
            ("2026-01-31", "2026-01-31T00:00:00Z"),
            ("2026-01-31T10:00:00+02:00", "2026-01-31T08:00:00Z"),
            ("15m", "2026-02-01T11:45:00Z"),
            ("7d", "2026-01-25T12:00:00Z"),
        ] {
            let found = moment(Some(text), now).expect("a time").expect("one was given");
            assert_eq!(found.to_rfc3339_opts(chrono::SecondsFormat::Secs, true), expected, "{text}");
        }
        for text in ["", "m", "yesterday", "5y", "é"] {
            assert!(moment(Some(text), now).is_err(), "{text}");
        }
    }
}
