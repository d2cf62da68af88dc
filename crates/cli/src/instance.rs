//! The server of a home: at most one, and how others find it.
//!
//! The lock says whether it runs — the operating system releases it however the process ends — and the file beside it
//! says where.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::path::PathBuf;

use chrono::{DateTime, Utc};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use systemprompt_config::Home;

use crate::error::{CliError, CliResult, Exit};

/// A running server, as it describes itself.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Its process.
    pub pid: u32,
    /// Where it serves; absent while it starts.
    pub url: Option<String>,
    /// The certificate it shows, if it speaks TLS itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// The profile it runs.
    pub profile: Option<String>,
    /// Its version.
    pub version: String,
    /// When it started.
    pub started_at: DateTime<Utc>,
}

/// The right to be the server of a home. Held until dropped.
#[derive(Debug)]
pub(crate) struct InstanceLock {
    _lock: File,
    description: PathBuf,
}

impl InstanceLock {
    /// Takes the lock, or says who has it.
    pub(crate) fn take(home: &Home) -> CliResult<Self> {
        let unwritable = |error: std::io::Error| {
            CliError::from_error("home_not_writable", &error)
                .help(format!(
                    "make {} writable for this user, or choose another place with --home DIR",
                    home.directory().display()
                ))
                .exit(Exit::Configuration)
        };
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(home.instance_lock())
            .map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => Ok(Self { _lock: lock, description: description(home) }),
            Err(TryLockError::WouldBlock) => {
                let who = match read(home) {
                    Some(Instance { pid, url: Some(url), .. }) => format!("process {pid} serves {url} from it"),
                    Some(Instance { pid, .. }) => format!("process {pid} is starting from it"),
                    None => "another process is starting from it".to_owned(),
                };
                Err(CliError::new(
                    "already_running",
                    format!("the home {} is in use: {who}", home.directory().display()),
                )
                .help("systemprompt infra services stop   stops it; --home DIR uses another home")
                .exit(Exit::Conflict))
            }
            Err(TryLockError::Error(error)) => Err(unwritable(error)),
        }
    }

    /// Tells others where the server is.
    pub(crate) fn describe(&self, instance: &Instance) -> std::io::Result<()> {
        let temporary = self.description.with_extension("tmp");
        let mut file = File::create(&temporary)?;
        serde_json::to_writer(&mut file, instance)?;
        file.write_all(b"\n")?;
        std::fs::rename(temporary, &self.description)
    }
}

impl Drop for InstanceLock {
    fn drop(&mut self) {
        // The description is only believed while the lock is held, so a file that stays behind misleads nobody.
        let _ = std::fs::remove_file(&self.description);
    }
}

/// The server of a home, if one runs.
pub(crate) fn running(home: &Home) -> Option<Instance> {
    let lock = File::open(home.instance_lock()).ok()?;
    // Shared, so that two commands looking at the same time do not take each other for a server.
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => read(home),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

/// Asks the server to stop.
pub(crate) fn terminate(instance: &Instance) -> CliResult {
    let pid = i32::try_from(instance.pid).ok().and_then(Pid::from_raw);
    let Some(pid) = pid else { return Err(CliError::new("failed", format!("{} is not a process id", instance.pid))) };
    kill_process(pid, Signal::TERM).map_err(|error| {
        CliError::from_error("permission_denied", &error)
            .help(format!("the server runs as another user; stop process {} as that user", instance.pid))
            .exit(Exit::Denied)
    })
}

fn read(home: &Home) -> Option<Instance> {
    serde_json::from_slice(&std::fs::read(description(home)).ok()?).ok()
}

fn description(home: &Home) -> PathBuf {
    home.instance_lock().with_extension("json")
}
