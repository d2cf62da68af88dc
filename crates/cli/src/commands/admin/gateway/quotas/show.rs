//! `admin gateway quotas show`.

use clap::Args;
use serde::Serialize;
use systemprompt_governance::quota::{QuotaAlertRow, QuotaFilter, QuotaRow, alerts, list};

use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Layout, Row, Text, View, time};

/// Everything that is counted of one subject, and which parts of its limits it has reached.
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// Its id or name: of a user, an API key, a model, or the value of an attribute.
    subject: String,
}

/// What is counted of one subject.
#[derive(Debug, Serialize)]
struct SubjectQuotas {
    windows: Vec<QuotaRow>,
    alerts: Vec<QuotaAlertRow>,
}

impl Show {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let filter =
            QuotaFilter { subject: Some(self.subject.clone()), ended: true, limit: 1000, ..QuotaFilter::default() };
        let pool = database.db.write();
        let windows = list(pool, &filter, invocation.ambient.now()).await.map_err(CliError::database)?;
        if windows.is_empty() {
            let why = format!("nothing is counted of `{}`", self.subject);
            return Err(CliError::new("unknown_subject", why)
                .help("systemprompt admin gateway quotas list --ended   shows whose use is counted"));
        }
        let alerts = alerts(pool, &self.subject).await.map_err(CliError::database)?;
        invocation.printer.show(&SubjectQuotas { windows, alerts });
        Ok(())
    }
}

impl View for SubjectQuotas {
    fn text(&self, layout: Layout) -> Text {
        let windows = QuotaRow::lay_out(&self.windows, layout);
        if self.alerts.is_empty() {
            windows
        } else {
            Text::apart([windows, QuotaAlertRow::lay_out(&self.alerts, layout)])
        }
    }
}

impl Row for QuotaAlertRow {
    const COLUMNS: &'static [&'static str] = &["time", "alert", "counted", "#percent", "told"];
    const NONE: &'static str = "No part of a limit was reached.";

    fn cells(&self) -> Vec<String> {
        let told = match (self.delivered_at, &self.last_error) {
            (Some(at), _) => time(at),
            (None, Some(why)) => format!("not yet, tried {} times: {why}", self.attempts),
            (None, None) => "in the log".to_owned(),
        };
        vec![time(self.raised_at), self.alert.clone(), self.counted.clone(), self.threshold.to_string(), told]
    }
}
