//! The server of a home: at most one, and how others find it.
//!
//! The lock says whether it runs — the operating system releases it however the process ends — and the file beside it
//! says where.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rustix::fs::OFlags;
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
    /// Takes the lock and writes `instance` beside it, or says who has it.
    pub(crate) fn take(home: &Home, instance: &Instance) -> CliResult<Self> {
        let unwritable = |error: std::io::Error| {
            CliError::from_error("home_not_writable", &error)
                .help(format!(
                    "make {} writable for this user, or choose another place with --home DIR",
                    home.directory().display()
                ))
                .exit(Exit::Configuration)
        };
        let lock = private_file(&home.instance_lock(), false).map_err(unwritable)?;
        match lock.try_lock() {
            Ok(()) => {
                let lock = Self { _lock: lock, description: description(home) };
                // At once: what a killed predecessor left there must not be taken for this server.
                lock.describe(instance).map_err(unwritable)?;
                Ok(lock)
            }
            Err(TryLockError::WouldBlock) => Err(already_running(home)),
            Err(TryLockError::Error(error)) => Err(unwritable(error)),
        }
    }

    /// Tells others where the server is.
    pub(crate) fn describe(&self, instance: &Instance) -> std::io::Result<()> {
        let temporary = self.description.with_extension("tmp");
        let mut file = private_file(&temporary, true)?;
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

/// A file only for its owner, never through a symbolic link.
fn private_file(path: &Path, truncate: bool) -> std::io::Result<File> {
    let flags = OFlags::NOFOLLOW.bits().cast_signed();
    OpenOptions::new().create(true).write(true).truncate(truncate).mode(0o600).custom_flags(flags).open(path)
}

/// Fails if another server has the home, without touching it.
pub(crate) fn ensure_free(home: &Home) -> CliResult {
    if is_locked(home) { Err(already_running(home)) } else { Ok(()) }
}

fn already_running(home: &Home) -> CliError {
    let who = match read(home) {
        Some(Instance { pid, url: Some(url), .. }) => format!("process {pid} serves {url} from it"),
        Some(Instance { pid, .. }) => format!("process {pid} is starting from it"),
        None => "another process is starting from it".to_owned(),
    };
    CliError::new("already_running", format!("the home {} is in use: {who}", home.directory().display()))
        .help("systemprompt infra services stop   stops it; --home DIR uses another home")
        .exit(Exit::Conflict)
}

/// The server of a home, if one runs.
pub(crate) fn running(home: &Home) -> Option<Instance> {
    if is_locked(home) { read(home) } else { None }
}

fn is_locked(home: &Home) -> bool {
    let Ok(lock) = File::open(home.instance_lock()) else { return false };
    // Shared, so that two commands looking at the same time do not take each other for a server.
    matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock))
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
