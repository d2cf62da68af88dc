//! `infra logs trace show`.

use clap::Args;
use serde::Serialize;
use systemprompt_gateway::request::filter::RequestFilter;
use systemprompt_gateway::request::list::{ListedRequest, list_requests};
use systemprompt_gateway::request::queries::audit;
use systemprompt_governance::page::prefix_range;
use systemprompt_governance::traces::{TraceStep, trace_steps};
use systemprompt_identity::{Origin, Origins};
use systemprompt_model::TraceId;
use systemprompt_server::logs::{LogQuery, StoredLine, read};

use crate::error::{CliError, CliResult, Exit};
use crate::ledger::catch_up;
use crate::project::{Invocation, OpenDatabase};
use crate::requests::{Named, named};
use crate::view::{Layout, Page, Record, Table, Text, View, time};

/// Most decisions of a trace that are shown.
const MOST_STEPS: u32 = 1000;

/// Most requests, and most log lines, of a trace that are shown: the latest.
const MOST: u32 = 200;

/// One trace: every action in it with what was decided, the requests and changes, and what the log says.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// The id of the trace or of a request in it, or the beginning of one.
    id: String,
}

impl Show {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let pool = database.db.write();
        let unknown = || {
            CliError::new("unknown_trace", format!("the ledger has no trace or request `{}`", self.id))
                .help("systemprompt infra logs trace list   shows ids")
        };
        catch_up(&database.db).await?;
        let (from, to) = prefix_range(&self.id)
            .ok_or_else(|| CliError::invalid_value(format!("`{}` is not the beginning of an id", self.id)))?;
        let (mut steps, mut more_steps) = trace_steps(pool, from, to, MOST_STEPS).await.map_err(CliError::database)?;
        if steps.is_empty() {
            let found = audit(pool, &self.id).await.map_err(|error| CliError::from_error("lookup_failed", &error))?;
            let trace = found.first().ok_or_else(unknown)?.summary.trace_id.as_uuid();
            (steps, more_steps) = trace_steps(pool, trace, trace, MOST_STEPS).await.map_err(CliError::database)?;
        }
        let trace_id = steps.first().ok_or_else(unknown)?.trace_id;
        if steps.iter().any(|step| step.trace_id != trace_id) {
            let mut several: Vec<String> = steps.iter().map(|step| step.trace_id.to_string()).collect();
            several.dedup();
            several.truncate(10);
            return Err(CliError::new(
                "ambiguous_id",
                format!("`{}` is the beginning of several traces: {}", self.id, several.join(", ")),
            )
            .exit(Exit::Usage));
        }
        let filter = RequestFilter { trace: Some(trace_id), ..RequestFilter::default() };
        let page = list_requests(pool, &filter, None, MOST).await.map_err(CliError::database)?;
        let (mut requests, more_requests) = (page.items, page.next.is_some());
        requests.reverse();
        let query = LogQuery { trace_id: Some(trace_id.as_uuid()), limit: i64::from(MOST) + 1, ..LogQuery::default() };
        let mut logs = read(&database.db, &query).await.map_err(CliError::database)?;
        let earlier_logs = logs.len().saturating_sub(MOST as usize);
        logs.drain(..earlier_logs);
        let (user, session) =
            (steps.iter().find_map(|step| step.user_id), steps.iter().find_map(|step| step.session_id));
        let origins = Origins::find(&database.db, user, session).await.map_err(CliError::database)?;
        let origin = origins.of(user, session);
        let requests = named(&database.db, requests).await?;
        invocation.printer.show(&Shown { trace_id, origin, steps, inferences: requests, logs });
        if more_steps {
            let note = format!("There is more: these are the first {MOST_STEPS} decisions of the trace.");
            invocation.printer.note(note);
        }
        if more_requests {
            let list = format!("infra logs request list --trace {trace_id}");
            invocation
                .printer
                .note(format!("There is more: these are the last {MOST} requests; {list} shows the others."));
        }
        if earlier_logs > 0 {
            invocation.printer.note(format!("There is more: these are the last {MOST} lines of the log."));
        }
        Ok(())
    }
}

#[derive(Serialize)]
struct Shown {
    trace_id: TraceId,
    #[serde(flatten)]
    origin: Origin,
    steps: Vec<TraceStep>,
    /// Named so because `requests` counts elsewhere.
    inferences: Vec<Named<ListedRequest>>,
    logs: Vec<StoredLine>,
}

impl View for Shown {
    fn text(&self, layout: Layout) -> Text {
        let first = self.steps.first();
        let session = self.steps.iter().find_map(|step| step.session_id);
        let record = Record::new()
            .with("trace", self.trace_id.to_string())
            .with("began", first.map(|step| time(step.at)))
            .with("who", self.origin.user_name.clone().or_else(|| first.map(|step| step.actor.clone())))
            .with("key", self.origin.api_key_name.clone().or_else(|| self.origin.api_key_prefix.clone()))
            .with("session", session.map(|id| id.to_string()))
            .with("client's session", self.origin.client_session_id.clone());
        let mut table = Table::new(&["time", "~action", "~about", "decision", "~policy", "?status"]);
        for step in &self.steps {
            let action = if step.effect == "administer" { &step.subject } else { &step.effect };
            let request = self.inferences.iter().find(|request| request.request.summary.request_id == step.action_id);
            let status = step.status.clone().or_else(|| request.map(|request| request.request.summary.status.clone()));
            table.row([
                time(step.at),
                action.clone(),
                step.about.clone(),
                step.decision.clone(),
                step.policy.clone(),
                status.unwrap_or_else(|| "-".to_owned()),
            ]);
            if let Some(reason) = step.reason.as_ref().filter(|_| step.decision != "allow") {
                table.note(reason);
            }
        }
        let mut parts = vec![layout.record(&record), layout.table(&table)];
        if !self.inferences.is_empty() {
            parts.push(Page::whole(self.inferences.iter().collect()).text(layout));
        }
        if !self.logs.is_empty() {
            parts.push(Text::below(self.logs.iter().map(|line| line.text(layout))));
        }
        Text::apart(parts)
    }
}
