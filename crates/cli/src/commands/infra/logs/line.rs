//! Log lines: which are asked for, and how they look.

use clap::{Args, ValueEnum};
use systemprompt_governance::page::prefix_range;
use systemprompt_model::SessionId;
use systemprompt_server::logs::{LogQuery, StoredLine, read};
use uuid::Uuid;

use crate::bounds::{ROWS, within};
use crate::error::{CliError, CliResult};
use crate::moment::{Moment, span};
use crate::project::{Invocation, OpenDatabase};
use crate::request_filter::{Whose, WhoseIds};
use crate::view::{Layout, Page, Row, Text, View, time};

/// Which log lines.
#[derive(Debug, Args)]
pub(crate) struct LogFilter {
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 50, value_parser = within::<u32>(ROWS))]
    limit: u32,
    /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
    #[arg(long)]
    since: Option<Moment>,
    /// Only until then.
    #[arg(long)]
    until: Option<Moment>,
    /// Go on before the line the last page began with.
    #[arg(long, value_name = "ID", value_parser = within::<i64>(1..=i64::MAX as u64))]
    before: Option<i64>,
    /// Only this level and those above it.
    #[arg(long)]
    level: Option<Level>,
    /// Only this trace.
    #[arg(long)]
    trace: Option<String>,
    #[command(flatten)]
    whose: Whose,
    /// Only about this request, or those whose ids begin so.
    #[arg(long, value_name = "ID")]
    request: Option<String>,
}

/// Level of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Level {
    /// Someone should act.
    Error,
    /// Something is not as it should be.
    Warn,
    /// What happens.
    Info,
}

impl Level {
    /// The names in stored lines of this level and those above it.
    pub(crate) fn and_above(self) -> Vec<String> {
        let names: &[&str] = match self {
            Self::Error => &["error"],
            Self::Warn => &["error", "warn"],
            Self::Info => &["error", "warn", "info"],
        };
        names.iter().map(|name| (*name).to_owned()).collect()
    }
}

impl LogFilter {
    /// Shows the lines that fit, and contain the text.
    pub(crate) async fn show(
        self,
        invocation: &Invocation,
        database: &OpenDatabase,
        text: Option<String>,
    ) -> CliResult {
        let (since, until) = span(self.since, self.until, invocation.ambient.now())?;
        let trace = self
            .trace
            .as_deref()
            .map(|trace| {
                Uuid::try_parse(trace).map_err(|_| CliError::invalid_value(format!("`{trace}` is not a trace id")))
            })
            .transpose()?;
        let WhoseIds { user, keys, session } = self.whose.ids(invocation, database).await?;
        let request = self
            .request
            .as_deref()
            .map(|request| {
                prefix_range(request).ok_or_else(|| {
                    CliError::invalid_value(format!("`{request}` is not the id of a request or the beginning of one"))
                        .help("systemprompt infra logs request list   shows ids")
                })
            })
            .transpose()?;
        let query = LogQuery {
            user_id: user.map(|user| user.as_uuid()),
            keys: keys.map(|keys| keys.iter().map(ToString::to_string).collect()),
            sessions: session
                .map(|(from, to)| (SessionId::from_uuid(from).to_string(), SessionId::from_uuid(to).to_string())),
            request,
            after_id: None,
            before_id: self.before,
            since,
            until,
            levels: self.level.map(Level::and_above),
            trace_id: trace,
            text,
            // One more, to see whether there are more.
            limit: i64::from(self.limit) + 1,
        };
        let mut lines = read(&database.db, &query).await.map_err(CliError::database)?;
        // Oldest first: what is too many is at the beginning.
        let cut = lines.len().saturating_sub(self.limit as usize);
        lines.drain(..cut);
        let next = lines.first().filter(|_| cut > 0).map(|line| line.id.to_string());
        invocation.show_part(&Page { items: lines, next, total: None }, "--before");
        Ok(())
    }
}

impl Row for StoredLine {
    const COLUMNS: &'static [&'static str] = &[];
    const NONE: &'static str = "No log lines.";

    fn cells(&self) -> Vec<String> {
        Vec::new()
    }

    fn lay_out(items: &[Self], layout: Layout) -> Text {
        Text::below(items.iter().map(|line| line.text(layout)))
    }
}

impl View for StoredLine {
    fn text(&self, layout: Layout) -> Text {
        let fields = self.fields.as_object().into_iter().flatten();
        let fields: String = fields
            .map(|(key, value)| format!(" {key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        let line = Text::line(format!("{} {:5} {}{fields}", time(self.at), self.level, self.message));
        line.wrapped(layout.width)
    }
}
