//! `infra logs telemetry`: what clients report of their own work.

mod filter;
mod logs;
mod metrics;
mod spans;

use clap::Subcommand;

use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// What clients report of their own work (OpenTelemetry).
#[derive(Debug, Subcommand)]
pub(crate) enum Telemetry {
    Spans(spans::Spans),
    Logs(logs::Logs),
    Metrics(metrics::Metrics),
}

impl Telemetry {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        match self {
            Self::Spans(command) => command.run(invocation, database).await,
            Self::Logs(command) => command.run(invocation, database).await,
            Self::Metrics(command) => command.run(invocation, database).await,
        }
    }
}
