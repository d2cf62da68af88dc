//! `infra services stop`.

use std::time::Duration;

use clap::Args;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::bounds::{WAIT, within};
use crate::error::{CliError, CliResult};
use crate::instance;
use crate::project::{Invocation, cluster_error, managed_cluster};
use crate::view::{Layout, Text, View};

/// How often is looked whether it is gone.
const POLL: Duration = Duration::from_millis(50);

/// Stop the server and wait until it is gone.
#[derive(Debug, Args)]
pub(crate) struct Stop {
    /// Seconds to wait for requests to finish before giving up.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = within::<u64>(WAIT))]
    timeout: u64,
}

impl Stop {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let home = invocation.home()?;
        let Some(running) = instance::running(&home) else {
            // A server that was killed leaves its database running.
            let stopped = managed_cluster(&home, &invocation.environment, &invocation.ambient)?
                .stop_if_unused()
                .await
                .map_err(|error| cluster_error(&error))?;
            tracing::debug!(?stopped, "the managed cluster");
            invocation.printer.show(&Outcome { stopped: false, pid: None, running: Some(false) });
            return Ok(());
        };
        instance::terminate(&running)?;
        let deadline = Instant::now() + Duration::from_secs(self.timeout);
        while instance::running(&home).is_some_and(|now| now.pid == running.pid) {
            if Instant::now() >= deadline {
                return Err(CliError::new(
                    "stop_timeout",
                    format!("process {} still finishes its requests after {} s", running.pid, self.timeout),
                )
                .help("wait longer with --timeout, or end it with `kill -9`: nothing that was answered is lost"));
            }
            sleep(POLL).await;
        }
        invocation.printer.show(&Outcome { stopped: true, pid: Some(running.pid), running: None });
        Ok(())
    }
}

#[derive(Serialize)]
struct Outcome {
    stopped: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pid: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    running: Option<bool>,
}

impl View for Outcome {
    fn text(&self, _: Layout) -> Text {
        match self.pid {
            Some(pid) => Text::line(format!("Stopped process {pid}.")),
            None => Text::line("No server runs from this home."),
        }
    }
}
