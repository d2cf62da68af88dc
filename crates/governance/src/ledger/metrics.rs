//! What the ledger counts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};
use systemprompt_extension::Metrics;

/// The ledger's metrics. Cloning shares them.
#[derive(Debug, Clone)]
pub(super) struct LedgerMetrics {
    lag: Gauge<f64, AtomicU64>,
    dropped: Family<DroppedLabels, Counter>,
    batch_size: Histogram,
    commit_seconds: Histogram,
    available: Gauge,
    spooled: Gauge,
    queued: Family<QueuedLabels, Gauge>,
    never_shipped: Family<DestinationLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DestinationLabels {
    destination: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QueuedLabels {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DroppedLabels {
    kind: &'static str,
}

/// What was dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dropped {
    /// A decision.
    Decision,
    /// An outcome.
    Outcome,
    /// The content of an outcome that is recorded otherwise.
    Content,
}

impl Dropped {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Outcome => "outcome",
            Self::Content => "content",
        }
    }
}

impl LedgerMetrics {
    pub(super) fn register(metrics: &Metrics) -> Self {
        let this = Self {
            lag: Gauge::default(),
            dropped: Family::default(),
            batch_size: Histogram::new(exponential_buckets(1.0, 2.0, 11)),
            commit_seconds: Histogram::new(exponential_buckets(0.000_25, 2.0, 14)),
            available: Gauge::default(),
            spooled: Gauge::default(),
            queued: Family::default(),
            never_shipped: Family::default(),
        };
        this.available.set(1);
        this.queued(0, 0);
        for what in [Dropped::Decision, Dropped::Outcome, Dropped::Content] {
            drop(this.dropped.get_or_create(&DroppedLabels { kind: what.as_str() }));
        }
        metrics.register(
            "audit_chain_lag_seconds",
            "Age of the oldest entry of the last batch when it was committed; grows while the database is away",
            this.lag.clone(),
        );
        metrics.register("ledger_dropped_writes", "Entries that were not written", this.dropped.clone());
        metrics.register("ledger_batch_size", "Entries per commit", this.batch_size.clone());
        metrics.register("ledger_commit_seconds", "Duration of a commit", this.commit_seconds.clone());
        metrics.register("ledger_available", "1 if entries can be written", this.available.clone());
        metrics.register(
            "ledger_spool_bytes",
            "Bytes of entries that are in the home and not in the ledger yet",
            this.spooled.clone(),
        );
        metrics.register(
            "ledger_never_shipped_entries",
            "Entries that retention dropped before a destination had got them",
            this.never_shipped.clone(),
        );
        metrics.register("ledger_queue_entries", "Entries that wait to be written", this.queued.clone());
        this
    }

    pub(super) fn queued(&self, decisions: usize, following: usize) {
        for (kind, entries) in [("decision", decisions), ("outcome", following)] {
            self.queued.get_or_create(&QueuedLabels { kind }).set(i64::try_from(entries).unwrap_or(i64::MAX));
        }
    }

    pub(super) fn committed(&self, entries: usize, oldest: Option<Instant>, took: Duration) {
        self.batch_size.observe(entries as f64);
        self.commit_seconds.observe(took.as_secs_f64());
        self.lagging(oldest);
    }

    pub(super) fn lagging(&self, oldest: Option<Instant>) {
        self.lag.set(oldest.map_or(0.0, |queued| queued.elapsed().as_secs_f64()));
    }

    pub(super) fn never_shipped(&self, destination: &str, entries: u64) {
        self.never_shipped.get_or_create(&DestinationLabels { destination: destination.to_owned() }).inc_by(entries);
    }

    pub(super) fn dropped(&self, what: Dropped) {
        self.dropped.get_or_create(&DroppedLabels { kind: what.as_str() }).inc();
    }

    pub(super) fn spooled(&self, bytes: u64) {
        self.spooled.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    pub(super) fn available(&self, available: bool) {
        self.available.set(i64::from(available));
    }
}
