//! Taking telemetry: from the bytes a client sent to rows under its user's name.

mod read;
mod retention;
mod rows;
mod store;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prost::Message as _;
use serde_json::json;
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_governance::secret_scan::SecretScanner;
use systemprompt_model::{Ambient, Principal};
use tokio::sync::Semaphore;

use crate::config::IngestConfig;
use crate::otlp::{ExportReply, PartialSuccess};

pub(crate) use retention::sweep;

/// Requests that are worked on at the same time: each holds its body and its rows.
const AT_ONCE: usize = 4;
/// How long a request waits for its turn.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kinds of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Signal {
    /// Stretches of work.
    Traces,
    /// Log lines and events.
    Logs,
    /// Measurements.
    Metrics,
}

impl Signal {
    const ALL: [Self; 3] = [Self::Traces, Self::Logs, Self::Metrics];

    /// Its name in paths.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Traces => "traces",
            Self::Logs => "logs",
            Self::Metrics => "metrics",
        }
    }

    /// The signal a path ends with.
    pub fn of_path(path: &str) -> Option<Self> {
        let last = path.trim_end_matches('/').rsplit('/').next()?;
        Self::ALL.into_iter().find(|signal| signal.as_str() == last)
    }

    /// What a partial success calls its items.
    const fn rejected(self) -> &'static str {
        match self {
            Self::Traces => "rejectedSpans",
            Self::Logs => "rejectedLogRecords",
            Self::Metrics => "rejectedDataPoints",
        }
    }
}

/// The encodings of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl Encoding {
    /// The encoding a `content-type` names.
    pub fn of(content_type: &str) -> Option<Self> {
        match content_type.split(';').next()?.trim().to_ascii_lowercase().as_str() {
            "application/x-protobuf" | "application/protobuf" => Some(Self::Protobuf),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Its `content-type`.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }

    /// The body of a failure, a `google.rpc.Status`.
    pub fn status(self, code: i32, message: String) -> Bytes {
        match self {
            Self::Protobuf => crate::otlp::RpcStatus { code, message }.encode_to_vec().into(),
            Self::Json => json!({ "code": code, "message": message }).to_string().into(),
        }
    }
}

/// What was stored, and what was not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// What it was.
    pub signal: Option<Signal>,
    /// How many spans, records or data points were not stored.
    pub rejected: u64,
    /// Why.
    pub why: Option<&'static str>,
}

impl Taken {
    /// The answer to whoever sent it: `Export…ServiceResponse`.
    pub fn body(&self, encoding: Encoding) -> Bytes {
        let partial_success = self.why.map(|why| PartialSuccess {
            rejected: i64::try_from(self.rejected).unwrap_or(i64::MAX),
            error_message: why.to_owned(),
        });
        match (encoding, partial_success, self.signal) {
            (Encoding::Protobuf, partial_success, _) => ExportReply { partial_success }.encode_to_vec().into(),
            (Encoding::Json, Some(partial), Some(signal)) => {
                // 64-bit integers are texts in the JSON of protobuf.
                let rejected = partial.rejected.to_string();
                json!({ "partialSuccess": { (signal.rejected()): rejected, "errorMessage": partial.error_message } })
                    .to_string()
                    .into()
            }
            (Encoding::Json, ..) => Bytes::from_static(b"{}"),
        }
    }
}

/// Why nothing was stored.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// It is not in the protocol. Sending it again is no use.
    #[error("the body is no OTLP request in {}: {why}", encoding.content_type())]
    Unreadable {
        /// What it was read as.
        encoding: Encoding,
        /// What is wrong.
        why: String,
    },
    /// Too much comes at once.
    #[error("too much telemetry comes at once; send it again later")]
    Busy,
    /// The database cannot take it.
    #[error("telemetry cannot be stored at present; send it again later")]
    Unavailable,
}

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
        scanner: SecretScanner,
        metrics: &Metrics,
    ) -> Self {
        Self {
            db,
            ambient,
            scanner: Arc::new(scanner),
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
