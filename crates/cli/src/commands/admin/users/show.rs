//! `admin users show`.

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use systemprompt_gateway::request::list::RequestSummary;
use systemprompt_identity::{Session, User, recent_sessions};

use crate::accounts::{accounts, find, record};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::requests;
use crate::view::{Layout, Text, View};

/// How many sessions and requests are shown.
const LATEST: u32 = 10;

/// One account.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Name, e-mail address or id.
    user: String,
    /// With its latest sessions.
    #[arg(long)]
    sessions: bool,
    /// With its latest requests.
    #[arg(long)]
    activity: bool,
}

impl Show {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let user = find(&accounts(invocation, &database.db), &self.user).await?;
        let sessions = if self.sessions {
            Some(recent_sessions(&database.db, user.id, LATEST).await.map_err(CliError::database)?)
        } else {
            None
        };
        let activity =
            if self.activity { Some(requests::latest_of(&database.db, user.id, LATEST).await?) } else { None };
        invocation.printer.show(&Details { user, sessions, activity });
        Ok(())
    }
}

#[derive(Serialize)]
struct Details {
    #[serde(flatten)]
    user: User,
    #[serde(skip_serializing_if = "Option::is_none")]
    sessions: Option<Vec<Session>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    activity: Option<Vec<RequestSummary>>,
}

impl View for Details {
    fn text(&self, layout: Layout) -> Text {
        layout.record(
            &record(&self.user)
                .with_list("sessions", self.sessions.as_deref().map(lines).unwrap_or_default())
                .with_list("activity", self.activity.as_deref().map(lines).unwrap_or_default()),
        )
    }
}

/// One line an item, or `none`.
fn lines(items: &[impl Serialize]) -> Vec<String> {
    if items.is_empty() {
        return vec!["none".to_owned()];
    }
    let values = items.iter().map(|item| serde_json::to_value(item).unwrap_or_default());
    values.map(|value| one_line(&value)).collect()
}

/// An object as `key=value key=value`.
fn one_line(value: &Value) -> String {
    let Some(fields) = value.as_object() else { return value.to_string() };
    fields
        .iter()
        .filter(|(_, value)| !value.is_null())
        .map(|(key, value)| format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect::<Vec<_>>()
        .join(" ")
}
