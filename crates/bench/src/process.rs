//! Processor time and memory of processes, out of `/proc`.

use std::collections::HashMap;
use std::fs;
use std::ops::Sub;

use anyhow::{Context, Result};
use serde::Serialize;

/// Units of processor time per second; the same on every Linux that people run.
const TICKS_PER_SECOND: f64 = 100.0;

/// The processes of a measurement. Everything else that runs is somebody else's.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Processes {
    pub(crate) server: u32,
    /// PostgreSQL's first process; the others are its children.
    pub(crate) postmaster: u32,
    pub(crate) upstream: u32,
}

/// Processor time in seconds, user and system together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct CpuSeconds {
    pub(crate) server: f64,
    /// All processes of the cluster.
    pub(crate) postgres: f64,
    pub(crate) upstream: f64,
    /// The benchmark itself.
    pub(crate) client: f64,
    /// Everything else on the machine, the kernel's own threads included. A disturbed measurement shows here.
    pub(crate) others: f64,
    /// What the hypervisor kept for others.
    pub(crate) stolen: f64,
}

/// Memory in MiB.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(crate) struct MemoryMib {
    pub(crate) server: f64,
    /// The most the server ever had.
    pub(crate) server_peak: f64,
    /// What the processes of the cluster have for themselves, and once what they share.
    pub(crate) postgres: f64,
    pub(crate) postgres_processes: usize,
}

/// Fails where there is no `/proc` to read.
pub(crate) fn require_proc() -> Result<()> {
    fs::metadata("/proc/self/stat")
        .context("the benchmark reads processor time and memory from /proc, as Linux has it")?;
    Ok(())
}

impl Processes {
    /// Processor time since each of them began, and since the machine did for the rest.
    pub(crate) fn cpu(&self) -> Result<CpuSeconds> {
        let server = Stat::read(self.server)?;
        let upstream = Stat::read(self.upstream)?;
        let client = Stat::read(std::process::id())?;
        // What has ended meanwhile is in the sum of the children the postmaster has waited for.
        let postgres: u64 =
            self.cluster().iter().map(|stat| stat.own).sum::<u64>() + Stat::read(self.postmaster)?.children;
        let (busy, stolen) = machine()?;
        let seconds = |ticks: u64| ticks as f64 / TICKS_PER_SECOND;
        let ours = server.own + upstream.own + client.own + postgres;
        Ok(CpuSeconds {
            server: seconds(server.own),
            postgres: seconds(postgres),
            upstream: seconds(upstream.own),
            client: seconds(client.own),
            // Less than nothing only as a difference to another moment, which is what it is used for.
            others: seconds(busy) - seconds(ours),
            stolen: seconds(stolen),
        })
    }

    pub(crate) fn memory(&self) -> Result<MemoryMib> {
        let server = Memory::read(self.server)?;
        let cluster: Vec<_> = self.cluster().iter().filter_map(|stat| Memory::read(stat.pid).ok()).collect();
        let private: u64 = cluster.iter().map(|memory| memory.private).sum();
        let shared = cluster.iter().map(|memory| memory.shared).max().unwrap_or(0);
        let mib = |kib: u64| kib as f64 / 1024.0;
        Ok(MemoryMib {
            server: mib(server.private + server.shared),
            server_peak: mib(server.peak),
            postgres: mib(private + shared),
            postgres_processes: cluster.len(),
        })
    }

    /// The process ids of the cluster.
    pub(crate) fn postgres(&self) -> Vec<u32> {
        self.cluster().iter().map(|stat| stat.pid).collect()
    }

    /// The postmaster and its children.
    fn cluster(&self) -> Vec<Stat> {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        entries
            .filter_map(|entry| Stat::read(entry.file_name().to_str()?.parse().ok()?).ok())
            .filter(|stat| stat.pid == self.postmaster || stat.parent == self.postmaster)
            .collect()
    }
}

impl Sub for CpuSeconds {
    type Output = Self;

    fn sub(self, earlier: Self) -> Self {
        Self {
            server: self.server - earlier.server,
            postgres: self.postgres - earlier.postgres,
            upstream: self.upstream - earlier.upstream,
            client: self.client - earlier.client,
            others: (self.others - earlier.others).max(0.0),
            stolen: self.stolen - earlier.stolen,
        }
    }
}

/// What `/proc/<pid>/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: u32,
    parent: u32,
    /// Ticks of the process.
    own: u64,
    /// Ticks of its children that have ended.
    children: u64,
}

impl Stat {
    fn read(pid: u32) -> Result<Self> {
        let path = format!("/proc/{pid}/stat");
        let text = fs::read_to_string(&path).with_context(|| format!("process {pid} is gone"))?;
        Self::parse(&text).with_context(|| format!("reading {path}"))
    }

    fn parse(text: &str) -> Option<Self> {
        let pid = text.split(' ').next()?.parse().ok()?;
        // The name is in parentheses and may hold any character, so count from behind it.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        Some(Self {
            pid,
            parent: u32::try_from(number(1)?).ok()?,
            own: number(11)? + number(12)?,
            children: number(13)? + number(14)?,
        })
    }
}

/// What `/proc/<pid>/status` says, in KiB.
struct Memory {
    peak: u64,
    private: u64,
    shared: u64,
}

impl Memory {
    fn read(pid: u32) -> Result<Self> {
        let text =
            fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("process {pid} is gone"))?;
        let fields: HashMap<&str, &str> = text.lines().filter_map(|line| line.split_once(':')).collect();
        let kib = |name: &str| -> u64 {
            let value = fields.get(name).and_then(|value| value.trim().strip_suffix(" kB"));
            value.and_then(|value| value.parse().ok()).unwrap_or(0)
        };
        Ok(Self { peak: kib("VmHWM"), private: kib("RssAnon"), shared: kib("RssFile") + kib("RssShmem") })
    }
}

/// Ticks all processors were busy, and ticks the hypervisor gave to others.
fn machine() -> Result<(u64, u64)> {
    let text = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
    let line = text.lines().next().unwrap_or_default();
    let ticks: Vec<u64> = line.split_whitespace().skip(1).filter_map(|field| field.parse().ok()).collect();
    let [user, nice, system, _idle, _waiting, interrupts, soft_interrupts, stolen, ..] = ticks[..] else {
        anyhow::bail!("/proc/stat does not begin with the sum of all processors");
    };
    Ok((user + nice + system + interrupts + soft_interrupts, stolen))
}

/// Whether the process of this id was started with these words in its command line, and has not ended.
pub(crate) fn is_running(pid: u32, words: &str) -> bool {
    let command_line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    memchr::memmem::find(&command_line, words.as_bytes()).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_may_hold_anything() {
        let line = "42 (post) gres: (x) S 7 42 42 0 -1 4194560 1 2 3 4 100 20 5 6 20 0 1 0 99 0 0";
        assert_eq!(Stat::parse(line), Some(Stat { pid: 42, parent: 7, own: 120, children: 11 }));
        assert_eq!(Stat::parse("42 (x) S 7"), None);
    }

    #[test]
    fn this_process_is_measured() {
        let me = std::process::id();
        let processes = Processes { server: me, postmaster: me, upstream: me };
        let before = processes.cpu().unwrap();
        assert!(processes.memory().unwrap().server > 0.1);
        assert!((processes.cpu().unwrap() - before).server >= 0.0);
        assert!(!is_running(me, "no such words in it"));
    }
}
