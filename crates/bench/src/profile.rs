//! Where processor time goes, as `perf` sees it. Taken in a round of its own, as it slows down what it looks at.

use std::path::Path;
use std::process::{Output, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::Serialize;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::deployment::send;

/// Samples per second of processor time. No divisor of a second, so as not to fall into step with timers.
const FREQUENCY: &str = "499";
/// Symbols that are kept.
const SYMBOLS: usize = 40;
/// How long `perf` may take to write down what it has seen.
const LIMIT: Duration = Duration::from_mins(2);

/// A place in the code and its share of the processor time, without that of what it called.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Symbol {
    pub(crate) percent: f64,
    /// The program or library.
    pub(crate) object: String,
    pub(crate) name: String,
}

/// A recording that goes on.
pub(crate) struct Recording {
    perf: Child,
}

impl Recording {
    /// Begins to look at these processes.
    pub(crate) fn begin(processes: &[u32], data: &Path) -> Result<Self> {
        let processes: Vec<String> = processes.iter().map(ToString::to_string).collect();
        let mut command = Command::new("perf");
        command.args(["record", "--quiet", "--freq", FREQUENCY, "--pid", &processes.join(","), "--output"]).arg(data);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).process_group(0).kill_on_drop(true);
        Ok(Self { perf: command.spawn().context("running perf")? })
    }

    /// Ends it and says what was seen.
    pub(crate) async fn end(self, data: &Path) -> Result<Vec<Symbol>> {
        if let Some(pid) = self.perf.id() {
            send(pid, Signal::INT);
        }
        // It ends by the signal, so its status says nothing; that there is no recording does.
        let output = timeout(LIMIT, self.perf.wait_with_output()).await.context("perf does not end")??;
        if !data.exists() {
            bail!("perf recorded nothing: {}", said(&output));
        }
        let mut report = Command::new("perf");
        report.arg("report").arg("--input").arg(data);
        report.args(["--stdio", "--no-children", "--fields", "overhead,dso,sym", "--field-separator", "|"]);
        report.stdin(Stdio::null()).kill_on_drop(true);
        let output = timeout(LIMIT, report.output()).await.context("perf does not report")??;
        if !output.status.success() {
            bail!("perf report failed: {}", said(&output));
        }
        Ok(symbols(&String::from_utf8_lossy(&output.stdout)))
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).trim().to_owned()
}

fn symbols(report: &str) -> Vec<Symbol> {
    let symbol = |line: &str| {
        let mut fields = line.splitn(3, '|').map(str::trim);
        let percent = fields.next()?.strip_suffix('%')?.parse().ok()?;
        let object = fields.next()?.to_owned();
        // `[k]` and `[.]` tell the kernel from programs, as the object does.
        let name = fields.next()?.trim_start_matches("[k] ").trim_start_matches("[.] ").to_owned();
        Some(Symbol { percent, object, name })
    };
    report.lines().filter_map(symbol).take(SYMBOLS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_are_read() {
        let report = "# Overhead|Shared Object|Symbol\n 6.74%  |libc.so.6        |[.] __memmove\n 3.03%  |[kernel.kallsyms]|[k] \
                      _raw_spin_unlock\n 1.00%|systemprompt|[.] <A as B|C>::d\n\n";
        let found = symbols(report);
        let expect =
            |percent, object: &str, name: &str| Symbol { percent, object: object.to_owned(), name: name.to_owned() };
        assert_eq!(
            found,
            [
                expect(6.74, "libc.so.6", "__memmove"),
                expect(3.03, "[kernel.kallsyms]", "_raw_spin_unlock"),
                expect(1.0, "systemprompt", "<A as B|C>::d"),
            ]
        );
    }
}
