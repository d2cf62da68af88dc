//! How a program of PostgreSQL is run, and what it said.

use tokio::process::Command;

/// Programs of PostgreSQL get no environment of ours: it may hold keys, and `PG…` variables change what they do.
pub(super) fn restrict_environment(command: &mut Command) {
    command.env_clear().envs([("PATH", "/usr/local/bin:/usr/bin:/bin"), ("LC_ALL", "C"), ("LANG", "C")]);
}

/// The line that says what went wrong, out of everything a program of PostgreSQL printed.
pub(super) fn reason_in(output: &str) -> String {
    let lines: Vec<&str> = output.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let marked = |mark: &str| lines.iter().rev().find_map(|line| line.split_once(mark).map(|(_, rest)| rest.trim()));
    let reason = marked("PANIC:").or_else(|| marked("FATAL:")).or_else(|| marked("error:"));
    reason.or(lines.last().copied()).unwrap_or("it ended without a word").to_owned()
}
