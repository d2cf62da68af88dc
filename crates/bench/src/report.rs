//! What a run found: as JSON, and as tables for people.

use std::fmt;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::presets::NOTHING;
use comfy_table::{Cell as TextCell, CellAlignment, Table};
use serde::Serialize;

use crate::deployment::{Durability, Setting};
use crate::machine::{Commit, Machine};
use crate::process::{CpuSeconds, MemoryMib};
use crate::profile::Symbol;
use crate::request::{Answers, Dialect};
use crate::statements::Statements;
use crate::statistics::{Distribution, median};

/// More processor time of strangers than this, in processors, and a measurement is marked as disturbed.
const DISTURBED: f64 = 0.2;
/// Lines of a profile for people, and how much of a line.
const SYMBOLS_SHOWN: usize = 25;
const SYMBOL_LENGTH: usize = 120;

/// Everything that was measured.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// Whether the run came to its end.
    pub(crate) complete: bool,
    pub(crate) started_at: String,
    pub(crate) took_seconds: f64,
    pub(crate) version: String,
    pub(crate) commit: Commit,
    pub(crate) postgres_version: String,
    pub(crate) machine: Machine,
    pub(crate) settings: Option<Settings>,
    pub(crate) ledgers: Vec<Ledger>,
}

/// How it was measured.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Settings {
    pub(crate) dialect: Dialect,
    pub(crate) body_bytes: usize,
    #[serde(flatten)]
    pub(crate) setting: Setting,
    pub(crate) pairs: usize,
    pub(crate) round_seconds: f64,
    pub(crate) round_requests: u64,
}

/// All measurements with one kind of ledger.
#[derive(Debug, Serialize)]
pub(crate) struct Ledger {
    pub(crate) durability: Durability,
    /// What it took to write 8 KiB to the database's disk so that they stay, just before.
    pub(crate) sync_ms: Distribution,
    pub(crate) measurements: Vec<Measurement>,
    pub(crate) sessions: Option<Sessions>,
    pub(crate) statements: Vec<StatementSample>,
    /// Why there are none.
    pub(crate) statements_error: Option<String>,
    pub(crate) database: Option<DatabaseCosts>,
    pub(crate) profiles: Vec<Profile>,
    pub(crate) memory: Vec<MemorySample>,
}

/// One kind of load, directly and through the gateway.
#[derive(Debug, Serialize)]
pub(crate) struct Measurement {
    pub(crate) answers: Answers,
    pub(crate) concurrency: usize,
    pub(crate) summary: Summary,
    pub(crate) beside: Vec<Other>,
    pub(crate) direct: Vec<Round>,
    pub(crate) gateway: Vec<Round>,
}

/// The same load through another gateway.
#[derive(Debug, Serialize)]
pub(crate) struct Other {
    pub(crate) name: String,
    pub(crate) side: Side,
    /// Our requests per second to its, and our median time to its.
    pub(crate) rate_ratio: f64,
    pub(crate) p50_ratio: f64,
    pub(crate) rounds: Vec<Round>,
}

/// One round. Times are in milliseconds.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Round {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) first_error: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) requests_per_second: f64,
    pub(crate) whole_ms: Distribution,
    pub(crate) first_byte_ms: Distribution,
    /// Of this round and the moment after it, in which records are completed.
    pub(crate) cpu_seconds: CpuSeconds,
}

/// The rounds in a few numbers.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Summary {
    pub(crate) direct: Side,
    pub(crate) gateway: Side,
    /// Medians of the differences between the two rounds of a pair.
    pub(crate) added_p50_ms: f64,
    pub(crate) added_p99_ms: f64,
    pub(crate) added_first_byte_p50_ms: f64,
    pub(crate) added_first_byte_p99_ms: f64,
    /// The gateway's requests per second as a part of the direct ones.
    pub(crate) rate_ratio: f64,
    /// Processors that others kept busy during the rounds.
    pub(crate) others_cpus: f64,
    pub(crate) stolen_cpus: f64,
}

/// Medians over the rounds of one way.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Side {
    pub(crate) requests: u64,
    pub(crate) errors: u64,
    pub(crate) requests_per_second: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    pub(crate) first_byte_p50_ms: f64,
    pub(crate) first_byte_p99_ms: f64,
    /// Over all rounds.
    pub(crate) cpu_seconds_per_1000: CpuSeconds,
}

/// A session that is new against one that has been used a lot.
#[derive(Debug, Serialize)]
pub(crate) struct Sessions {
    pub(crate) aged_by_requests: u64,
    pub(crate) aging_seconds: f64,
    pub(crate) concurrency: usize,
    pub(crate) fresh: Side,
    pub(crate) aged: Side,
    pub(crate) p50_ratio: f64,
    pub(crate) p99_ratio: f64,
    pub(crate) rate_ratio: f64,
}

/// Statements while every one was logged.
#[derive(Debug, Serialize)]
pub(crate) struct StatementSample {
    pub(crate) answers: Answers,
    pub(crate) concurrency: usize,
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) statements_per_request: f64,
    pub(crate) transactions_per_request: f64,
    pub(crate) counted: Statements,
}

/// What requests cost the database, as PostgreSQL counted it over all rounds, by which nothing is slowed down.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct DatabaseCosts {
    pub(crate) requests: u64,
    pub(crate) transactions_per_request: f64,
    /// Written to its log.
    pub(crate) wal_bytes_per_request: f64,
    /// By which tables and indexes grew.
    pub(crate) table_bytes_per_request: f64,
}

/// Where a process's time went.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Profile {
    pub(crate) of: &'static str,
    pub(crate) answers: Answers,
    pub(crate) concurrency: usize,
    /// Those with most time of their own, most first.
    pub(crate) symbols: Vec<Symbol>,
}

/// Memory at a moment.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct MemorySample {
    /// Since the server was ready.
    pub(crate) at_seconds: f64,
    /// What had just happened.
    pub(crate) after: String,
    /// Requests it had answered by then.
    pub(crate) requests: u64,
    #[serde(flatten)]
    pub(crate) memory_mib: MemoryMib,
}

impl Ledger {
    pub(crate) fn new(durability: Durability, sync_ms: Distribution) -> Self {
        Self {
            durability,
            sync_ms,
            measurements: Vec::new(),
            sessions: None,
            statements: Vec::new(),
            statements_error: None,
            database: None,
            profiles: Vec::new(),
            memory: Vec::new(),
        }
    }
}

impl Side {
    pub(crate) fn of(rounds: &[Round]) -> Self {
        let requests: u64 = rounds.iter().map(|round| round.requests).sum();
        let per_1000 = |of: fn(&CpuSeconds) -> f64| {
            let seconds: f64 = rounds.iter().map(|round| of(&round.cpu_seconds)).sum();
            if requests == 0 { 0.0 } else { seconds * 1000.0 / requests as f64 }
        };
        let middle = |of: fn(&Round) -> f64| median(rounds.iter().map(of));
        Self {
            requests,
            errors: rounds.iter().map(|round| round.errors).sum(),
            requests_per_second: middle(|round| round.requests_per_second),
            p50_ms: middle(|round| round.whole_ms.p50),
            p99_ms: middle(|round| round.whole_ms.p99),
            first_byte_p50_ms: middle(|round| round.first_byte_ms.p50),
            first_byte_p99_ms: middle(|round| round.first_byte_ms.p99),
            cpu_seconds_per_1000: CpuSeconds {
                server: per_1000(|cpu| cpu.server),
                postgres: per_1000(|cpu| cpu.postgres),
                upstream: per_1000(|cpu| cpu.upstream),
                client: per_1000(|cpu| cpu.client),
                others: per_1000(|cpu| cpu.others),
                stolen: per_1000(|cpu| cpu.stolen),
            },
        }
    }
}

impl Summary {
    /// Of rounds in pairs.
    pub(crate) fn of(direct: &[Round], gateway: &[Round]) -> Self {
        let added = |of: fn(&Round) -> f64| {
            median(direct.iter().zip(gateway).map(|(direct, gateway)| of(gateway) - of(direct)))
        };
        let cpus = |of: fn(&CpuSeconds) -> f64| {
            let rounds = || direct.iter().chain(gateway);
            let seconds: f64 = rounds().map(|round| round.seconds).sum();
            rounds().map(|round| of(&round.cpu_seconds)).sum::<f64>() / seconds.max(1e-9)
        };
        let (of_direct, of_gateway) = (Side::of(direct), Side::of(gateway));
        Self {
            direct: of_direct,
            gateway: of_gateway,
            added_p50_ms: added(|round| round.whole_ms.p50),
            added_p99_ms: added(|round| round.whole_ms.p99),
            added_first_byte_p50_ms: added(|round| round.first_byte_ms.p50),
            added_first_byte_p99_ms: added(|round| round.first_byte_ms.p99),
            rate_ratio: ratio(of_gateway.requests_per_second, of_direct.requests_per_second),
            others_cpus: cpus(|cpu| cpu.others),
            stolen_cpus: cpus(|cpu| cpu.stolen),
        }
    }
}

impl Report {
    /// Answers that were not as they should be, in all rounds.
    pub(crate) fn errors(&self) -> u64 {
        let of_sessions = |sessions: &Sessions| sessions.fresh.errors + sessions.aged.errors;
        let of = |ledger: &Ledger| {
            let sides = ledger.measurements.iter().flat_map(|one| [one.summary.direct, one.summary.gateway]);
            sides.map(|side| side.errors).sum::<u64>() + ledger.sessions.as_ref().map_or(0, of_sessions)
        };
        self.ledgers.iter().map(of).sum()
    }

    pub(crate) fn write(&self, path: &Path) -> Result<()> {
        if let Some(directory) = path.parent() {
            fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
        }
        fs::write(path, serde_json::to_vec_pretty(self)?).with_context(|| format!("writing {}", path.display()))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let machine = &self.machine;
        let commit = self.commit.id.as_ref().map_or("no commit", |id| id.get(..12).unwrap_or(id));
        let changed = if self.commit.changed { " with changes" } else { "" };
        writeln!(
            f,
            "\nsystemprompt {} ({commit}{changed}), PostgreSQL {}\n{} × {}, Linux {}",
            self.version, self.postgres_version, machine.processors, machine.processor, machine.kernel,
        )?;
        if machine.disk_is_memory {
            writeln!(f, "the database lies in memory: what is durable here costs less than on a disk")?;
        }
        if let Some(settings) = &self.settings {
            writeln!(
                f,
                "{:?} requests of {} bytes to a provider of wire {}{}, kept content: {}, {} pairs of rounds of {} s, \
                 everything on this machine; times in ms",
                settings.dialect,
                settings.body_bytes,
                settings.setting.wire.as_str(),
                if settings.setting.failover { " behind one that is broken" } else { "" },
                settings.setting.content.as_str(),
                settings.pairs,
                settings.round_seconds
            )?;
        }
        for ledger in &self.ledgers {
            let (name, sync) = (ledger.durability.as_str(), &ledger.sync_ms);
            writeln!(f, "\n{name} ledger (8 KiB to disk: {:.2} p50, {:.2} p99)\n", sync.p50, sync.p99)?;
            let others = ledger.measurements.iter().any(|one| !one.beside.is_empty()).then(|| others(ledger));
            for table in [latencies(ledger), costs(ledger)].into_iter().chain(others) {
                for line in table.lines() {
                    writeln!(f, "{}", line.trim_end())?;
                }
                writeln!(f)?;
            }
            if ledger.measurements.iter().any(|one| one.summary.others_cpus + one.summary.stolen_cpus > DISTURBED) {
                writeln!(f, "! other programs used the machine; repeat these when it is quiet")?;
            }
            remarks(ledger, f)?;
        }
        Ok(())
    }
}

fn others(ledger: &Ledger) -> Table {
    let headers =
        ["answers", "conc.", "other gateway", "other/s", "p50", "p99", "ours/other: rate", "p50", "its errors"];
    let mut table = table(&headers);
    for Measurement { answers, concurrency, beside, .. } in &ledger.measurements {
        for Other { name, side, rate_ratio, p50_ratio, .. } in beside {
            let mut row = vec![answers.as_str().to_owned(), concurrency.to_string(), name.clone()];
            row.push(format!("{:.0}", side.requests_per_second));
            row.extend([side.p50_ms, side.p99_ms].map(|ms| format!("{ms:.2}")));
            row.extend([rate_ratio, p50_ratio].map(|ratio| format!("{ratio:.2}")));
            row.push(side.errors.to_string());
            add(&mut table, row);
        }
    }
    table
}

fn latencies(ledger: &Ledger) -> Table {
    let mut table = table(&[
        "answers",
        "conc.",
        "direct p50",
        "p99",
        "gateway p50",
        "p99",
        "added p50",
        "p99",
        "added 1st byte p50",
        "p99",
    ]);
    for Measurement { answers, concurrency, summary, .. } in &ledger.measurements {
        let (direct, gateway) = (&summary.direct, &summary.gateway);
        let mut row = vec![answers.as_str().to_owned(), concurrency.to_string()];
        row.extend([direct.p50_ms, direct.p99_ms, gateway.p50_ms, gateway.p99_ms].map(|ms| format!("{ms:.2}")));
        row.extend([summary.added_p50_ms, summary.added_p99_ms].map(|ms| format!("{ms:+.2}")));
        let first_byte = [summary.added_first_byte_p50_ms, summary.added_first_byte_p99_ms];
        row.extend(
            first_byte.map(|ms| if *answers == Answers::Streamed { format!("{ms:+.2}") } else { String::new() }),
        );
        add(&mut table, row);
    }
    table
}

fn costs(ledger: &Ledger) -> Table {
    let mut table = table(&[
        "answers",
        "conc.",
        "direct/s",
        "gateway/s",
        "ratio",
        "CPU s per 1,000: server",
        "PostgreSQL",
        "mock",
        "client",
        "other CPUs",
        "errors",
    ]);
    for Measurement { answers, concurrency, summary, .. } in &ledger.measurements {
        let (direct, gateway) = (&summary.direct, &summary.gateway);
        let cpu = &gateway.cpu_seconds_per_1000;
        let mut row = vec![answers.as_str().to_owned(), concurrency.to_string()];
        row.extend([direct.requests_per_second, gateway.requests_per_second].map(|rate| format!("{rate:.0}")));
        row.push(format!("{:.2}", summary.rate_ratio));
        row.extend([cpu.server, cpu.postgres, cpu.upstream, cpu.client].map(|seconds| format!("{seconds:.3}")));
        let others = summary.others_cpus + summary.stolen_cpus;
        row.push(format!("{others:.2}{}", if others > DISTURBED { "!" } else { "" }));
        row.push((direct.errors + gateway.errors).to_string());
        add(&mut table, row);
    }
    table
}

/// What is said in a line.
fn remarks(ledger: &Ledger, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    for sample in &ledger.statements {
        writeln!(
            f,
            "SQL, {} × {}: {:.2} statements in {:.2} transactions per request",
            sample.answers.as_str(),
            sample.concurrency,
            sample.statements_per_request,
            sample.transactions_per_request
        )?;
    }
    if let Some(error) = &ledger.statements_error {
        writeln!(f, "SQL statements were not counted: {error}")?;
    }
    if let Some(costs) = &ledger.database {
        writeln!(
            f,
            "database, all rounds, per request: {:.2} transactions, {:.0} bytes of log, {:.0} bytes more in tables and indexes",
            costs.transactions_per_request, costs.wal_bytes_per_request, costs.table_bytes_per_request,
        )?;
    }
    if let Some(sessions) = &ledger.sessions {
        writeln!(
            f,
            "session of {} requests against a fresh one, {} concurrent: p50 {:.2} to {:.2} (× {:.2}), p99 {:.2} to {:.2} (× {:.2}), \
             {:.0}/s to {:.0}/s (× {:.2})",
            sessions.aged_by_requests,
            sessions.concurrency,
            sessions.aged.p50_ms,
            sessions.fresh.p50_ms,
            sessions.p50_ratio,
            sessions.aged.p99_ms,
            sessions.fresh.p99_ms,
            sessions.p99_ratio,
            sessions.aged.requests_per_second,
            sessions.fresh.requests_per_second,
            sessions.rate_ratio,
        )?;
    }
    if let (Some(first), Some(last)) = (ledger.memory.first(), ledger.memory.last()) {
        let most =
            |of: fn(&MemoryMib) -> f64| ledger.memory.iter().map(|sample| of(&sample.memory_mib)).fold(0.0, f64::max);
        writeln!(
            f,
            "memory in MiB at the start, at most, after {} requests: server {:.0}, {:.0}, {:.0} (peak {:.0}); PostgreSQL {:.0}, {:.0}, {:.0}",
            last.requests,
            first.memory_mib.server,
            most(|memory| memory.server),
            last.memory_mib.server,
            last.memory_mib.server_peak,
            first.memory_mib.postgres,
            most(|memory| memory.postgres),
            last.memory_mib.postgres,
        )?;
    }
    for profile in &ledger.profiles {
        writeln!(f, "\nprocessor time of the {}, {} × {}:", profile.of, profile.answers.as_str(), profile.concurrency)?;
        for Symbol { percent, object, name } in profile.symbols.iter().take(SYMBOLS_SHOWN) {
            let name: String = name.chars().take(SYMBOL_LENGTH).collect();
            writeln!(f, "  {percent:5.2} %  {object:18}  {name}")?;
        }
    }
    for Measurement { answers, concurrency, direct, gateway, .. } in &ledger.measurements {
        if let Some(error) = direct.iter().chain(gateway).find_map(|round| round.first_error.as_ref()) {
            writeln!(f, "! {} × {concurrency}: {error}", answers.as_str())?;
        }
    }
    Ok(())
}

fn table(headers: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_header(headers);
    table
}

fn add(table: &mut Table, row: Vec<String>) {
    table.add_row(row.into_iter().enumerate().map(|(column, text)| {
        let alignment = if column == 0 { CellAlignment::Left } else { CellAlignment::Right };
        TextCell::new(text).set_alignment(alignment)
    }));
}

/// Zero if there is nothing to compare with.
pub(crate) fn ratio(of: f64, to: f64) -> f64 {
    if to > 0.0 { of / to } else { 0.0 }
}
