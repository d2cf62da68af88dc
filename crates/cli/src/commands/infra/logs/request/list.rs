//! `infra logs request list`.

use std::collections::HashSet;
use std::time::Duration;

use chrono::TimeDelta;
use clap::Args;
use serde::Serialize;
use systemprompt_gateway::request::figures::{RequestStats, request_totals};
use systemprompt_gateway::request::filter::RequestFilter;
use systemprompt_gateway::request::list::{
    ListedRequest, NEW_LIMIT, ended_among, lately_ended, list_requests, running,
};
use systemprompt_model::{ActionId, Microdollars};

use crate::error::{CliError, CliResult};
use crate::ledger::{catch_up, projector};
use crate::paging::Portion;
use crate::project::{Invocation, OpenDatabase};
use crate::request_filter::Requested;
use crate::requests::{Named, named};
use crate::view::{Layout, Page, Row, Table, Text, View};

/// How often one looks for new ones.
const EVERY: Duration = Duration::from_millis(500);
/// How long a request may take from its arrival to its decision and still be seen by who follows.
const LATE: TimeDelta = TimeDelta::minutes(2);
/// What was received longer ago and runs when one begins to follow is waited for only if it is shown as running.
const LONG: TimeDelta = TimeDelta::minutes(10);

/// The latest requests.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    page: Portion,
    #[command(flatten)]
    requested: Box<Requested>,
    /// Go on with new ones as they end, until interrupted.
    #[arg(short, long, conflicts_with_all = ["before", "until", "totals"])]
    pub(crate) follow: bool,
    /// With the totals of all requests that fit, not only of those that are shown.
    #[arg(long)]
    totals: bool,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let pool = database.db.write();
        let filter = self.requested.filter(invocation, database).await?;
        if self.follow {
            return follow(invocation, database, &filter, self.page.limit).await;
        }
        catch_up(&database.db).await?;
        let before = self.page.before()?;
        let found = list_requests(pool, &filter, before, self.page.limit).await.map_err(CliError::database)?;
        let totals = if self.totals {
            Some(Totals::of(&request_totals(pool, &filter).await.map_err(CliError::database)?))
        } else {
            None
        };
        let items = named(&database.db, found.items).await?;
        let page = Page { items, next: found.next.map(|next: ActionId| next.to_string()), total: None };
        let cut = page.next.clone().map(|next| (page.items.len(), next));
        invocation.printer.show(&Listed { page, totals });
        if let Some((shown, next)) = cut {
            invocation.printer.note(format!("\n{shown} shown; more: --before {next}"));
        }
        Ok(())
    }
}

/// Shows the latest requests, and each new one when it has ended, as an access log does it; one that runs already is waited
/// for.
async fn follow(invocation: &Invocation, database: &OpenDatabase, filter: &RequestFilter, limit: u32) -> CliResult {
    if filter.status.as_deref() == Some("pending") {
        return Err(CliError::invalid_value("--follow shows requests when they have ended, and none that are pending"));
    }
    let pool = database.db.write();
    let projector = projector(&database.db);
    projector.catch_up().await.map_err(crate::ledger::failure)?;
    let mut open = running(pool, filter, ago(invocation, LONG), &[]).await.map_err(CliError::database)?;
    // What had ended by then is known; of it only the page is shown.
    let known = lately_ended(pool, filter, ago(invocation, LATE)).await.map_err(CliError::database)?;
    let mut seen: HashSet<ActionId> = known.iter().map(|item| item.summary.request_id).collect();
    seen.retain(|id| !open.contains(id));
    let page = list_requests(pool, filter, None, limit).await.map_err(CliError::database)?;
    let (runs, mut new): (Vec<_>, Vec<_>) =
        page.items.into_iter().rev().partition(|item| item.summary.status == "pending");
    open.extend(runs.iter().map(|item| item.summary.request_id));
    seen.extend(new.iter().map(|item| item.summary.request_id));
    let mut is_first = true;
    loop {
        for request in named(&database.db, new).await? {
            if !invocation.printer.show_next(&Followed { request, is_first }) {
                // The reader has seen enough (`| head`).
                return Ok(());
            }
            is_first = false;
        }
        tokio::time::sleep(EVERY).await;
        projector.catch_up().await.map_err(crate::ledger::failure)?;
        let since = ago(invocation, LATE);
        // First what still runs: what ends after that is looked for once more.
        let runs = running(pool, filter, since, &open).await.map_err(CliError::database)?;
        let lately = lately_ended(pool, filter, since).await.map_err(CliError::database)?;
        let reaches_back = lately.first().is_none_or(|oldest| seen.contains(&oldest.summary.request_id));
        if lately.len() as i64 >= NEW_LIMIT && !reaches_back {
            invocation.printer.note(format!("{NEW_LIMIT} requests or more at once: some may not be shown"));
        }
        new = ended_among(pool, filter, &open).await.map_err(CliError::database)?;
        new.extend(lately);
        new.retain(|item| seen.insert(item.summary.request_id));
        new.sort_by_key(|item| item.summary.request_id);
        open = runs;
        let oldest = ago(invocation, LATE * 2);
        seen.retain(|id| *id >= oldest || open.contains(id));
    }
}

/// The first id of what was received so long ago.
fn ago(invocation: &Invocation, span: TimeDelta) -> ActionId {
    let millis = u64::try_from((invocation.ambient.now() - span).timestamp_millis()).unwrap_or(0);
    ActionId::from_uuid(uuid::Uuid::from_u128(u128::from(millis) << 80))
}

/// A list with the sums below it.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    page: Page<Named<ListedRequest>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    totals: Option<Totals>,
}

/// Sums over requests.
#[derive(Debug, Clone, Copy, Default, Serialize)]
struct Totals {
    requests: i64,
    completed: i64,
    failed: i64,
    abandoned: i64,
    rejected: i64,
    pending: i64,
    input_tokens: i64,
    output_tokens: i64,
    #[serde(rename = "cost_microdollars")]
    cost: Microdollars,
}

impl Totals {
    fn of(stats: &RequestStats) -> Self {
        Self {
            requests: stats.requests,
            completed: stats.completed,
            failed: stats.failed,
            abandoned: stats.abandoned,
            rejected: stats.rejected,
            pending: stats.pending,
            input_tokens: stats.input_tokens,
            output_tokens: stats.output_tokens,
            cost: stats.cost,
        }
    }

    fn sum(requests: &[Named<ListedRequest>]) -> Self {
        let mut totals = Self::default();
        for Named { request: ListedRequest { summary, .. }, .. } in requests {
            totals.requests += 1;
            match summary.status.as_str() {
                "completed" => totals.completed += 1,
                "failed" => totals.failed += 1,
                "abandoned" => totals.abandoned += 1,
                "rejected" => totals.rejected += 1,
                _ => totals.pending += 1,
            }
            totals.input_tokens = totals.input_tokens.saturating_add(summary.input_tokens.unwrap_or(0));
            totals.output_tokens = totals.output_tokens.saturating_add(summary.output_tokens.unwrap_or(0));
            totals.cost += summary.cost.unwrap_or_default();
        }
        totals
    }

    fn line(&self, whose: &str) -> String {
        let ended = [
            (self.completed, "completed"),
            (self.failed, "failed"),
            (self.abandoned, "abandoned"),
            (self.rejected, "rejected"),
            (self.pending, "running"),
        ];
        let ended: Vec<String> =
            ended.iter().filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}")).collect();
        format!(
            " {whose}: {}\n {} tokens in, {} out, {}",
            ended.join(", "),
            self.input_tokens,
            self.output_tokens,
            self.cost
        )
    }
}

impl View for Listed {
    fn text(&self, layout: Layout) -> Text {
        let list = self.page.text(layout);
        let line = match &self.totals {
            Some(totals) => totals.line(&format!("all {} that fit", totals.requests)),
            None if self.page.items.is_empty() => return list,
            None => Totals::sum(&self.page.items).line(&format!("{} shown", self.page.items.len())),
        };
        Text::apart([list, Text::lines(line)])
    }
}

/// A request that ended just now.
#[derive(Serialize)]
struct Followed {
    #[serde(flatten)]
    request: Named<ListedRequest>,
    #[serde(skip)]
    is_first: bool,
}

/// How wide the columns are at least, so that rows that come one by one stand below each other.
const LEAST: [usize; 12] = [19, 13, 9, 9, 11, 8, 9, 6, 6, 6, 9, 13];

impl View for Followed {
    fn text(&self, layout: Layout) -> Text {
        let mut table = Table::new(Named::<ListedRequest>::COLUMNS);
        let cells = self.request.cells().into_iter().zip(LEAST);
        table.row(cells.map(|(cell, least)| format!("{cell:least$}")));
        if let Some(note) = self.request.note() {
            table.note(&note);
        }
        let text = layout.table(&table);
        match text.as_str().split_once('\n').filter(|_| !self.is_first) {
            Some((_, rows)) => Text::lines(rows),
            None => text,
        }
    }
}
