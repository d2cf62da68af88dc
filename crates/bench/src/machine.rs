//! Where and of what figures were taken.

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};
use serde::Serialize;

use crate::statistics::{Distribution, Times};

/// Writes that are timed to know what a commit costs on this disk.
const SYNCS: usize = 200;

/// The machine of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Machine {
    pub(crate) processor: String,
    pub(crate) processors: usize,
    pub(crate) memory_mib: u64,
    pub(crate) kernel: String,
    /// Whether that "disk" is memory, on which nothing stays.
    pub(crate) disk_is_memory: bool,
}

/// The code of a run.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Commit {
    /// Absent outside a repository, and before its first commit.
    pub(crate) id: Option<String>,
    /// Whether there were changes that are not in the commit.
    pub(crate) changed: bool,
}

impl Machine {
    /// This machine, with its disk at `directory`.
    pub(crate) fn examine(directory: &Path) -> Result<Self> {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |path: &str, name: &str| {
            let text = text(path);
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim_start().strip_prefix(':'));
            value.map(|value| value.trim().to_owned())
        };
        let memory = field("/proc/meminfo", "MemTotal").and_then(|kib| kib.strip_suffix(" kB")?.parse::<u64>().ok());
        Ok(Self {
            processor: field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
            processors: std::thread::available_parallelism()?.get(),
            memory_mib: memory.unwrap_or(0) / 1024,
            kernel: text("/proc/sys/kernel/osrelease").trim().to_owned(),
            disk_is_memory: is_memory(directory)?,
        })
    }
}

/// What it takes to write 8 KiB in `directory` so that they stay, in milliseconds: the least a commit can take.
pub(crate) fn time_syncs(directory: &Path) -> Result<Distribution> {
    const PAGE: [u8; 8192] = [0x5A; 8192];
    let mut file = tempfile::tempfile_in(directory).context("timing the disk")?;
    let mut times = Times::default();
    for n in 0..SYNCS + 8 {
        // In a circle over blocks that exist, as PostgreSQL writes its log.
        file.seek(SeekFrom::Start((n % 8 * PAGE.len()) as u64))?;
        file.write_all(&PAGE)?;
        let begun = Instant::now();
        file.sync_data()?;
        if n >= 8 {
            times.add(begun.elapsed());
        }
    }
    Ok(Distribution::of(&times))
}

#[cfg(target_os = "linux")]
fn is_memory(directory: &Path) -> Result<bool> {
    const TMPFS: u64 = 0x0102_1994;
    const RAMFS: u64 = 0x8584_58F6;
    let kind = rustix::fs::statfs(directory)?.f_type as u64;
    Ok([TMPFS, RAMFS].contains(&kind))
}

#[cfg(not(target_os = "linux"))]
fn is_memory(_: &Path) -> Result<bool> {
    Ok(false)
}

impl Commit {
    /// The commit that is checked out where this program was built.
    pub(crate) fn current() -> Self {
        let git = |arguments: &[&str]| {
            let output = Command::new("git")
                .args(["-C", env!("CARGO_MANIFEST_DIR")])
                .args(arguments)
                .stdin(Stdio::null())
                .stderr(Stdio::null())
                .output()
                .ok()?;
            output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        };
        Self {
            id: git(&["rev-parse", "--verify", "HEAD"]),
            changed: git(&["status", "--porcelain"]).is_some_and(|changes| !changes.is_empty()),
        }
    }
}
