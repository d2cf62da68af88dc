//! `infra logs`: what the server said and what it recorded.

mod audit;
mod changes;
mod content;
mod governance;
mod hooks;
mod line;
mod request;
mod search;
mod stream;
mod telemetry;
mod trace;
mod view;

use clap::Subcommand;

use crate::error::{CliError, CliResult};
use crate::project::Invocation;

/// Logs, requests and the audit.
#[derive(Debug, Subcommand)]
pub(crate) enum Logs {
    #[command(subcommand)]
    Request(request::Request),
    Audit(audit::Audit),
    #[command(subcommand)]
    Changes(changes::Changes),
    #[command(subcommand)]
    Content(content::Content),
    #[command(subcommand)]
    Governance(governance::Governance),
    #[command(subcommand)]
    Hooks(hooks::Hooks),
    View(view::View),
    Search(search::Search),
    Stream(stream::Stream),
    #[command(subcommand)]
    Telemetry(telemetry::Telemetry),
    #[command(subcommand, alias = "traces")]
    Trace(trace::Trace),
}

impl Logs {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let goes_on = match &self {
            Self::Stream(_) => true,
            Self::Request(group) => group.goes_on(),
            _ => false,
        };
        let done = invocation
            .with_database_until_told(async move |database| match self {
                Self::Request(group) => group.run(invocation, database).await,
                Self::Audit(command) => command.run(invocation, database).await,
                Self::Changes(group) => group.run(invocation, database).await,
                Self::Content(group) => group.run(invocation, database).await,
                Self::Governance(group) => group.run(invocation, database).await,
                Self::Hooks(group) => group.run(invocation, database).await,
                Self::View(command) => command.run(invocation, database).await,
                Self::Search(command) => command.run(invocation, database).await,
                Self::Stream(command) => command.run(invocation, database).await,
                Self::Telemetry(group) => group.run(invocation, database).await,
                Self::Trace(group) => group.run(invocation, database).await,
            })
            .await?;
        // Being told to stop is how a stream ends.
        if done.is_some() || goes_on { Ok(()) } else { Err(CliError::interrupted()) }
    }
}
