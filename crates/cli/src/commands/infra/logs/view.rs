//! `infra logs view`.

use clap::Args;

use super::line::LogFilter;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// The latest log lines.
#[derive(Debug, Args)]
pub(crate) struct View {
    #[command(flatten)]
    filter: LogFilter,
}

impl View {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        self.filter.show(invocation, database, None).await
    }
}
