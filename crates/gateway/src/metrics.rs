//! What the gateway counts (gateway specification §12).

use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use systemprompt_extension::Metrics;
use systemprompt_llm::{Format, Usage};
use systemprompt_model::Microdollars;

use crate::resilience::BreakerState;
use crate::upstream::SendError;

/// The gateway's metrics.
pub(crate) struct GatewayMetrics {
    requests_total: Family<RequestLabels, Counter>,
    overhead_seconds: Histogram,
    upstream_ttfb_seconds: Family<UpstreamLabels, Histogram>,
    upstream_retries_total: Family<UpstreamLabels, Counter>,
    tokens_total: Family<TokenLabels, Counter>,
    cost_microdollars_total: Family<ModelLabels, Counter>,
    request_seconds: Family<UpstreamLabels, Histogram>,
    upstream_errors_total: Family<ErrorLabels, Counter>,
    failovers_total: Family<FailoverLabels, Counter>,
    breaker_state: Family<ModelLabels, Gauge>,
    active_streams: Gauge,
    unpriced_requests: Family<ModelLabels, Counter>,
    answer_cache: Family<CacheLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    result: CacheResult,
}

/// What came of asking the cache of answers, or of writing to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum CacheResult {
    /// The answer was there.
    Hit,
    /// It was not.
    Miss,
    /// It was not looked for, because the caller did not want it or the request is none whose answer is kept.
    Bypass,
    /// An answer was written.
    Stored,
    /// An answer could not be written.
    Dropped,
}

impl CacheResult {
    const ALL: [Self; 5] = [Self::Hit, Self::Miss, Self::Bypass, Self::Stored, Self::Dropped];
}

impl EncodeLabelValue for CacheResult {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Bypass => "bypass",
            Self::Stored => "stored",
            Self::Dropped => "dropped",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) provider: Arc<str>,
    pub(crate) model: Arc<str>,
    pub(crate) status: &'static str,
    pub(crate) dialect: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    provider: Arc<str>,
}

impl UpstreamLabels {
    fn of(provider: &Arc<str>) -> Self {
        Self { provider: provider.clone() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    kind: TokenKind,
    provider: Arc<str>,
    model: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ModelLabels {
    provider: Arc<str>,
    model: Arc<str>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    provider: Arc<str>,
    class: ErrorClass,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailoverLabels {
    from: String,
    to: String,
    reason: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabel {
    channel: &'static str,
}

/// How a provider failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum ErrorClass {
    /// No connection.
    Connect,
    /// The connection was closed before an answer.
    Reset,
    /// No connection, for want of something of our own.
    Shortage,
    /// A time limit passed.
    Timeout,
    /// Our credential was refused: 401 or 403.
    Credential,
    /// 429.
    RateLimited,
    /// What the caller asked for is no request, or too large, or about nothing: 400, 404, 413 or 422.
    BadRequest,
    /// Another status from 400 to 499.
    Client,
    /// A status from 500.
    Server,
    /// The answer was none, or broke off.
    Malformed,
    /// The answer said in its body that it failed.
    Reported,
}

impl ErrorClass {
    const ALL: [Self; 11] = [
        Self::Connect,
        Self::Reset,
        Self::Shortage,
        Self::Timeout,
        Self::Credential,
        Self::RateLimited,
        Self::BadRequest,
        Self::Client,
        Self::Server,
        Self::Malformed,
        Self::Reported,
    ];

    /// The class of an answer with this status, if it is that of an error.
    pub(crate) fn of_status(status: u16) -> Option<Self> {
        match status {
            0..400 => None,
            401 | 403 => Some(Self::Credential),
            429 => Some(Self::RateLimited),
            400 | 404 | 413 | 422 => Some(Self::BadRequest),
            400..500 => Some(Self::Client),
            500.. => Some(Self::Server),
        }
    }

    /// The class of a request without an answer.
    pub(crate) fn of(error: &SendError) -> Self {
        match error {
            SendError::Unreachable => Self::Connect,
            SendError::NeverRead => Self::Reset,
            SendError::Shortage(_) => Self::Shortage,
            SendError::TimedOut(_) => Self::Timeout,
            SendError::Refused(status, _) => Self::of_status(status.as_u16()).unwrap_or(Self::Malformed),
            SendError::CredentialRefused { .. } | SendError::NoCredential { .. } => Self::Credential,
            SendError::Broken(_) | SendError::ShuttingDown => Self::Malformed,
        }
    }
}

impl EncodeLabelValue for ErrorClass {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(self.as_str())
    }
}

impl ErrorClass {
    /// Its name.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Shortage => "own_shortage",
            Self::Timeout => "timeout",
            Self::Credential => "credential",
            Self::RateLimited => "429",
            Self::BadRequest => "bad_request",
            Self::Client => "4xx",
            Self::Server => "5xx",
            Self::Malformed => "malformed",
            Self::Reported => "reported",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum TokenKind {
    Input,
    Output,
    CacheRead,
    CacheWrite,
    /// Of the cache writes, those that are kept for an hour, which cost more.
    CacheWriteHour,
}

impl TokenKind {
    const ALL: [Self; 5] = [Self::Input, Self::Output, Self::CacheRead, Self::CacheWrite, Self::CacheWriteHour];
}

impl EncodeLabelValue for TokenKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
            Self::CacheWriteHour => "cache_write_1h",
        })
    }
}

impl GatewayMetrics {
    /// Creates the metrics and announces them in `registry`. What may be counted of `models`, each with its provider, is
    /// there at 0 from the start, so that an alert sees the first one.
    pub(crate) fn new(registry: &Metrics, models: &[(Arc<str>, Arc<str>)]) -> Self {
        let streams = Family::<ChannelLabel, Gauge>::default();
        let metrics = Self {
            requests_total: Family::default(),
            overhead_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            upstream_ttfb_seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 18))),
            upstream_retries_total: Family::default(),
            tokens_total: Family::default(),
            cost_microdollars_total: Family::default(),
            request_seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 2.0, 18))),
            upstream_errors_total: Family::default(),
            failovers_total: Family::default(),
            breaker_state: Family::default(),
            active_streams: streams.get_or_create(&ChannelLabel { channel: "inference" }).clone(),
            unpriced_requests: Family::default(),
            answer_cache: Family::default(),
        };
        for result in CacheResult::ALL {
            drop(metrics.answer_cache.get_or_create(&CacheLabels { result }));
        }
        registry.register(
            "gateway_answer_cache",
            "Requests of routes with a cache by whether their answer was there, and answers that were written to it",
            metrics.answer_cache.clone(),
        );
        registry.register(
            "gateway_unpriced_requests",
            "Requests that used something for which no price is known, so that their cost is recorded as zero",
            metrics.unpriced_requests.clone(),
        );
        registry.register(
            "gateway_requests",
            "Governed model requests by how they ended",
            metrics.requests_total.clone(),
        );
        registry.register(
            "gateway_overhead_seconds",
            "Time from receiving a request to sending it upstream",
            metrics.overhead_seconds.clone(),
        );
        registry.register(
            "gateway_upstream_ttfb_seconds",
            "Time from sending a request to the head of the answer",
            metrics.upstream_ttfb_seconds.clone(),
        );
        registry.register(
            "gateway_upstream_retries",
            "Attempts made once more at the same provider",
            metrics.upstream_retries_total.clone(),
        );
        registry.register("gateway_tokens", "Tokens by kind, provider and model", metrics.tokens_total.clone());
        registry.register(
            "gateway_cost_microdollars",
            "Cost in millionths of a dollar by provider and model",
            metrics.cost_microdollars_total.clone(),
        );
        registry.register(
            "gateway_request_duration_seconds",
            "Time from receiving a request to the end of its answer",
            metrics.request_seconds.clone(),
        );
        registry.register(
            "gateway_upstream_errors",
            "Failures of providers by their class",
            metrics.upstream_errors_total.clone(),
        );
        registry.register(
            "gateway_upstream_failovers",
            "Requests that went on from one provider to another, by the reason",
            metrics.failovers_total.clone(),
        );
        registry.register(
            "gateway_breaker_state",
            "Whether a model is left alone after its failures: 0 no, 1 it is being tried out, 2 yes",
            metrics.breaker_state.clone(),
        );
        registry.register("sse_active_connections", "Streamed answers being relayed now, by what they are of", streams);
        metrics.announce(models);
        metrics
    }

    /// What may be counted of `models` is there at 0.
    pub(crate) fn announce(&self, models: &[(Arc<str>, Arc<str>)]) {
        for (provider, model) in models {
            self.begin(provider, model);
        }
    }

    /// Has everything there at 0.
    fn begin(&self, provider: &Arc<str>, model: &Arc<str>) {
        for status in ["completed", "failed", "withheld", "client_disconnected"] {
            for dialect in Format::OF_CALLERS {
                let (provider, model) = (provider.clone(), model.clone());
                let labels = RequestLabels { provider, model, status, dialect: dialect.as_str() };
                drop(self.requests_total.get_or_create(&labels));
            }
        }
        for kind in TokenKind::ALL {
            let labels = TokenLabels { kind, provider: provider.clone(), model: model.clone() };
            drop(self.tokens_total.get_or_create(&labels));
        }
        let labels = ModelLabels { provider: provider.clone(), model: model.clone() };
        drop(self.cost_microdollars_total.get_or_create(&labels));
        drop(self.breaker_state.get_or_create(&labels));
        let upstream = UpstreamLabels::of(provider);
        drop(self.request_seconds.get_or_create(&upstream));
        drop(self.upstream_ttfb_seconds.get_or_create(&upstream));
        drop(self.upstream_retries_total.get_or_create(&upstream));
        for class in ErrorClass::ALL {
            drop(self.upstream_errors_total.get_or_create(&ErrorLabels { provider: provider.clone(), class }));
        }
    }

    /// The cache of answers was asked or written to.
    pub(crate) fn cache(&self, result: CacheResult) {
        self.answer_cache.get_or_create(&CacheLabels { result }).inc();
    }

    /// A provider failed.
    pub(crate) fn failed(&self, provider: &Arc<str>, class: ErrorClass) {
        self.upstream_errors_total.get_or_create(&ErrorLabels { provider: provider.clone(), class }).inc();
    }

    /// A request was sent so long after it reached us.
    pub(crate) fn sent_after(&self, overhead: Duration) {
        self.overhead_seconds.observe(overhead.as_secs_f64());
    }

    /// The head of an answer came so long after the request was sent.
    pub(crate) fn head_after(&self, provider: &Arc<str>, wait: Duration) {
        self.upstream_ttfb_seconds.get_or_create(&UpstreamLabels::of(provider)).observe(wait.as_secs_f64());
    }

    /// A request is sent again.
    pub(crate) fn retried(&self, provider: &Arc<str>) {
        self.upstream_retries_total.get_or_create(&UpstreamLabels::of(provider)).inc();
    }

    /// A request goes on from one provider to another.
    pub(crate) fn failed_over(&self, from: &str, to: &str, reason: String) {
        let labels = FailoverLabels { from: from.to_owned(), to: to.to_owned(), reason };
        self.failovers_total.get_or_create(&labels).inc();
    }

    /// How the breaker of a model stands now.
    pub(crate) fn breaker(&self, provider: &Arc<str>, model: &Arc<str>, state: BreakerState) {
        let labels = ModelLabels { provider: provider.clone(), model: model.clone() };
        self.breaker_state.get_or_create(&labels).set(match state {
            BreakerState::Closed => 0,
            BreakerState::HalfOpen => 1,
            BreakerState::Open => 2,
        });
    }

    /// A request ended.
    pub(crate) fn ended(&self, labels: &RequestLabels, took: Duration, usage: &Usage, cost: Microdollars) {
        self.requests_total.get_or_create(labels).inc();
        self.request_seconds.get_or_create(&UpstreamLabels::of(&labels.provider)).observe(took.as_secs_f64());
        self.used(&labels.provider, &labels.model, usage, cost);
    }

    /// A provider counted this, or must have.
    pub(crate) fn used(&self, provider: &Arc<str>, model: &Arc<str>, usage: &Usage, cost: Microdollars) {
        for (kind, count) in [
            (TokenKind::Input, usage.input_tokens),
            (TokenKind::Output, usage.output_tokens),
            (TokenKind::CacheRead, usage.cache_read_tokens),
            (TokenKind::CacheWrite, usage.cache_creation_tokens),
            (TokenKind::CacheWriteHour, usage.cache_creation_1h_tokens),
        ] {
            let Some(count @ 1..) = count else { continue };
            let labels = TokenLabels { kind, provider: provider.clone(), model: model.clone() };
            self.tokens_total.get_or_create(&labels).inc_by(count);
        }
        if cost.0 > 0 {
            let labels = ModelLabels { provider: provider.clone(), model: model.clone() };
            self.cost_microdollars_total.get_or_create(&labels).inc_by(cost.0.unsigned_abs());
        }
    }

    /// Counts a request that used something nobody knows a price for.
    pub(crate) fn unpriced(&self, provider: &Arc<str>, model: &Arc<str>) {
        let labels = ModelLabels { provider: provider.clone(), model: model.clone() };
        self.unpriced_requests.get_or_create(&labels).inc();
    }

    /// Counts a stream as active until the guard is dropped.
    pub(crate) fn stream_started(&self) -> StreamGuard {
        self.active_streams.inc();
        StreamGuard(self.active_streams.clone())
    }
}

/// One active stream.
pub(crate) struct StreamGuard(Gauge);

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}
