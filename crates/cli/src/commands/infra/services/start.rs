//! `infra services start`.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use clap::Args;
use rustix::process::{Pid, Signal, kill_process};
use serde::Serialize;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use crate::bounds::{WAIT, within};
use crate::commands::up::Up;
use crate::error::{CliError, CliResult, Exit};
use crate::instance;
use crate::project::Invocation;
use crate::ready::Ready;
use crate::stop::Stop;
use crate::view::{Layout, Record, Text, View};

/// Start the server in the background and wait until it is ready.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Options of the server.
    #[command(flatten)]
    up: Up,
    /// Seconds to wait.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = within::<u64>(WAIT))]
    timeout: u64,
}

impl Start {
    /// Starts `systemprompt up` in a process group of its own, with its log in a file, and waits for its word that it is
    /// ready.
    pub(crate) async fn run(self, invocation: &Invocation) -> CliResult {
        let home = invocation.home_or_new()?;
        if let Some(running) = instance::running(&home) {
            return Err(CliError::new("already_running", format!("process {} serves this home already", running.pid))
                .exit(Exit::Conflict));
        }
        // Before anything is made, as `up` itself looks for what is missing.
        self.up.look_before_first_run(invocation, &home).await?;
        // From here on: a server that was begun is not left to itself.
        let stop = Stop::listen()?;
        home.create().map_err(|error| CliError::from_error("home_not_writable", &error).exit(Exit::Configuration))?;
        let log = home.logs_dir().join("server.log");
        let failed = |error: std::io::Error| CliError::from_error("failed", &error);
        let output = open_log(&log).map_err(failed)?;

        let mut command = Command::new(std::env::current_exe().map_err(failed)?);
        command.arg("up").arg("--json").arg("--home").arg(home.directory());
        if let Some(profile) = &invocation.globals.profile {
            command.arg("--profile").arg(profile);
        }
        command.args(self.up.arguments());
        // Its own process group: the signals of this terminal's Ctrl-C and of its end go to the groups of its jobs.
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(output).process_group(0);
        let mut child = tokio::process::Command::from(command).spawn().map_err(failed)?;
        let Some(stdout) = child.stdout.take() else {
            return Err(CliError::new("failed", "the server has no standard output"));
        };
        let mut lines = BufReader::new(stdout).lines();
        let said = tokio::time::timeout(Duration::from_secs(self.timeout), lines.next_line());
        let Some(said) = stop.or(said).await else {
            return Err(give_up(child, &stop).await);
        };
        match said {
            Ok(Ok(Some(line))) => {
                let ready = match understand(&line) {
                    Ok(ready) => ready,
                    Err(failure) => return Err(failure.exit(exit_of(child).await)),
                };
                invocation.printer.show(&Started { ready, log });
                Ok(())
            }
            Ok(Ok(None) | Err(_)) => {
                Err(CliError::new("start_failed", format!("the server ended while starting:\n{}", tail(&log)))
                    .help(format!("the whole log is {}", log.display())))
            }
            Err(_) => Err(CliError::new("start_failed", format!("the server is not ready after {} s", self.timeout))
                .help(format!("it goes on starting; its log is {}", log.display()))),
        }
    }
}

/// Passes the word to stop on to a server that is starting, and waits until it and its database are gone. Asked twice, it
/// does not wait.
async fn give_up(mut server: tokio::process::Child, stop: &Stop) -> CliError {
    let pid = server.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
    // One that is gone already needs no word.
    if let Some(pid) = pid
        && kill_process(pid, Signal::TERM).is_ok()
    {
        tokio::select! {
            _ = server.wait() => {}
            () = stop.told_twice() => {}
        }
    }
    CliError::interrupted()
}

/// What the server said: that it is ready, or why it is not.
fn understand(line: &str) -> CliResult<Ready> {
    let said: Value = serde_json::from_str(line).map_err(|error| CliError::from_error("failed", &error))?;
    let text = |key: &str| said.pointer(&format!("/error/{key}")).and_then(Value::as_str).map(str::to_owned);
    if let Some(message) = text("message") {
        let failure = CliError::new(text("code").unwrap_or_else(|| "start_failed".to_owned()), message);
        return Err(CliError { help: text("help"), details: said.pointer("/error/details").cloned(), ..failure });
    }
    serde_json::from_value(said).map_err(|error| CliError::from_error("failed", &error))
}

/// How a server that said why it does not start ends: what it says of itself is what this command comes to.
async fn exit_of(mut server: tokio::process::Child) -> Exit {
    let ended = tokio::time::timeout(Duration::from_secs(10), server.wait()).await;
    let code = ended.ok().and_then(Result::ok).and_then(|status| status.code());
    code.and_then(Exit::of).unwrap_or(Exit::Failure)
}

#[derive(Serialize)]
struct Started {
    #[serde(flatten)]
    ready: Ready,
    #[serde(skip)]
    log: PathBuf,
}

impl View for Started {
    fn text(&self, layout: Layout) -> Text {
        let key = self.ready.api_key.as_ref();
        layout.record(
            &Record::new()
                .with("url", self.ready.url.clone())
                .with("API key", key.map(|key| format!("{key}   (shown once)")))
                .with("process", self.ready.pid.to_string())
                .with("log", self.log.display().to_string()),
        )
    }
}

fn open_log(path: &Path) -> std::io::Result<File> {
    if let Some(directory) = path.parent() {
        std::fs::create_dir_all(directory)?;
    }
    // One older log is kept, so that restarts do not fill the disk.
    if std::fs::metadata(path).is_ok_and(|log| log.len() > 16 * 1024 * 1024) {
        std::fs::rename(path, path.with_extension("log.1"))?;
    }
    OpenOptions::new().create(true).append(true).open(path)
}

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<_> = text.lines().rev().take(20).collect();
    lines.into_iter().rev().collect::<Vec<_>>().join("\n")
}
