//! `infra services status`.

use clap::Args;
use serde::Serialize;
use serde_json::Value;
use systemprompt_database::cluster::ClusterStatus;

use crate::error::{CliError, CliResult, Exit};
use crate::http;
use crate::instance::{self, Instance};
use crate::project::{Invocation, managed_cluster};
use crate::view::{Layout, Record, Text, View, time};

/// Whether the server runs, where, and how it is doing. Exit status 1 if it does not run.
#[derive(Debug, Args)]
pub(crate) struct Status {}

impl Status {
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let home = invocation.home()?;
        let instance = instance::running(&home);
        let health = match &instance {
            Some(instance) => health(instance).await,
            None => None,
        };
        let cluster = managed_cluster(&home, &invocation.environment, &invocation.ambient)
            .ok()
            .and_then(|cluster| cluster.status().ok())
            .filter(|cluster| cluster.major.is_some());
        let found = Found { running: instance.is_some(), instance, health, cluster };
        invocation.printer.show(&found);
        if found.running {
            return Ok(());
        }
        invocation.printer.note("systemprompt up   runs it; `infra services start` does so in the background");
        Err(CliError::status(Exit::Failure))
    }
}

/// What the server says of itself, once it serves.
async fn health(instance: &Instance) -> Option<String> {
    let url = instance.url.as_deref()?;
    Some(match http::get(&format!("{url}/readyz"), instance.certificate.as_deref()).await {
        Ok(answer) => answer.json.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned(),
        Err(error) => format!("no answer: {error}"),
    })
}

#[derive(Serialize)]
struct Found {
    running: bool,
    #[serde(flatten)]
    instance: Option<Instance>,
    health: Option<String>,
    cluster: Option<ClusterStatus>,
}

impl View for Found {
    fn text(&self, layout: Layout) -> Text {
        let instance = self.instance.as_ref();
        let cluster = self
            .cluster
            .as_ref()
            .map(|cluster| cluster.pid.map_or("not running".to_owned(), |pid| format!("running, process {pid}")));
        layout.record(
            &Record::new()
                .with("server", if self.running { "running" } else { "not running" }.to_owned())
                .with("health", self.health.clone())
                .with("url", instance.and_then(|instance| instance.url.clone()))
                .with("process", instance.map(|instance| instance.pid.to_string()))
                .with("version", instance.map(|instance| instance.version.clone()))
                .with("started", instance.map(|instance| time(instance.started_at)))
                .with("PostgreSQL", cluster),
        )
    }
}
