//! `infra logs telemetry metrics`.

use clap::Args;
use systemprompt_telemetry::stored::{StoredPoint, list_metrics};

use super::filter::{Which, brief};
use crate::error::{CliError, CliResult};
use crate::project::{Invocation, OpenDatabase};
use crate::view::{Row, time};

/// The latest data points of metrics.
#[derive(Debug, Args)]
pub(crate) struct Metrics {
    #[command(flatten)]
    which: Which,
}

impl Metrics {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let filter = self.which.filter(None, invocation)?;
        let found = list_metrics(&database.db, &filter).await.map_err(CliError::database)?;
        self.which.show(found, |point| point.id, invocation);
        Ok(())
    }
}

impl Row for StoredPoint {
    const COLUMNS: &'static [&'static str] = &["time", "name", "value", "unit", "attributes", "service", "user"];
    const NONE: &'static str = "No data points.";

    fn cells(&self) -> Vec<String> {
        let value = self.value.map(|value| value.to_string()).unwrap_or_default();
        let value = self.count.map_or(value.clone(), |count| format!("{value} in {count}"));
        vec![
            time(self.at),
            self.name.clone(),
            value,
            self.unit.clone().unwrap_or_default(),
            brief(&self.attributes),
            self.service.clone().unwrap_or_default(),
            self.user_id.to_string(),
        ]
    }
}
