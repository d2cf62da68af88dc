//! `infra services`: the server of this home as a background process.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::time::{Instant, sleep};

use crate::args::{Services, Up};
use crate::error::{CliError, CliResult, Exit};
use crate::http;
use crate::instance::{self, Instance};
use crate::printer::{Record, time};
use crate::project::{Invocation, managed_cluster};

const POLL: Duration = Duration::from_millis(50);

/// Runs an `infra services` command.
pub(crate) async fn run(invocation: &Invocation, command: Services) -> CliResult {
    match command {
        Services::Start { up, timeout } => start(invocation, &up, Duration::from_secs(timeout)).await,
        Services::Stop { timeout } => stop(invocation, Duration::from_secs(timeout)).await,
        Services::Status => status(invocation).await,
    }
}

/// Starts `systemprompt up` in a process group of its own, with its log in a file, and waits for its word that it is ready.
async fn start(invocation: &Invocation, up: &Up, limit: Duration) -> CliResult {
    let home = invocation.home_or_new();
    if let Some(running) = instance::running(&home) {
        return Err(CliError::new("already_running", format!("process {} serves this home already", running.pid))
            .exit(Exit::Conflict));
    }
    home.create().map_err(|error| CliError::from_error("home_not_writable", &error).exit(Exit::Configuration))?;
    let log = home.logs_dir().join("server.log");
    let failed = |error: std::io::Error| CliError::from_error("failed", &error);
    let output = open_log(&log).map_err(failed)?;

    let mut command = Command::new(std::env::current_exe().map_err(failed)?);
    command.arg("up").arg("--json").arg("--home").arg(home.directory());
    if let Some(profile) = &invocation.globals.profile {
        command.arg("--profile").arg(profile);
    }
    if let Some(host) = up.host {
        command.arg("--host").arg(host.to_string());
    }
    if let Some(port) = up.port {
        command.arg("--port").arg(port.to_string());
    }
    if up.skip_migrate {
        command.arg("--skip-migrate");
    }
    // Its own process group: the signals of this terminal's Ctrl-C and of its end go to the groups of its jobs.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(output).process_group(0);
    let mut child = tokio::process::Command::from(command).spawn().map_err(failed)?;
    let Some(stdout) = child.stdout.take() else {
        return Err(CliError::new("failed", "the server has no standard output"));
    };
    let mut lines = BufReader::new(stdout).lines();
    let ready = tokio::time::timeout(limit, lines.next_line()).await;
    match ready {
        Ok(Ok(Some(line))) => {
            let ready: Value = serde_json::from_str(&line).map_err(|error| CliError::from_error("failed", &error))?;
            if let Some(said) = ready.pointer("/error/message").and_then(Value::as_str) {
                let failure = CliError::new("start_failed", said);
                return Err(match ready.pointer("/error/help").and_then(Value::as_str) {
                    Some(help) => failure.help(help),
                    None => failure,
                });
            }
            let text = |key: &str| ready.get(key).and_then(Value::as_str).map(str::to_owned);
            invocation.printer.record(&ready, || {
                Record::new()
                    .with("url", text("url"))
                    .with("API key", text("api_key").map(|key| format!("{key}   (shown once)")))
                    .with("process", child.id().map(|pid| pid.to_string()))
                    .with("log", log.display().to_string())
            });
            Ok(())
        }
        Ok(Ok(None) | Err(_)) => {
            Err(CliError::new("start_failed", format!("the server ended while starting:\n{}", tail(&log)))
                .help(format!("the whole log is {}", log.display())))
        }
        Err(_) => Err(CliError::new("start_failed", format!("the server is not ready after {} s", limit.as_secs()))
            .help(format!("it goes on starting; its log is {}", log.display()))),
    }
}

async fn stop(invocation: &Invocation, limit: Duration) -> CliResult {
    let home = invocation.home()?;
    let Some(running) = instance::running(&home) else {
        // A server that was killed leaves its database running.
        let stopped = managed_cluster(&home, &invocation.environment, &invocation.ambient)?
            .stop_if_unused()
            .await
            .map_err(|error| crate::project::cluster_error(&error))?;
        tracing::debug!(?stopped, "the managed cluster");
        invocation
            .printer
            .result(&json!({"stopped": false, "running": false}), || "No server runs from this home.".to_owned());
        return Ok(());
    };
    instance::terminate(&running)?;
    let deadline = Instant::now() + limit;
    while instance::running(&home).is_some_and(|now| now.pid == running.pid) {
        if Instant::now() >= deadline {
            return Err(CliError::new(
                "stop_timeout",
                format!("process {} still finishes its requests after {} s", running.pid, limit.as_secs()),
            )
            .help("wait longer with --timeout, or end it with `kill -9`: nothing that was answered is lost"));
        }
        sleep(POLL).await;
    }
    invocation
        .printer
        .result(&json!({"stopped": true, "pid": running.pid}), || format!("Stopped process {}.", running.pid));
    Ok(())
}

#[derive(Serialize)]
struct Status {
    running: bool,
    #[serde(flatten)]
    instance: Option<Instance>,
    health: Option<String>,
    cluster: Option<Value>,
}

async fn status(invocation: &Invocation) -> CliResult {
    let home = invocation.home()?;
    let instance = instance::running(&home);
    let certificate = instance.as_ref().and_then(|instance| instance.certificate.as_deref());
    let health = match instance.as_ref().and_then(|instance| instance.url.as_deref()) {
        Some(url) => Some(match http::get(&format!("{url}/readyz"), certificate).await {
            Ok(answer) => answer.json.get("status").and_then(Value::as_str).unwrap_or("unknown").to_owned(),
            Err(error) => format!("no answer: {error}"),
        }),
        None => None,
    };
    let cluster = managed_cluster(&home, &invocation.environment, &invocation.ambient)
        .ok()
        .and_then(|cluster| cluster.status().ok());
    let status = Status {
        running: instance.is_some(),
        instance,
        health,
        cluster: cluster
            .filter(|cluster| cluster.major.is_some())
            .and_then(|cluster| serde_json::to_value(cluster).ok()),
    };
    invocation.printer.record(&status, || {
        let instance = status.instance.as_ref();
        let of_cluster = |key: &str| {
            status
                .cluster
                .as_ref()
                .and_then(|cluster| cluster.get(key))
                .filter(|value| !value.is_null())
                .map(ToString::to_string)
        };
        Record::new()
            .with("server", if status.running { "running" } else { "not running" }.to_owned())
            .with("health", status.health.clone())
            .with("url", instance.and_then(|instance| instance.url.clone()))
            .with("process", instance.map(|instance| instance.pid.to_string()))
            .with("version", instance.map(|instance| instance.version.clone()))
            .with("started", instance.map(|instance| time(instance.started_at)))
            .with(
                "PostgreSQL",
                status.cluster.is_some().then(|| {
                    of_cluster("pid").map_or("not running".to_owned(), |pid| format!("running, process {pid}"))
                }),
            )
    });
    if status.running {
        return Ok(());
    }
    invocation.printer.note("systemprompt up   runs it; `infra services start` does so in the background");
    Err(CliError::status(Exit::Failure))
}

fn open_log(path: &PathBuf) -> std::io::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // One older log is kept, so that restarts do not fill the disk.
    if std::fs::metadata(path).is_ok_and(|log| log.len() > 16 * 1024 * 1024) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn tail(path: &PathBuf) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
