//! What the gateway counts (gateway specification §12).

use std::fmt::{self, Write as _};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use systemprompt_extension::Metrics;

use crate::recording::Subject;

/// The gateway's metrics.
pub struct GatewayMetrics {
    pub(crate) requests_total: Family<RequestLabels, Counter>,
    pub(crate) overhead_seconds: Histogram,
    pub(crate) upstream_ttfb_seconds: Family<UpstreamLabels, Histogram>,
    pub(crate) tokens_total: Family<TokenLabels, Counter>,
    pub(crate) cost_microdollars_total: Counter,
    active_streams: Gauge,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct RequestLabels {
    provider: String,
    model: String,
    status: &'static str,
    dialect: &'static str,
}

impl RequestLabels {
    pub(crate) fn of(subject: &Subject, status: &'static str) -> Self {
        Self { provider: subject.provider.clone(), model: subject.model.clone(), status, dialect: subject.dialect }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct UpstreamLabels {
    pub(crate) provider: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct TokenLabels {
    pub(crate) kind: TokenKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum TokenKind {
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
    pub fn new(registry: &Metrics) -> Self {
        let metrics = Self {
            requests_total: Family::default(),
            overhead_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 16)),
            upstream_ttfb_seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.001, 2.0, 18))),
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
