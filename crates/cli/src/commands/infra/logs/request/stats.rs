//! `infra logs request stats`.

use clap::Args;
use systemprompt_gateway::request::figures::{RequestStats, request_stats};

use crate::error::{CliError, CliResult};
use crate::ledger::catch_up;
use crate::project::{Invocation, OpenDatabase};
use crate::request_filter::Requested;
use crate::view::{Layout, Table, Text, View};

/// Requests, tokens and cost by provider and model.
#[derive(Debug, Args)]
pub(crate) struct Stats {
    #[command(flatten)]
    requested: Box<Requested>,
}

impl Stats {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        let filter = self.requested.filter(invocation, database).await?;
        catch_up(&database.db).await?;
        let stats = request_stats(database.db.write(), &filter).await.map_err(CliError::database)?;
        invocation.printer.show(&stats);
        Ok(())
    }
}

impl View for RequestStats {
    fn text(&self, layout: Layout) -> Text {
        let columns = ["~provider", "~model", "#requests", "#failed", "?#in", "?#out", "#cost", "?#mean ms"];
        let mut table = Table::new(&columns);
        for model in &self.models {
            table.row([
                model.provider.clone().unwrap_or_else(|| "-".to_owned()),
                model.model.clone().unwrap_or_else(|| "-".to_owned()),
                model.requests.to_string(),
                model.failed.to_string(),
                model.input_tokens.to_string(),
                model.output_tokens.to_string(),
                model.cost.to_string(),
                model.latency_mean_ms.map_or("-".to_owned(), |mean| format!("{mean:.0}")),
            ]);
        }
        let percentile = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.0} ms"));
        let sums = format!(
            "{} requests: {} completed, {} failed, {} abandoned, {} rejected, {} running\n{} tokens in, {} out, {}\nlatency p50 {}, p95 {}",
            self.requests,
            self.completed,
            self.failed,
            self.abandoned,
            self.rejected,
            self.pending,
            self.input_tokens,
            self.output_tokens,
            self.cost,
            percentile(self.latency_p50_ms),
            percentile(self.latency_p95_ms),
        );
        Text::apart([Text::lines(sums), layout.table(&table)])
    }
}
