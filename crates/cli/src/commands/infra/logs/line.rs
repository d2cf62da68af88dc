//! Log lines: which are asked for, and how they look.

use clap::{Args, ValueEnum};
use systemprompt_server::logs::{LogQuery, StoredLine, read};
use uuid::Uuid;

use crate::error::{CliError, CliResult};
use crate::moment::moment;
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Page, Row, Text, View, time};

/// Which log lines.
#[derive(Debug, Args)]
pub(crate) struct LogFilter {
    /// At most this many.
    #[arg(short = 'n', long, default_value_t = 50)]
    limit: u32,
    /// Only since then: `2026-01-31`, `2026-01-31T12:00:00Z`, or `15m`, `2h`, `7d` ago.
    #[arg(long)]
    since: Option<String>,
    /// Only until then.
    #[arg(long)]
    until: Option<String>,
    /// Only this level.
    #[arg(long)]
    level: Option<Level>,
    /// Only this trace.
    #[arg(long)]
    trace: Option<String>,
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
    /// Its name in a stored line.
    pub(crate) fn name(self) -> String {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
        }
        .to_owned()
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
        let now = invocation.ambient.now();
        let trace = self
            .trace
            .as_deref()
            .map(|trace| {
                Uuid::try_parse(trace).map_err(|_| CliError::invalid_value(format!("`{trace}` is not a trace id")))
            })
            .transpose()?;
        let query = LogQuery {
            after_id: None,
            since: moment(self.since.as_deref(), now)?,
            until: moment(self.until.as_deref(), now)?,
            level: self.level.map(Level::name),
            trace_id: trace,
            text,
            limit: self.limit.into(),
        };
        let lines = read(&database.db, &query).await.map_err(CliError::database)?;
        invocation.printer.show(&Page::whole(lines));
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
    fn text(&self, _: Layout) -> Text {
        let fields = self.fields.as_object().into_iter().flatten();
        let fields: String = fields
            .map(|(key, value)| format!(" {key}={}", value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            .collect();
        Text::line(format!("{} {:5} {}{fields}", time(self.at), self.level, self.message))
    }
}
