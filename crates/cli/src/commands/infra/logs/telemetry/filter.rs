//! What all lists of telemetry can be narrowed down by.

use clap::Args;
use systemprompt_telemetry::stored::TelemetryFilter;
use uuid::Uuid;

use crate::error::{CliError, CliResult};
use crate::moment::span;
use crate::paging::Paging;
use crate::project::Invocation;
use crate::view::{Page, Row};

/// Which telemetry.
#[derive(Debug, Args)]
pub(super) struct Which {
    #[command(flatten)]
    paging: Paging,
    /// Only what the user with this id sent.
    #[arg(long)]
    user: Option<Uuid>,
    /// Only of this session of the client.
    #[arg(long)]
    session: Option<String>,
    /// Only of this name.
    #[arg(long)]
    name: Option<String>,
}

impl Which {
    pub(super) fn filter(&self, trace: Option<String>, invocation: &Invocation) -> CliResult<TelemetryFilter> {
        let (since, _) = span(self.paging.since, None, invocation.ambient.now())?;
        let not_an_id = |trace: &str| CliError::invalid_value(format!("`{trace}` is not a trace id"));
        Ok(TelemetryFilter {
            since,
            user: self.user,
            session: self.session.clone(),
            trace: trace.map(|trace| Uuid::try_parse(&trace).map_err(|_| not_an_id(&trace))).transpose()?,
            name: self.name.clone(),
            before: self.paging.page.before()?,
            // One more, to see whether there are more.
            limit: i64::from(self.paging.page.limit) + 1,
        })
    }

    pub(super) fn show<T: Row>(&self, mut items: Vec<T>, id: impl Fn(&T) -> i64, invocation: &Invocation) {
        let limit = self.paging.page.limit as usize;
        let next = (items.len() > limit).then(|| id(&items[limit - 1]).to_string());
        items.truncate(limit);
        invocation.show_part(&Page { items, next, total: None }, "--before");
    }
}

/// Attributes in a cell: those that say most fit in it.
pub(super) fn brief(attributes: &serde_json::Value) -> String {
    const LONGEST: usize = 120;
    let entries = attributes.as_object().into_iter().flatten();
    let text: Vec<_> = entries
        .map(|(key, value)| format!("{key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
        .collect();
    let text = text.join(" ");
    if text.len() <= LONGEST { text } else { format!("{}…", &text[..text.floor_char_boundary(LONGEST)]) }
}
