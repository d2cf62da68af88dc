//! `infra logs hooks list`.

use clap::Args;
use serde::Serialize;
use systemprompt_governance::page::Page;
use systemprompt_hooks::{HookEventFilter, HookEventRow, list_hook_events};
use systemprompt_identity::{Origin, Origins};

use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::moment::{Moment, span};
use crate::paging::Paging;
use crate::project::{Invocation, OpenDatabase};
use crate::request_filter::{Decision, Whose, WhoseIds};
use crate::view::{Row, time};

/// The latest events of coding clients: which tool, whose, and what was decided.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    paging: Paging,
    /// Only until then.
    #[arg(long)]
    until: Option<Moment>,
    /// Only of this name, as clients write it: `PreToolUse`, `SessionStart`, …
    #[arg(long)]
    event: Option<String>,
    /// Only about this tool.
    #[arg(long)]
    tool: Option<String>,
    #[command(flatten)]
    whose: Whose,
    /// Only those that were decided so.
    #[arg(long)]
    decision: Option<Decision>,
}

impl List {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let (since, until) = span(self.paging.since, self.until, invocation.ambient.now())?;
        let WhoseIds { user, keys, session } = self.whose.ids(invocation, database).await?;
        let filter = HookEventFilter {
            since,
            until,
            event: self.event,
            session,
            keys,
            tool: self.tool,
            user,
            decision: self.decision.map(|decision| decision.as_str().to_owned()),
            before: self.paging.page.before()?,
            limit: self.paging.page.limit,
        };
        catch_up(&database.db).await?;
        let Page { items, next } = list_hook_events(database.db.write(), &filter).await.map_err(CliError::database)?;
        let users = items.iter().filter_map(|event| event.user_id);
        let sessions = items.iter().filter_map(|event| event.session_id);
        let origins = Origins::find(&database.db, users, sessions).await.map_err(CliError::database)?;
        let items = items
            .into_iter()
            .map(|event| Listed { origin: origins.of(event.user_id, event.session_id), event })
            .collect();
        invocation.show_page(Page { items, next });
        Ok(())
    }
}

/// An event with the names of whose it is.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    event: HookEventRow,
    #[serde(flatten)]
    origin: Origin,
}

impl Row for Listed {
    const COLUMNS: &'static [&'static str] =
        &["time", "~event", "~tool", "~user", "decision", "?~key", "?~session", "?~detail", "?~id"];
    const NONE: &'static str = "No events of coding clients.";

    fn cells(&self) -> Vec<String> {
        let Self { event, origin } = self;
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        vec![
            time(event.created_at),
            event.event.clone(),
            or_none(event.tool_name.clone()),
            or_none(origin.user_name.clone().or_else(|| event.user_id.map(|id| id.to_string()))),
            event.decision.clone(),
            or_none(origin.api_key_name.clone().or_else(|| origin.api_key_prefix.clone())),
            or_none(event.session_id.map(|id| id.to_string().chars().take(13).collect())),
            or_none(event.detail.clone()),
            event.id.to_string(),
        ]
    }

    fn note(&self) -> Option<String> {
        let HookEventRow { decision, policy, reason, .. } = &self.event;
        let because = reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        (decision != "allow").then(|| format!("{decision} by {policy}{because}"))
    }
}
