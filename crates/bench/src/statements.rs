//! What PostgreSQL is asked to do: for a short while it logs every statement. Too slow to measure anything else by.

use std::collections::{BTreeMap, HashSet};
use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::deployment::{Deployment, send};

/// How long PostgreSQL may take to read its settings again.
const RELOAD_LIMIT: Duration = Duration::from_secs(20);
/// Statements told apart; the rest is in the sum.
const SHAPES: usize = 12;
/// How much of a statement tells it from others.
const SHAPE_LENGTH: usize = 100;

/// The statements of the server since the last look.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Statements {
    pub(crate) count: u64,
    /// Explicit ones, and statements outside of one.
    pub(crate) transactions: u64,
    /// The most frequent, by how they begin.
    pub(crate) most_frequent: Vec<(String, u64)>,
}

/// The log, as long as statements are written to it.
pub(crate) struct StatementLog<'a> {
    deployment: &'a Deployment,
    position: u64,
}

impl<'a> StatementLog<'a> {
    /// Makes PostgreSQL log statements, without their parameters.
    pub(crate) async fn begin(deployment: &'a Deployment) -> Result<Self> {
        configure(deployment, "all").await?;
        let mut this = Self { deployment, position: 0 };
        this.skip()?;
        Ok(this)
    }

    /// Leaves out what has been logged so far.
    pub(crate) fn skip(&mut self) -> Result<()> {
        self.position = fs::metadata(&self.deployment.cluster.log)?.len();
        Ok(())
    }

    /// Counts what has been logged since.
    pub(crate) fn read(&mut self) -> Result<Statements> {
        let mut log = File::open(&self.deployment.cluster.log).context("opening PostgreSQL's log")?;
        log.seek(SeekFrom::Start(self.position))?;
        let mut bytes = Vec::new();
        log.read_to_end(&mut bytes)?;
        self.position += bytes.len() as u64;
        Ok(count(&String::from_utf8_lossy(&bytes)))
    }

    /// Makes PostgreSQL stop it.
    pub(crate) async fn end(self) -> Result<()> {
        configure(self.deployment, "none").await
    }
}

async fn configure(deployment: &Deployment, statements: &str) -> Result<()> {
    let settings = format!("log_statement = '{statements}'\nlog_parameter_max_length = 0\n");
    fs::write(deployment.cluster.directory.join("local.conf"), settings).context("writing PostgreSQL's settings")?;
    send(deployment.processes.postmaster, Signal::HUP);
    let begun = Instant::now();
    while deployment.query("SELECT current_setting('log_statement')")? != statements {
        if begun.elapsed() > RELOAD_LIMIT {
            bail!("PostgreSQL does not take the setting log_statement = {statements}");
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Counts the statements of the server's own connections. Those of the command line are not the server's.
fn count(log: &str) -> Statements {
    let mut found = Statements::default();
    let mut in_transaction = HashSet::new();
    let mut shapes: BTreeMap<String, u64> = BTreeMap::new();
    let mut lines = log.lines().peekable();
    while let Some(line) = lines.next() {
        let Some((origin, text)) = line.split_once(" LOG:  ") else { continue };
        if !origin.contains("/api") {
            continue;
        }
        let text =
            text.strip_prefix("statement: ").or_else(|| Some(text.strip_prefix("execute ")?.split_once(": ")?.1));
        let Some(first_line) = text else { continue };
        let mut statement: String = first_line.to_owned();
        while let Some(more) = lines.next_if(|line| line.starts_with('\t')) {
            statement.push_str(more);
        }
        let shape: String =
            statement.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(SHAPE_LENGTH).collect();

        found.count += 1;
        // The server's process in PostgreSQL, which has one transaction at a time.
        let process =
            origin.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map_or("", |(process, _)| process);
        let word = shape.split([' ', ';']).next().unwrap_or_default().to_ascii_uppercase();
        match word.as_str() {
            "BEGIN" | "START" => _ = in_transaction.insert(process),
            "COMMIT" | "ROLLBACK" | "END" if in_transaction.remove(process) => found.transactions += 1,
            _ if in_transaction.contains(process) => {}
            _ => found.transactions += 1,
        }
        *shapes.entry(shape).or_default() += 1;
    }
    found.most_frequent = shapes.into_iter().collect();
    found.most_frequent.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    found.most_frequent.truncate(SHAPES);
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_and_transactions_of_the_server_are_counted() {
        let log = "\
2025-01-01 00:00:00.000 UTC [10] systemprompt/1.0.0/api LOG:  execute sqlx_s_1: 
\tINSERT INTO a
\t  VALUES ($1)
2025-01-01 00:00:00.000 UTC [10] systemprompt/1.0.0/api LOG:  statement: BEGIN
2025-01-01 00:00:00.000 UTC [11] systemprompt/1.0.0/api:listener LOG:  execute <unnamed>: SELECT 1
2025-01-01 00:00:00.000 UTC [10] systemprompt/1.0.0/api LOG:  execute sqlx_s_1: INSERT INTO a VALUES ($1)
2025-01-01 00:00:00.000 UTC [10] systemprompt/1.0.0/api DETAIL:  parameters
2025-01-01 00:00:00.000 UTC [10] systemprompt/1.0.0/api LOG:  statement: COMMIT
2025-01-01 00:00:00.000 UTC [12] systemprompt/1.0.0/cli LOG:  statement: SELECT 2
2025-01-01 00:00:00.000 UTC [9]  LOG:  received SIGHUP, reloading configuration files
";
        let found = count(log);
        assert_eq!((found.count, found.transactions), (5, 3));
        assert_eq!(found.most_frequent[0], ("INSERT INTO a VALUES ($1)".to_owned(), 2));
    }
}
