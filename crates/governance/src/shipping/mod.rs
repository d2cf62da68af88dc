//! Shipping the log to where others keep it: a SIEM, a file, a collector, an object store.
//!
//! Each destination gets every entry, in order, at least once; after a crash or a lost answer some come again, under the same
//! id. How far it has come stands in the database and is moved once it has taken what lies before, so any server can go on.
//! One server at a time has a destination. No request waits for any of this, and a destination that is down holds up no other.

mod event;
mod object;
mod queries;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::hmac;
use futures_util::future::join_all;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_extension::ledger::{EntryKind, Record};
use systemprompt_model::{Ambient, Secret, with_causes};
use tokio::time::{MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use self::object::Bucket;
use crate::config::{ShipmentConfig, Shipped};
use crate::ledger::checkpoint::SignedCheckpoint;
use crate::ledger::read::{self, LoggedEntry, Places};
use crate::ledger::text::sha256;
use crate::webhook::{Courier, key, signed};

/// How often it is looked whether there is something to ship.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Entries that go together.
const BATCH: i64 = 500;
/// How long a destination may take for a message or an object.
const TAKES_AT_MOST: Duration = Duration::from_secs(15);
/// For how long nobody else has the turn: longer than it takes.
const LEASE_SECS: f64 = 60.0;
/// The longest wait after a failure.
const LONGEST_WAIT_SECS: f64 = 300.0;

/// What ships the log of one server.
pub struct Shipping {
    destinations: Vec<Destination>,
    database: DbPool,
    ambient: Ambient,
    /// This run of this server.
    server: Uuid,
    metrics: ShippingMetrics,
}

/// Where it goes.
struct Destination {
    name: String,
    what: Shipped,
    way: Way,
}

/// How it gets there.
enum Way {
    File(PathBuf),
    Webhook { url: String, key: Box<hmac::Key> },
    Otlp { url: String, authorization: Option<Secret> },
    ObjectStore { bucket: Bucket, credentials: Secret },
}

/// What came of a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Turn {
    /// Somebody else has it, or a failure is waited for.
    NotOurs,
    /// There is nothing to ship.
    Idle,
    /// So many entries were taken.
    Shipped(usize),
    /// It took nothing.
    Failed,
}

#[derive(Debug, Clone)]
struct ShippingMetrics {
    lag: Family<DestinationLabels, Gauge>,
    shipped: Family<DestinationLabels, Counter>,
    failures: Family<DestinationLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabels {
    destination: String,
}

impl ShippingMetrics {
    fn register(metrics: &Metrics) -> Self {
        let this = Self { lag: Family::default(), shipped: Family::default(), failures: Family::default() };
        metrics.register(
            "ledger_shipping_lag_entries",
            "Entries that a destination of the log has not taken yet",
            this.lag.clone(),
        );
        metrics.register("ledger_shipped_entries", "Entries that a destination has taken", this.shipped.clone());
        metrics.register(
            "ledger_shipping_failures",
            "Attempts after which a destination had taken nothing",
            this.failures.clone(),
        );
        this
    }
}

impl Shipping {
    /// The destinations of the profile. What cannot be used was refused when the configuration was read.
    pub(crate) fn new(
        configured: &[ShipmentConfig],
        secret: impl Fn(&str) -> Option<Secret>,
        database: DbPool,
        ambient: Ambient,
        metrics: &Metrics,
    ) -> Self {
        let way = |to: &ShipmentConfig| {
            if let Some(webhook) = &to.webhook {
                let key = Box::new(key(secret(&webhook.secret)?.expose()));
                return Some(Way::Webhook { url: webhook.url.clone(), key });
            }
            if let Some(otlp) = &to.otlp {
                let authorization = otlp.authorization.as_ref().and_then(|name| secret(name));
                return Some(Way::Otlp { url: otlp.url.clone(), authorization });
            }
            if let Some(store) = &to.object_store {
                let credentials = secret(&store.credentials)?;
                return Some(Way::ObjectStore { bucket: Bucket::of(store), credentials });
            }
            Some(Way::File(to.file.as_ref()?.path.clone()))
        };
        let destinations = configured
            .iter()
            .filter_map(|to| Some(Destination { name: to.name.clone(), what: to.what, way: way(to)? }))
            .collect();
        let server = Uuid::from_bytes(ambient.bytes());
        Self { destinations, database, ambient, server, metrics: ShippingMetrics::register(metrics) }
    }

    /// Whether there is anywhere to ship to.
    pub fn has_destinations(&self) -> bool {
        !self.destinations.is_empty()
    }

    /// Ships until cancelled: what goes over the network by `courier`.
    pub async fn run(self: Arc<Self>, courier: Arc<dyn Courier>, cancel: CancellationToken) {
        let all = self.destinations.iter().map(async |to| {
            let mut looks = interval(LOOK_EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                // As long as there is something it goes on.
                loop {
                    match self.turn(to, &*courier).await {
                        Ok(Turn::Shipped(entries)) if entries == BATCH as usize => {}
                        Ok(_) => break,
                        Err(error) => {
                            let error = with_causes(&error);
                            tracing::warn!(destination = to.name, error, "the log cannot be read or marked as shipped");
                            break;
                        }
                    }
                }
            }
        });
        // What was under way when it stops comes again, under the same id.
        cancel.run_until_cancelled(join_all(all)).await;
    }

    /// Destinations that have taken nothing for a minute, and why.
    pub(crate) async fn failing(&self) -> Vec<(String, String)> {
        let names: Vec<String> = self.destinations.iter().map(|to| to.name.clone()).collect();
        queries::failing(self.database.read(), &names).await.unwrap_or_default()
    }

    async fn turn(&self, to: &Destination, courier: &dyn Courier) -> Result<Turn, sqlx::Error> {
        let labels = DestinationLabels { destination: to.name.clone() };
        let mut connection = self.database.write().acquire().await?;
        let behind = queries::behind(&mut connection, &to.name).await?;
        self.metrics.lag.get_or_create(&labels).set(behind);
        if behind == 0 {
            return Ok(Turn::Idle);
        }
        let Some(failures) = queries::lease(&mut connection, &to.name, self.server, LEASE_SECS).await? else {
            return Ok(Turn::NotOurs);
        };
        let mut places = queries::places(&mut connection, &to.name).await?;
        let stored = read::after(&mut connection, &places, BATCH).await?;
        if stored.is_empty() {
            queries::give_back(&mut connection, &to.name, self.server).await?;
            return Ok(Turn::Idle);
        }
        for entry in &stored {
            places.set(entry.chain, entry.seq);
        }
        let messages = messages(&mut connection, to.what, &stored).await?;
        // No connection is held while somebody far away takes their time.
        drop(connection);
        let sent = self.send(to, courier, &stored, messages).await;
        let mut connection = self.database.write().acquire().await?;
        match sent {
            Ok(()) => {
                queries::shipped(&mut connection, &to.name, self.server, &places).await?;
                self.metrics.shipped.get_or_create(&labels).inc_by(stored.len() as u64);
                if failures > 0 {
                    tracing::info!(destination = to.name, "the destination of the log takes entries again");
                }
                Ok(Turn::Shipped(stored.len()))
            }
            Err(why) => {
                let wait = f64::from(2_u32.saturating_pow(failures.clamp(0, 16).unsigned_abs())).min(LONGEST_WAIT_SECS);
                queries::failed(&mut connection, &to.name, self.server, &why, wait).await?;
                self.metrics.failures.get_or_create(&labels).inc();
                // Once, not at every attempt: the metric counts them.
                if failures == 0 {
                    tracing::warn!(
                        destination = to.name,
                        why,
                        "a destination of the log took nothing; it is tried again"
                    );
                }
                Ok(Turn::Failed)
            }
        }
    }

    async fn send(
        &self,
        to: &Destination,
        courier: &dyn Courier,
        stored: &[LoggedEntry],
        messages: Messages,
    ) -> Result<(), String> {
        // Few entries are checkpoints.
        if messages.is_empty() {
            return Ok(());
        }
        match &to.way {
            Way::File(path) => {
                let (path, lines) = (path.clone(), messages.lines().map(|(_, _, line)| line).collect::<String>());
                let written = tokio::task::spawn_blocking(move || append(&path, &lines));
                in_time(async { written.await.map_err(|error| error.to_string())?.map_err(|error| error.to_string()) })
                    .await
            }
            Way::Webhook { url, key } => {
                let kind = match to.what {
                    Shipped::Events => "ledger.events",
                    Shipped::Entries => "ledger.entries",
                    Shipped::Checkpoints => "ledger.checkpoints",
                };
                let body = json!({"type": kind, "data": messages.values()}).to_string();
                let headers = signed(key, batch_id(&to.name, stored), self.ambient.now(), &body);
                in_time(courier.post(url, &headers, body)).await
            }
            Way::Otlp { url, authorization } => {
                let Messages::Events(events) = &messages else { return Err("a collector takes events".to_owned()) };
                let authorization = authorization.iter().map(|secret| ("authorization", secret.expose().to_owned()));
                let authorization: Vec<_> = authorization.collect();
                in_time(courier.post(url, &authorization, event::otlp(events).to_string())).await
            }
            Way::ObjectStore { bucket, credentials } => {
                // One after the other, for what was put is put again if one of them fails.
                let objects = bucket.objects(to.what, messages.lines(), credentials, self.ambient.now());
                for (number, object) in objects.into_iter().enumerate() {
                    // Each may take its time, all of them together longer than the turn.
                    if number > 0 {
                        self.renew(to).await?;
                    }
                    in_time(courier.put(object)).await?;
                }
                Ok(())
            }
        }
    }

    /// Keeps the turn for another object. Nothing more is sent by who has lost it.
    async fn renew(&self, to: &Destination) -> Result<(), String> {
        let renewed = async {
            let mut connection = self.database.write().acquire().await?;
            queries::renew(&mut connection, &to.name, self.server, LEASE_SECS).await
        };
        match renewed.await {
            Ok(true) => Ok(()),
            Ok(false) => Err("another server took over before all of it was sent".to_owned()),
            Err(error) => Err(with_causes(&error)),
        }
    }
}

/// What a destination answers, if it does.
async fn in_time(answer: impl Future<Output = Result<(), String>>) -> Result<(), String> {
    timeout(TAKES_AT_MOST, answer).await.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

/// What is shipped.
enum Messages {
    Events(Vec<event::SiemEvent>),
    /// What proves the log: of which chain, from which place of it.
    Proof(Vec<(Uuid, i64, Value)>),
}

impl Messages {
    fn is_empty(&self) -> bool {
        match self {
            Self::Events(events) => events.is_empty(),
            Self::Proof(lines) => lines.is_empty(),
        }
    }

    fn values(&self) -> Vec<Value> {
        self.placed().map(|(_, _, value)| value).collect()
    }

    /// Lines of JSON, each with the place of its entry.
    fn lines(&self) -> impl Iterator<Item = (Uuid, i64, String)> {
        self.placed().map(|(chain, seq, value)| (chain, seq, format!("{value}\n")))
    }

    fn placed(&self) -> Box<dyn Iterator<Item = (Uuid, i64, Value)> + Send + '_> {
        match self {
            Self::Events(events) => Box::new(events.iter().map(|event| {
                let (chain, seq) = event.place;
                (chain, seq, serde_json::to_value(event).unwrap_or_default())
            })),
            Self::Proof(lines) => Box::new(lines.iter().cloned()),
        }
    }
}

async fn messages(
    connection: &mut PgConnection,
    what: Shipped,
    stored: &[LoggedEntry],
) -> Result<Messages, sqlx::Error> {
    match what {
        Shipped::Events => Ok(Messages::Events(event::events(connection, stored).await?)),
        Shipped::Entries => entries(connection, stored).await,
        Shipped::Checkpoints => Ok(checkpoints(stored)),
    }
}

async fn entries(connection: &mut PgConnection, stored: &[LoggedEntry]) -> Result<Messages, sqlx::Error> {
    let places = Places {
        chains: stored.iter().map(|entry| entry.chain).collect(),
        seqs: stored.iter().map(|entry| entry.seq).collect(),
    };
    let hashes = read::hashes(connection, &places).await?;
    let hash = |entry: &LoggedEntry| {
        let found = hashes.iter().find(|(chain, seq, _)| (*chain, *seq) == (entry.chain, entry.seq));
        found.map(|(_, _, hash)| hex::encode(hash)).unwrap_or_default()
    };
    let line = |entry: &LoggedEntry| {
        let line = systemprompt_verify::format::Line::Entry(systemprompt_verify::format::Entry {
            chain: entry.chain,
            seq: entry.seq,
            at: entry.at.timestamp_micros(),
            hash: hash(entry),
            body: entry.body.clone(),
        });
        (entry.chain, entry.seq, serde_json::to_value(line).unwrap_or_default())
    };
    Ok(Messages::Proof(stored.iter().map(line).collect()))
}

/// The checkpoints among the entries, as a home remembers them.
fn checkpoints(stored: &[LoggedEntry]) -> Messages {
    let line = |entry: &LoggedEntry| {
        let Record::Checkpoint(checkpoint) = entry.read().ok()??.record else { return None };
        let signed = SignedCheckpoint::in_log(&checkpoint)?;
        Some((entry.chain, entry.seq, serde_json::to_value(signed).ok()?))
    };
    let checkpoints = stored.iter().filter(|entry| entry.kind == EntryKind::Checkpoint.as_str());
    Messages::Proof(checkpoints.filter_map(line).collect())
}

/// The id of a message: the same whenever the same entries go to the same destination.
fn batch_id(destination: &str, stored: &[LoggedEntry]) -> Uuid {
    let mut text = destination.to_owned();
    for entry in stored {
        text.push_str(&format!(" {}:{}", entry.chain, entry.seq));
    }
    Uuid::from_slice(&sha256(text.as_bytes())[..16]).expect("a UUID has sixteen bytes")
}

/// Appends whole lines, on disk when it returns. A line that a crash tore is ended first, so that the next stands alone.
fn append(path: &std::path::Path, lines: &str) -> std::io::Result<()> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::OpenOptions::new().create(true).read(true).append(true).mode(0o600).open(path)?;
    if file.seek(SeekFrom::End(0))? > 0 {
        file.seek(SeekFrom::End(-1))?;
        let mut last = [0];
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    file.write_all(lines.as_bytes())?;
    file.sync_data()
}
