//! `admin gateway quotas show`.

use clap::Args;
use serde::Serialize;
use systemprompt_governance::quota::{
    QuotaAlertRow, QuotaDelivery, QuotaDeliveryState, QuotaFilter, QuotaRow, alerts, list,
};

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
            let told: Vec<_> = self.alerts.iter().flat_map(Told::of).collect();
            Text::apart([windows, Told::lay_out(&told, layout)])
        }
    }
}

/// One place an alert was to go to, as a line for people.
#[derive(Serialize)]
struct Told<'a> {
    alert: &'a QuotaAlertRow,
    /// Absent if it goes nowhere but to the log.
    delivery: Option<&'a QuotaDelivery>,
}

impl<'a> Told<'a> {
    fn of(alert: &'a QuotaAlertRow) -> Vec<Self> {
        if alert.deliveries.is_empty() {
            return vec![Self { alert, delivery: None }];
        }
        alert.deliveries.iter().map(|delivery| Self { alert, delivery: Some(delivery) }).collect()
    }
}

impl Row for Told<'_> {
    const COLUMNS: &'static [&'static str] = &["time", "alert", "counted", "#percent", "to", "told"];
    const NONE: &'static str = "No part of a limit was reached.";

    fn cells(&self) -> Vec<String> {
        let QuotaAlertRow { raised_at, alert, counted, threshold, .. } = self.alert;
        let to = match self.delivery {
            Some(delivery) if delivery.channel == "mail" => delivery.recipient.clone(),
            Some(delivery) => delivery.channel.clone(),
            None => "the log".to_owned(),
        };
        let told = match self.delivery {
            Some(delivery) => state(delivery),
            None => time(*raised_at),
        };
        vec![time(*raised_at), alert.clone(), counted.clone(), threshold.to_string(), to, told]
    }
}

/// When it was told, or why it was not.
fn state(delivery: &QuotaDelivery) -> String {
    let why = delivery.last_error.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    match delivery.state {
        QuotaDeliveryState::Delivered { delivered_at } => time(delivered_at),
        QuotaDeliveryState::Waiting { .. } if delivery.attempts == 0 => "not yet".to_owned(),
        QuotaDeliveryState::Waiting { .. } => format!("not yet, tried {} times{why}", delivery.attempts),
        QuotaDeliveryState::GivenUp => format!("given up, tried {} times{why}", delivery.attempts),
    }
}
