//! The plan of a run.
//!
//! For each kind of ledger everything is started anew. Then, for each kind of load, rounds alternate between the provider
//! and the gateway; a pair of rounds is seconds apart, and what is reported is the median of the pairs' differences.
//! After that a session is aged and compared with fresh ones, and the SQL of a few requests is counted.

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use chrono::{DateTime, SecondsFormat, Utc};
use clap::Args;
use tokio::time::{Instant, sleep, timeout};

use crate::connection::Connection;
use crate::deployment::{Content, Deployment, Durability, Programs, Setting, Upstream};
use crate::load::{Clients, Limit};
use crate::machine::{Commit, Machine, time_syncs};
use crate::process::{CpuSeconds, require_proc};
use crate::profile::Recording;
use crate::report::{
    DatabaseCosts, Ledger, Measurement, MemorySample, Other, Profile, Report, Round, Sessions, Settings, Side,
    StatementSample, Summary, ratio,
};
use crate::request::{self, Answers, Destination, Dialect, Ending, Prompt, Wire};
use crate::statements::StatementLog;
use crate::statistics::Distribution;

/// After a round: outcomes are still being written, and that work belongs to the round.
const SETTLE: Duration = Duration::from_millis(300);
/// PostgreSQL's idle processes report what they have counted within ten seconds.
const COUNTERS_SETTLE: Duration = Duration::from_millis(10_500);
/// The longest a warm-up takes.
const WARM_UP: Duration = Duration::from_secs(1);
/// Sessions are compared, and aged, with so many connections.
const SESSION_CONCURRENCY: usize = 16;
/// How long a profile is taken.
const PROFILE: Duration = Duration::from_secs(6);
/// A session is not aged for longer.
const AGING_LIMIT: Duration = Duration::from_mins(3);

/// Compare model requests through the gateway with the same requests sent to the provider directly.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Short rounds, and a session aged by 5,000 requests: a first look, in about two minutes.
    #[arg(long)]
    quick: bool,
    /// Where the figures are written as JSON.
    #[arg(long, value_name = "FILE", default_value = "target/bench/gateway.json")]
    pub(crate) output: PathBuf,
    /// Kinds of ledger.
    #[arg(long, value_delimiter = ',', default_value = "durable,asynchronous")]
    ledger: Vec<Durability>,
    /// Kinds of answers.
    #[arg(long, value_delimiter = ',', default_value = "buffered,streamed")]
    answers: Vec<Answers>,
    /// Numbers of concurrent requests.
    #[arg(long, value_delimiter = ',', default_value = "1,16,64")]
    concurrency: Vec<usize>,
    /// Pairs of rounds of each kind of load. [default: 3]
    #[arg(long, value_name = "N")]
    pairs: Option<usize>,
    /// Length of a round. [default: 3, quick: 0.8]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Requests after which a round ends before its time.
    #[arg(long, value_name = "N", default_value_t = 200_000)]
    round_requests: u64,
    /// Requests that age a session, 0 to leave sessions out. [default: 50000, quick: 5000]
    #[arg(long, value_name = "N")]
    age: Option<u64>,
    /// Do not count SQL statements.
    #[arg(long)]
    no_statements: bool,
    /// Show where processor time goes in the server and in PostgreSQL, with `perf`, at the last of the concurrencies.
    #[arg(long)]
    profile: bool,
    /// The API requests are written in.
    #[arg(long, value_enum, default_value_t = Dialect::Anthropic)]
    dialect: Dialect,
    /// The API the provider is asked in; another than that of the requests, and they are translated. [default: the same]
    #[arg(long, value_enum)]
    wire: Option<Wire>,
    /// Send every request to a provider that answers 503 first: what failing over costs.
    #[arg(long)]
    failover: bool,
    /// What is kept of prompts and answers beside their record.
    #[arg(long, value_enum, default_value_t = Content::Full)]
    content: Content,
    /// Another gateway to send the same requests to, in the same rounds: NAME=ADDRESS, with its KEY behind a comma and
    /// headers it wants behind semicolons (`other=127.0.0.1:4000,sk-1;x-provider: mock`).
    #[arg(long, value_name = "GATEWAY")]
    beside: Vec<Beside>,
    /// The port of the mock provider, for the configuration of other gateways. [default: any free one]
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    mock_port: u16,
    /// Length of a request's body.
    #[arg(long, value_name = "BYTES", default_value_t = 1024)]
    body_bytes: usize,
    /// Parts of a streamed answer.
    #[arg(long, value_name = "N", default_value_t = 8)]
    chunks: usize,
    /// Time between two parts, in milliseconds. Without any, a stream arrives in few packets.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    chunk_delay_ms: u64,
    /// Time the provider takes to answer, in milliseconds.
    #[arg(long, value_name = "MS", default_value_t = 0)]
    delay_ms: u64,
    /// Where the home and its database are made and removed; a disk whose speed is that of commits. [default: /tmp]
    #[arg(long, value_name = "DIR")]
    directory: Option<PathBuf>,
    /// The longest the whole run takes, in minutes.
    #[arg(long, value_name = "MINUTES", default_value_t = 30)]
    time_limit: u64,
    /// The program to measure. [default: beside this one]
    #[arg(long, value_name = "PATH")]
    systemprompt: Option<PathBuf>,
    /// The mock provider. [default: beside this one]
    #[arg(long, value_name = "PATH")]
    mock_upstream: Option<PathBuf>,
}

/// Another gateway that runs already and has the mock as its provider.
#[derive(Debug, Clone)]
pub(crate) struct Beside {
    name: String,
    destination: Destination,
}

impl FromStr for Beside {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self> {
        let (name, place) = text.split_once('=').context("NAME=ADDRESS")?;
        let mut parts = place.split(';');
        let place = parts.next().unwrap_or_default();
        let (address, key) = place.split_once(',').unwrap_or((place, "sk-bench"));
        let address = address.parse().with_context(|| format!("`{address}` is no address such as 127.0.0.1:4000"))?;
        let headers = parts.map(|header| header.trim().to_owned()).collect();
        Ok(Self { name: name.to_owned(), destination: Destination { headers, ..Destination::new(address, key) } })
    }
}

/// Runs everything. What is found is in the report as soon as it is found.
pub(crate) async fn measure(options: &Options, report: &mut Report) -> Result<()> {
    let limit = Duration::from_mins(options.time_limit);
    let begun = Instant::now();
    let outcome = timeout(limit, run(options, report)).await;
    report.took_seconds = begun.elapsed().as_secs_f64();
    outcome.with_context(|| format!("the run was ended after {} minutes (--time-limit)", options.time_limit))?
}

async fn run(options: &Options, report: &mut Report) -> Result<()> {
    require_proc()?;
    let plan = Plan::of(options)?;
    let programs = Programs {
        systemprompt: program(options.systemprompt.as_deref(), "systemprompt")?,
        mock_upstream: program(options.mock_upstream.as_deref(), "systemprompt-mock-upstream")?,
    };
    let directory = options.directory.clone().unwrap_or_else(std::env::temp_dir);
    report.started_at = DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Secs, true);
    report.commit = Commit::current();
    report.machine = Machine::examine(&directory)?;
    report.settings = Some(plan.settings.clone());

    for durability in &options.ledger {
        say(&format!("{} ledger: starting", durability.as_str()));
        let deployment = Deployment::start(&programs, &directory, *durability, plan.settings.setting).await?;
        report.version.clone_from(&deployment.version);
        let version = deployment.query("SELECT current_setting('server_version')")?;
        version.as_str().unwrap_or_default().clone_into(&mut report.postgres_version);
        report.ledgers.push(Ledger::new(*durability, time_syncs(&directory)?));
        let ledger = report.ledgers.last_mut().expect("one was just added");
        let mut run = Run { plan: &plan, deployment, ledger, requests: 0, ready: Instant::now(), conversations: 0 };
        if let Err(error) = run.everything().await {
            // When the server died, that is the news.
            run.deployment.check()?;
            return Err(error);
        }
    }
    Ok(())
}

/// The options, complete.
struct Plan {
    settings: Settings,
    answers: Vec<Answers>,
    concurrency: Vec<usize>,
    round: Limit,
    beside: Vec<Beside>,
    age: u64,
    count_statements: bool,
    profile: bool,
}

impl Plan {
    fn of(options: &Options) -> Result<Self> {
        let seconds = options.seconds.unwrap_or(if options.quick { 0.8 } else { 3.0 });
        let pairs = options.pairs.unwrap_or(3);
        if !(0.05..=600.0).contains(&seconds) || pairs == 0 || options.round_requests == 0 {
            bail!("rounds take 0.05 to 600 seconds and at least one request, and there is at least one pair of them");
        }
        if options.concurrency.iter().any(|concurrency| !(1..=10_000).contains(concurrency)) {
            bail!("1 to 10,000 requests can be concurrent");
        }
        Ok(Self {
            settings: Settings {
                dialect: options.dialect,
                body_bytes: options.body_bytes,
                setting: Setting {
                    upstream: Upstream {
                        chunks: options.chunks,
                        chunk_delay_ms: options.chunk_delay_ms,
                        delay_ms: options.delay_ms,
                    },
                    mock_port: options.mock_port,
                    wire: options.wire.unwrap_or(options.dialect.own_wire()),
                    failover: options.failover,
                    content: options.content,
                },
                pairs,
                round_seconds: seconds,
                round_requests: options.round_requests,
            },
            answers: options.answers.clone(),
            concurrency: options.concurrency.clone(),
            round: Limit { time: Duration::from_secs_f64(seconds), requests: options.round_requests },
            beside: options.beside.clone(),
            age: options.age.unwrap_or(if options.quick { 5000 } else { 50_000 }),
            count_statements: !options.no_statements,
            profile: options.profile,
        })
    }

    fn prompt(&self, answers: Answers) -> Prompt {
        Prompt { dialect: self.settings.dialect, answers, bytes: self.settings.body_bytes }
    }

    fn warm_up(&self) -> Limit {
        Limit { time: self.round.time.min(WARM_UP), requests: self.round.requests }
    }
}

/// The measurements of one deployment.
struct Run<'a> {
    plan: &'a Plan,
    deployment: Deployment,
    ledger: &'a mut Ledger,
    /// Sent to the gateway so far.
    requests: u64,
    ready: Instant,
    /// Conversations used so far; each belongs to a session of its own.
    conversations: u64,
}

impl Run<'_> {
    async fn everything(&mut self) -> Result<()> {
        let before = self.counters()?;
        self.remember_memory("start")?;
        for answers in &self.plan.answers {
            for concurrency in &self.plan.concurrency {
                self.compare_with_direct(*answers, *concurrency).await?;
            }
        }
        if self.plan.age > 0 {
            self.compare_sessions().await?;
        }
        if self.plan.profile {
            for answers in &self.plan.answers {
                // A machine without `perf` has figures all the same.
                if let Err(error) = self.profile(*answers).await {
                    say(&format!("no profile: {error:#}"));
                }
            }
        }
        let requests = self.requests;
        if requests > 0 {
            sleep(COUNTERS_SETTLE).await;
            let now = self.counters()?;
            let per_request = |of: fn(&Counters) -> u64| of(&now).saturating_sub(of(&before)) as f64 / requests as f64;
            self.ledger.database = Some(DatabaseCosts {
                requests,
                transactions_per_request: per_request(|counters| counters.transactions),
                wal_bytes_per_request: per_request(|counters| counters.wal_bytes),
                table_bytes_per_request: per_request(|counters| counters.table_bytes),
            });
        }
        if self.plan.count_statements
            && let Err(error) = self.count_statements().await
        {
            self.ledger.statements_error = Some(format!("{error:#}"));
        }
        self.remember_memory("end")
    }

    async fn compare_with_direct(&mut self, answers: Answers, concurrency: usize) -> Result<()> {
        let prompt = self.plan.prompt(answers);
        let first = self.conversations;
        self.conversations += concurrency as u64;
        let clients = |destination: &Destination| {
            let requests = (first..).take(concurrency).map(|n| request::write(destination, prompt, n)).collect();
            Clients::new(destination.address, requests, answers.ending())
        };
        let gateway = &self.deployment.gateway;
        let mut direct = match answers {
            Answers::Buffered | Answers::Streamed => clients(&self.deployment.direct),
            Answers::Hook => {
                Clients::new(gateway.address, vec![request::alive(gateway); concurrency], Ending::Whatever)
            }
        };
        let mut gateway = clients(&self.deployment.gateway);
        let mut beside: Vec<_> = self.plan.beside.iter().map(|other| clients(&other.destination)).collect();
        direct.check().await.context("asking directly")?;
        gateway.check().await.context("asking the gateway")?;
        self.requests += concurrency as u64;
        direct.round(self.plan.warm_up()).await?;
        self.gateway_round(&mut gateway, self.plan.warm_up()).await?;
        for (clients, other) in beside.iter_mut().zip(&self.plan.beside) {
            clients.check().await.with_context(|| format!("asking {}", other.name))?;
            clients.round(self.plan.warm_up()).await?;
        }

        let (mut of_direct, mut of_gateway) = (Vec::new(), Vec::new());
        let mut of_beside: Vec<Vec<Round>> = vec![Vec::new(); beside.len()];
        for pair in 1..=self.plan.settings.pairs {
            let what = format!("{}, {} × {concurrency}", self.ledger.durability.as_str(), answers.as_str());
            say(&format!("{what}: pair {pair} of {}", self.plan.settings.pairs));
            of_direct.push(self.round(&mut direct, self.plan.round).await?);
            of_gateway.push(self.gateway_round(&mut gateway, self.plan.round).await?);
            self.remember_memory(&format!("{} × {concurrency}", answers.as_str()))?;
            for (clients, rounds) in beside.iter_mut().zip(&mut of_beside) {
                rounds.push(self.round(clients, self.plan.round).await?);
            }
        }
        let summary = Summary::of(&of_direct, &of_gateway);
        let beside = self.plan.beside.iter().zip(of_beside).map(|(other, rounds)| {
            let side = Side::of(&rounds);
            Other {
                name: other.name.clone(),
                rate_ratio: ratio(summary.gateway.requests_per_second, side.requests_per_second),
                p50_ratio: ratio(summary.gateway.p50_ms, side.p50_ms),
                side,
                rounds,
            }
        });
        self.ledger.measurements.push(Measurement {
            answers,
            concurrency,
            summary,
            beside: beside.collect(),
            direct: of_direct,
            gateway: of_gateway,
        });
        Ok(())
    }

    async fn compare_sessions(&mut self) -> Result<()> {
        let age = self.plan.age;
        let mut aged = self.in_session(&self.new_session().await?, SESSION_CONCURRENCY);
        let begun = Instant::now();
        let (mut used, mut seconds) = (0, 0.0);
        while used < age {
            say(&format!("{}: a session has had {used} of {age} requests", self.ledger.durability.as_str()));
            let limit = Limit { time: Duration::from_secs(1), requests: age - used };
            let round = self.gateway_round(&mut aged, limit).await?;
            used += round.requests;
            seconds += round.seconds;
            if let Some(error) = round.first_error {
                bail!("while a session was aged: {error}");
            }
            if begun.elapsed() > AGING_LIMIT {
                break;
            }
            self.remember_memory("aging a session")?;
        }

        let (mut of_fresh, mut of_aged) = (Vec::new(), Vec::new());
        for pair in 1..=self.plan.settings.pairs {
            say(&format!("{}: sessions, pair {pair} of {}", self.ledger.durability.as_str(), self.plan.settings.pairs));
            let mut fresh = self.in_session(&self.new_session().await?, SESSION_CONCURRENCY);
            fresh.check().await?;
            of_fresh.push(self.gateway_round(&mut fresh, self.plan.round).await?);
            of_aged.push(self.gateway_round(&mut aged, self.plan.round).await?);
        }
        let (of_fresh, of_aged) = (Side::of(&of_fresh), Side::of(&of_aged));
        self.ledger.sessions = Some(Sessions {
            aged_by_requests: used,
            aging_seconds: seconds,
            concurrency: SESSION_CONCURRENCY,
            fresh: of_fresh,
            aged: of_aged,
            p50_ratio: ratio(of_aged.p50_ms, of_fresh.p50_ms),
            p99_ratio: ratio(of_aged.p99_ms, of_fresh.p99_ms),
            rate_ratio: ratio(of_aged.requests_per_second, of_fresh.requests_per_second),
        });
        Ok(())
    }

    async fn profile(&mut self, answers: Answers) -> Result<()> {
        let concurrency = self.plan.concurrency.last().copied().unwrap_or(1);
        say(&format!("{}, {} × {concurrency}: profile", self.ledger.durability.as_str(), answers.as_str()));
        let mut clients = self.clients(&self.new_session().await?, answers, concurrency);
        clients.check().await?;
        let directory = tempfile::tempdir()?;
        let data = |of: &str| directory.path().join(of);
        let processes = self.deployment.processes;
        let server = Recording::begin(&[processes.server], &data("server"))?;
        let postgres = Recording::begin(&processes.postgres(), &data("postgres"))?;
        self.gateway_round(&mut clients, Limit { time: PROFILE, requests: u64::MAX }).await?;
        for (of, recording) in [("server", server), ("postgres", postgres)] {
            let symbols = recording.end(&data(of)).await?;
            self.ledger.profiles.push(Profile { of, answers, concurrency, symbols });
        }
        Ok(())
    }

    async fn count_statements(&mut self) -> Result<()> {
        for answers in self.plan.answers.clone() {
            let mut loads = Vec::new();
            for concurrency in &self.plan.concurrency {
                let session = self.new_session().await?;
                loads.push((*concurrency, self.clients(&session, answers, *concurrency)));
            }
            say(&format!("{}, {}: counting SQL statements", self.ledger.durability.as_str(), answers.as_str()));
            let mut log = StatementLog::begin(&self.deployment).await?;
            for (concurrency, mut clients) in loads {
                clients.check().await?;
                sleep(SETTLE).await;
                log.skip()?;
                let limit = Limit { time: Duration::from_secs(2), requests: 200 * concurrency as u64 };
                let round = clients.round(limit).await?;
                sleep(SETTLE).await;
                let counted = log.read()?;
                let requests = round.timings.whole.count();
                self.ledger.statements.push(StatementSample {
                    answers,
                    concurrency,
                    requests,
                    seconds: round.elapsed.as_secs_f64(),
                    statements_per_request: ratio(counted.count as f64, requests as f64),
                    transactions_per_request: ratio(counted.transactions as f64, requests as f64),
                    counted,
                });
                self.requests += requests;
            }
            log.end().await?;
        }
        Ok(())
    }

    /// A round of the gateway, and the moment after it.
    async fn gateway_round(&mut self, clients: &mut Clients, limit: Limit) -> Result<Round> {
        let round = self.round(clients, limit).await?;
        self.requests += round.requests;
        self.deployment.check()?;
        Ok(round)
    }

    async fn round(&self, clients: &mut Clients, limit: Limit) -> Result<Round> {
        let before = self.deployment.processes.cpu()?;
        let round = clients.round(limit).await?;
        sleep(SETTLE).await;
        Ok(finished(round, self.deployment.processes.cpu()? - before))
    }

    /// Connections that all name one session.
    fn in_session(&self, session: &str, concurrency: usize) -> Clients {
        self.clients(session, self.plan.answers.first().copied().unwrap_or(Answers::Buffered), concurrency)
    }

    fn clients(&self, session: &str, answers: Answers, concurrency: usize) -> Clients {
        let destination = Destination { session: Some(session.to_owned()), ..self.deployment.gateway.clone() };
        let request = request::write(&destination, self.plan.prompt(answers), self.conversations);
        Clients::new(destination.address, vec![request; concurrency], answers.ending())
    }

    async fn new_session(&self) -> Result<String> {
        let mut connection = Connection::new(self.deployment.gateway.address);
        let request: Arc<[u8]> = request::open_session(&self.deployment.gateway);
        let answer = connection.exchange(&request).await.context("opening a session")?;
        let body = String::from_utf8_lossy(connection.body());
        let session = serde_json::from_str::<serde_json::Value>(&body).ok();
        let session = session.and_then(|session| session["session_id"].as_str().map(str::to_owned));
        session.with_context(|| format!("opening a session: status {}: {body}", answer.status))
    }

    /// What PostgreSQL has counted, in whatever tables.
    fn counters(&self) -> Result<Counters> {
        let number = |sql: &str| {
            let count = self.deployment.query(sql)?;
            // 64-bit numbers may be written as text in JSON.
            let count = count.as_u64().or_else(|| count.as_str()?.parse().ok());
            count.with_context(|| format!("`{sql}` is a number"))
        };
        Ok(Counters {
            transactions: number(
                "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()",
            )?,
            wal_bytes: number("SELECT (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint")?,
            table_bytes: number("SELECT pg_database_size(current_database())")?,
        })
    }

    fn remember_memory(&mut self, after: &str) -> Result<()> {
        self.ledger.memory.push(MemorySample {
            at_seconds: self.ready.elapsed().as_secs_f64(),
            after: after.to_owned(),
            requests: self.requests,
            memory_mib: self.deployment.processes.memory()?,
        });
        Ok(())
    }
}

/// Of the product's database, except that the log is the whole cluster's, which nothing else uses.
struct Counters {
    transactions: u64,
    wal_bytes: u64,
    table_bytes: u64,
}

fn finished(round: crate::load::Round, cpu_seconds: CpuSeconds) -> Round {
    let seconds = round.elapsed.as_secs_f64();
    let requests = round.timings.whole.count();
    Round {
        requests,
        errors: round.timings.errors,
        first_error: round.timings.first_error,
        seconds,
        requests_per_second: requests as f64 / seconds.max(1e-9),
        whole_ms: Distribution::of(&round.timings.whole),
        first_byte_ms: Distribution::of(&round.timings.first_byte),
        cpu_seconds,
    }
}

/// The program that was named, or that lies beside this one.
fn program(named: Option<&Path>, name: &str) -> Result<PathBuf> {
    let path = match named {
        Some(path) => std::path::absolute(path)?,
        None => std::env::current_exe()?.with_file_name(name),
    };
    if !path.is_file() {
        bail!(
            "there is no {}; `cargo xtask bench` builds it, as does `cargo build --release -p {name}`",
            path.display()
        );
    }
    Ok(path)
}

/// What is going on, for whoever waits.
fn say(text: &str) {
    eprintln!("… {text}");
}
