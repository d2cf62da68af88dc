//! The server process of a cluster, as its `postmaster.pid` and the operating system know it.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};

use super::account::Runner;
use super::error::{ClusterError, files};
use super::place::{open_private, remove_if_there};

/// How often a process that should become ready, or end, is looked at again.
pub(super) const POLL: Duration = Duration::from_millis(10);

/// What `postmaster.pid` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PidFile {
    /// The server's process id.
    pub(super) pid: Pid,
    /// Where its socket is; not written yet in the first moments of a start.
    pub(super) socket_directory: Option<PathBuf>,
    /// What it is doing; not written yet in the first moments of a start.
    pub(super) state: Option<String>,
}

impl PidFile {
    /// Reads the file below `data`; `None` when it is not there or makes no sense, which is how a crash can leave it.
    pub(super) fn read(data: &Path) -> Result<Option<Self>, ClusterError> {
        let path = data.join("postmaster.pid");
        match fs::read(&path) {
            Ok(content) => Ok(Self::parse(&String::from_utf8_lossy(&content))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(files("read", &path)(error)),
        }
    }

    /// Lines: process id, data directory, start time, port, first socket directory, first listen address, shared memory,
    /// state (PostgreSQL, `src/include/utils/pidfile.h`).
    fn parse(content: &str) -> Option<Self> {
        let line = |number: usize| content.lines().nth(number - 1).map(str::trim).filter(|line| !line.is_empty());
        Some(Self {
            // Negative when a stand-alone backend wrote it.
            pid: Pid::from_raw(line(1)?.parse::<i32>().ok()?.checked_abs()?)?,
            socket_directory: line(5).map(PathBuf::from),
            state: line(8).map(str::to_owned),
        })
    }

    pub(super) fn is_ready(&self) -> bool {
        self.state.as_deref() == Some("ready")
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.state.as_deref() == Some("stopping")
    }
}

/// Whether `pid` is a process of PostgreSQL that works on `data`, and not one that got a dead server's number.
///
/// Linux shows a process's name and working directory, which is the data directory for every process of a server. Elsewhere
/// the command line names it.
pub(super) fn works_on(pid: Pid, data: &Path) -> bool {
    if !Path::new("/proc/self/cwd").exists() {
        let output = Command::new("ps").args(["-o", "command=", "-p", &pid.as_raw_nonzero().to_string()]).output();
        return output.is_ok_and(|output| {
            let command = String::from_utf8_lossy(&output.stdout);
            command.contains("postgres") && command.contains(&*data.to_string_lossy())
        });
    }
    let process = PathBuf::from(format!("/proc/{}", pid.as_raw_nonzero()));
    let is_postgres = fs::read_to_string(process.join("comm")).is_ok_and(|name| name.trim_end() == "postgres");
    // A process that has ended but was not waited for has no working directory any more.
    let same_directory = || {
        let (theirs, ours) = (fs::metadata(process.join("cwd")).ok()?, fs::metadata(data).ok()?);
        Some((theirs.dev(), theirs.ino()) == (ours.dev(), ours.ino()))
    };
    is_postgres && same_directory() == Some(true)
}

/// Removes what would keep a new server from starting although none is running. Call only after that is certain.
///
/// PostgreSQL recovers from a stale `postmaster.pid` by itself, and by the shared memory named in it makes sure that no
/// process of the dead server still writes to the data. It gives up only when the number in it belongs to another process
/// by now. Then we put our own number there, which PostgreSQL knows for its parent's and so for stale, and leave the rest.
pub(super) fn clear_stale(data: &Path, runner: Runner) -> Result<(), ClusterError> {
    let path = data.join("postmaster.pid");
    let Some(stale) = PidFile::read(data)? else { return remove_if_there(&path) };
    if matches!(test_kill_process(stale.pid), Err(rustix::io::Errno::SRCH)) {
        return Ok(());
    }
    let content = fs::read_to_string(&path).map_err(files("read", &path))?;
    let rest = content.split_once('\n').map_or("", |(_, rest)| rest);
    remove_if_there(&path)?;
    let mut file = open_private(&path, OpenOptions::new().write(true).create_new(true))?;
    write!(file, "{}\n{rest}", std::process::id()).map_err(files("write", &path))?;
    runner.give(&path)
}

/// Ends processes of a server that was killed. They notice its death by themselves, unless they are deep in a long query.
pub(super) fn end_orphans(data: &Path) {
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok().and_then(Pid::from_raw));
    for pid in pids.filter(|pid| works_on(*pid, data)) {
        // One that has ended meanwhile is what we want.
        let _ = kill_process(pid, Signal::QUIT);
    }
}

/// Stops the server `pid` and waits until it is gone: at first as it should be stopped (SIGINT: sessions are ended, the
/// data is written out), after `limit` at once (SIGQUIT: the next start recovers from the log).
pub(super) async fn stop(pid: Pid, data: &Path, limit: Duration) -> Result<(), ClusterError> {
    let begun = Instant::now();
    for (signal, limit) in [(Signal::INT, limit), (Signal::QUIT, Duration::from_secs(15))] {
        let asked = Instant::now();
        // A process that is gone already has been stopped; the wait below sees that.
        let _ = kill_process(pid, signal);
        while asked.elapsed() < limit {
            if !works_on(pid, data) {
                return Ok(());
            }
            tokio::time::sleep(POLL).await;
        }
    }
    Err(ClusterError::StopTimedOut { pid: pid.as_raw_nonzero().get(), waited: begun.elapsed() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pid_files_are_read_in_every_stage() {
        let full = "42\n/data\n1700000000\n5432\n/run/socket\n\n  5432001    32769\nready   \n";
        let read = PidFile::parse(full).unwrap();
        assert_eq!(read.pid, Pid::from_raw(42).unwrap());
        assert_eq!(read.socket_directory.as_deref(), Some(Path::new("/run/socket")));
        assert!(read.is_ready() && !read.is_stopping());

        let early = PidFile::parse("-42\n/data\n1700000000\n5432\n").unwrap();
        assert_eq!((early.pid, early.socket_directory, early.state), (Pid::from_raw(42).unwrap(), None, None));

        for broken in ["", "\n\n", "zero", "0\n/data", "99999999999999"] {
            assert_eq!(PidFile::parse(broken), None, "{broken:?}");
        }
    }
}
