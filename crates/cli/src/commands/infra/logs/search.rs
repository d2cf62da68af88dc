//! `infra logs search`.

use clap::Args;

use super::line::LogFilter;
use crate::error::CliResult;
use crate::project::{Invocation, OpenDatabase};

/// Log lines that contain a text.
#[derive(Debug, Args)]
pub(crate) struct Search {
    /// The text, in the message or its fields.
    text: String,
    #[command(flatten)]
    filter: LogFilter,
}

impl Search {
    pub(crate) async fn run(self, invocation: &Invocation, database: &OpenDatabase) -> CliResult {
        self.filter.show(invocation, database, Some(self.text)).await
    }
}
