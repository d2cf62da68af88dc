//! What the gateway counts (gateway specification §12).

use std::fmt::{self, Write as _};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use systemprompt_extension::Metrics;
use systemprompt_llm::Usage;
use systemprompt_model::Microdollars;

/// The gateway's metrics.
pub(crate) struct GatewayMetrics {
    requests_total: Family<RequestLabels, Counter>,
    overhead_seconds: Histogram,
    upstream_ttfb_seconds: Family<UpstreamLabels, Histogram>,
    upstream_retries_total: Family<UpstreamLabels, Counter>,
    tokens_total: Family<TokenLabels, Counter>,
    cost_microdollars_total: Counter,
    active_streams: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    pub(crate) provider: String,
    pub(crate) model: String,
    pub(crate) status: &'static str,
    pub(crate) dialect: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabels {
    provider: String,
}

impl UpstreamLabels {
    fn of(provider: &str) -> Self {
        Self { provider: provider.to_owned() }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TokenLabels {
    kind: TokenKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum TokenKind {
    Input,
    Output,
    CacheRead,
    CacheWrite,
}

impl EncodeLabelValue for TokenKind {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
        encoder.write_str(match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::CacheRead => "cache_read",
            Self::CacheWrite => "cache_write",
        })
    }
}

impl GatewayMetrics {
    /// Creates the metrics and announces them in `registry`.
    pub(crate) fn new(registry: &Metrics) -> Self {
        let metrics = Self {
            requests_total: Family::default(),
            overhead_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            upstream_ttfb_seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 18))),
            upstream_retries_total: Family::default(),
            tokens_total: Family::default(),
            cost_microdollars_total: Counter::default(),
            active_streams: Gauge::default(),
        };
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
            "Attempts made again because the provider had closed an idle connection",
            metrics.upstream_retries_total.clone(),
        );
        registry.register("gateway_tokens", "Tokens by kind", metrics.tokens_total.clone());
        registry.register(
            "gateway_cost_microdollars",
            "Cost of all requests in millionths of a dollar",
            metrics.cost_microdollars_total.clone(),
        );
        registry.register(
            "sse_active_connections",
            "Streamed answers being relayed now",
            metrics.active_streams.clone(),
        );
        metrics
    }

    /// A request was sent so long after it reached us.
    pub(crate) fn sent_after(&self, overhead: Duration) {
        self.overhead_seconds.observe(overhead.as_secs_f64());
    }

    /// The head of an answer came so long after the request was sent.
    pub(crate) fn head_after(&self, provider: &str, wait: Duration) {
        self.upstream_ttfb_seconds.get_or_create(&UpstreamLabels::of(provider)).observe(wait.as_secs_f64());
    }

    /// A request is sent again.
    pub(crate) fn retried(&self, provider: &str) {
        self.upstream_retries_total.get_or_create(&UpstreamLabels::of(provider)).inc();
    }

    /// A request ended.
    pub(crate) fn ended(&self, labels: &RequestLabels, usage: &Usage, cost: Microdollars) {
        self.requests_total.get_or_create(labels).inc();
        for (kind, count) in [
            (TokenKind::Input, usage.input_tokens),
            (TokenKind::Output, usage.output_tokens),
            (TokenKind::CacheRead, usage.cache_read_tokens),
            (TokenKind::CacheWrite, usage.cache_creation_tokens),
        ] {
            self.tokens_total.get_or_create(&TokenLabels { kind }).inc_by(count.unwrap_or(0));
        }
        self.cost_microdollars_total.inc_by(u64::try_from(cost.0).unwrap_or(0));
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
