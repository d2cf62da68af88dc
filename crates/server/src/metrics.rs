//! What the server counts of its HTTP traffic (gateway specification §12).

use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode};
use prometheus_client::encoding::{EncodeLabelSet, LabelSetEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use systemprompt_config::profile::RateGroup;
use systemprompt_extension::Metrics;
use systemprompt_model::UserType;

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Labels {
    method: Method,
    path: Arc<str>,
    status: u16,
}

impl EncodeLabelSet for Labels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        use prometheus_client::encoding::EncodeLabel;
        ("method", self.method.as_str()).encode(encoder.encode_label())?;
        ("path", self.path.as_ref()).encode(encoder.encode_label())?;
        ("status", self.status.to_string()).encode(encoder.encode_label())
    }
}

/// The server's metrics.
#[derive(Clone)]
pub(crate) struct HttpMetrics {
    requests: Family<Labels, Counter>,
    duration: Family<Labels, Histogram>,
    in_flight: Gauge,
}

/// Counts a request as in flight until it is dropped, also when the caller goes away first.
pub(crate) struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl HttpMetrics {
    pub(crate) fn new(registry: &Metrics) -> Self {
        let metrics = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_25, 2.0, 18))),
            in_flight: Gauge::default(),
        };
        registry.register("http_requests", "HTTP requests by route and status", metrics.requests.clone());
        registry.register("http_request_duration_seconds", "Time to the head of the answer", metrics.duration.clone());
        registry.register(
            "http_requests_in_flight",
            "HTTP requests whose answer has not begun",
            metrics.in_flight.clone(),
        );
        metrics
    }

    pub(crate) fn begin(&self) -> InFlight {
        self.in_flight.inc();
        InFlight(self.in_flight.clone())
    }

    pub(crate) fn finish(&self, method: &Method, path: &Arc<str>, status: StatusCode, elapsed: Duration) {
        // Methods are the caller's free text too.
        let known =
            [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
        let method =
            if known.contains(method) { method.clone() } else { Method::from_bytes(b"OTHER").expect("a token") };
        let labels = Labels { method, path: path.clone(), status: status.as_u16() };
        self.requests.get_or_create(&labels).inc();
        self.duration.get_or_create(&labels).observe(elapsed.as_secs_f64());
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct RefusalLabels {
    group: &'static str,
    tier: &'static str,
}

impl EncodeLabelSet for RefusalLabels {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> Result<(), std::fmt::Error> {
        use prometheus_client::encoding::EncodeLabel;
        ("group", self.group).encode(encoder.encode_label())?;
        ("tier", self.tier).encode(encoder.encode_label())
    }
}

/// Requests that were one too many.
#[derive(Clone)]
pub(crate) struct RefusalMetrics(Family<RefusalLabels, Counter>);

impl RefusalMetrics {
    pub(crate) fn new(registry: &Metrics) -> Self {
        let refused = Family::default();
        registry.register(
            "http_requests_rate_limited",
            "HTTP requests refused by a rate limit, by group of endpoints (`address` before the caller is known) and tier",
            refused.clone(),
        );
        Self(refused)
    }

    pub(crate) fn count(&self, group: Option<RateGroup>, tier: UserType) {
        let group = group.map_or("address", RateGroup::as_str);
        self.0.get_or_create(&RefusalLabels { group, tier: tier.as_str() }).inc();
    }
}
