//! `infra logs trace list`.

use clap::Args;
use serde::Serialize;
use systemprompt_gateway::request::filter::RequestFilter;
use systemprompt_gateway::request::list::list_requests;
use systemprompt_governance::page::Page;
use systemprompt_governance::traces::{TraceFilter, TraceSummary, list_traces};
use systemprompt_identity::Origins;

use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::moment::{Moment, span};
use crate::paging::Portion;
use crate::project::{Invocation, OpenDatabase};
use crate::request_filter::{Decision, Status, account, session_range};
use crate::view::{Row, time};

/// Requests of this status are looked for among so many.
const AMONG: u32 = 1000;

/// The latest traces.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    page: Portion,
    /// Only since then; a day ago by default.
    #[arg(long, default_value = "1d")]
    since: Moment,
    /// Only until then.
    #[arg(long)]
    until: Option<Moment>,
    /// Only of this user.
    #[arg(long)]
    user: Option<String>,
    /// Only of this session, or of those whose ids begin so.
    #[arg(long)]
    session: Option<String>,
    /// Only with something decided so.
    #[arg(long)]
    decision: Option<Decision>,
    /// Only with something that this policy decided.
    #[arg(long)]
    policy: Option<String>,
    /// Only with such an action: `infer`, `administer`, `user.create` …
    #[arg(long)]
    action: Option<String>,
    /// Only with a request that ended so.
    #[arg(long)]
    status: Option<Status>,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let (since, until) = span(Some(self.since), self.until, invocation.ambient.now())?;
        let user = match &self.user {
            Some(user) => Some(account(invocation, database, user).await?),
            None => None,
        };
        let session = self.session.as_deref().map(session_range).transpose()?;
        catch_up(&database.db).await?;
        let among = match self.status {
            Some(status) => {
                let status = Some(status.as_str().to_owned());
                let filter = RequestFilter { since, until, user, session, status, ..RequestFilter::default() };
                let found = list_requests(database.db.write(), &filter, None, AMONG).await;
                let found = found.map_err(CliError::database)?;
                if found.next.is_some() {
                    invocation.printer.note(format!("only the latest {AMONG} such requests were looked at"));
                }
                Some(found.items.into_iter().map(|request| request.summary.trace_id).collect())
            }
            None => None,
        };
        let filter = TraceFilter {
            since,
            until,
            user,
            session,
            decision: self.decision.map(|decision| decision.as_str().to_owned()),
            policy: self.policy,
            effect: self.action,
            among,
            before: self.page.before()?,
            limit: self.page.limit,
        };
        let found = list_traces(database.db.write(), &filter).await.map_err(CliError::database)?;
        let users = found.items.iter().filter_map(|trace| trace.user_id);
        let origins = Origins::find(&database.db, users, []).await.map_err(CliError::database)?;
        let items = found.items.into_iter().map(|trace| {
            let user_name = origins.of(trace.user_id, None).user_name;
            Listed { trace, user_name }
        });
        invocation.show_page(Page { items: items.collect(), next: found.next });
        Ok(())
    }
}

/// A trace, and whose it is.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    trace: TraceSummary,
    user_name: Option<String>,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] =
        &["time", "trace", "~who", "~actions", "#decisions", "#denied", "?~policies"];
    const NONE: &'static str = "No traces.";

    fn cells(&self) -> Vec<String> {
        let Self { trace, user_name } = self;
        vec![
            time(trace.created_at),
            trace.trace_id.to_string().chars().take(18).collect(),
            user_name.clone().unwrap_or_else(|| trace.actor_id.clone()),
            trace.actions.join(", "),
            trace.decisions.to_string(),
            trace.denied.to_string(),
            trace.policies.join(", "),
        ]
    }
}
