//! Taking telemetry: from the bytes a client sent to rows under its user's name.

mod read;
mod retention;
mod rows;
mod signal;
mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_governance::secret_scan::SecretScanner;
use systemprompt_model::{Ambient, Principal};
use tokio::sync::Semaphore;

use crate::config::IngestConfig;

pub(crate) use retention::sweep;
pub use signal::{Encoding, Refused, Signal, Taken};

/// Requests that are worked on at the same time: each holds its body and its rows.
const AT_ONCE: usize = 4;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabel {
    signal: &'static str,
}

#[derive(Debug, Clone, Default)]
struct IngestMetrics {
    stored: Family<SignalLabel, Counter>,
    rejected: Family<SignalLabel, Counter>,
}

impl IngestMetrics {
    fn new(registry: &Metrics) -> Self {
        let metrics = Self::default();
        registry.register(
            "telemetry_items_stored",
            "Spans, log records and data points of clients that were stored",
            metrics.stored.clone(),
        );
        registry.register(
            "telemetry_items_rejected",
            "Spans, log records and data points of clients that were not stored",
            metrics.rejected.clone(),
        );
        for signal in Signal::ALL {
            metrics.count(signal, 0, 0);
        }
        metrics
    }

    fn count(&self, signal: Signal, stored: u64, rejected: u64) {
        let label = SignalLabel { signal: signal.as_str() };
        self.stored.get_or_create(&label).inc_by(stored);
        self.rejected.get_or_create(&label).inc_by(rejected);
    }
}

/// Takes telemetry of clients. One per server.
pub struct Ingest {
    db: DbPool,
    ambient: Ambient,
    scanner: Arc<SecretScanner>,
    /// `None` if none is taken.
    limit: Option<usize>,
    turns: Semaphore,
    metrics: IngestMetrics,
}

impl Ingest {
    pub(crate) fn new(
        config: &IngestConfig,
        db: DbPool,
        ambient: Ambient,
        scanner: Arc<SecretScanner>,
        metrics: &Metrics,
    ) -> Self {
        Self {
            db,
            ambient,
            scanner,
            limit: config.enabled.then_some(config.max_body_bytes),
            turns: Semaphore::new(AT_ONCE),
            metrics: IngestMetrics::new(metrics),
        }
    }

    /// The largest body that is taken; `None` if telemetry is not taken at all.
    pub fn max_body_bytes(&self) -> Option<usize> {
        self.limit
    }

    /// Stores what `by` sent. `signal` is what the path says; without it the content decides.
    ///
    /// # Errors
    ///
    /// Nothing was stored, for a reason that says whether sending it again is any use.
    pub async fn take(
        &self,
        by: &Principal,
        signal: Option<Signal>,
        encoding: Encoding,
        body: Bytes,
    ) -> Result<Taken, Refused> {
        let turn = tokio::time::timeout(PATIENCE, self.turns.acquire()).await.map_err(|_| Refused::Busy)?;
        let _turn = turn.map_err(|_| Refused::Unavailable)?;
        let (scanner, received_at, user) = (self.scanner.clone(), self.ambient.now(), by.user_id.as_uuid());
        // Reading and scanning some megabytes takes longer than a task of the server may.
        let reading = tokio::task::spawn_blocking(move || {
            let request = read::read(signal, encoding, &body).map_err(|why| Refused::Unreadable { encoding, why })?;
            Ok(request.map(|request| rows::rows(request, received_at, &scanner)))
        });
        let Some(rows) = reading.await.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))? else {
            return Ok(Taken { signal, rejected: 0, why: None });
        };
        store::insert(&self.db, user, received_at, &rows).await.map_err(|error| {
            tracing::warn!(%error, "telemetry of a client could not be stored");
            Refused::Unavailable
        })?;
        let signal = rows.signal();
        self.metrics.count(signal, rows.len() as u64, rows.rejected);
        Ok(Taken { signal: Some(signal), rejected: rows.rejected, why: rows.why })
    }
}
