//! What authorizers are counted by.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use systemprompt_extension::Metrics;

/// How often each authorizer was asked, with which result, and how long it took.
#[derive(Clone)]
pub(super) struct AuthorizerMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<AuthorizerLabels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    authorizer: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AuthorizerLabels {
    authorizer: &'static str,
}

impl AuthorizerMetrics {
    pub(super) fn register(metrics: &Metrics, authorizers: impl Iterator<Item = &'static str>) -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_25, 2.0, 14));
        let this = Self { calls: Family::default(), seconds: Family::new_with_constructor(buckets) };
        for authorizer in authorizers {
            for result in ["allow", "deny", "fault"] {
                drop(this.calls.get_or_create(&CallLabels { authorizer, result }));
            }
        }
        let help = "Times an authorizer was asked, by what it said; `fault` is no answer that counts, and refuses";
        metrics.register("governance_authorizer_calls", help, this.calls.clone());
        metrics.register(
            "governance_authorizer_seconds",
            "Time until an authorizer had answered",
            this.seconds.clone(),
        );
        this
    }

    pub(super) fn count(&self, authorizer: &'static str, result: &'static str, took: Duration) {
        self.calls.get_or_create(&CallLabels { authorizer, result }).inc();
        self.seconds.get_or_create(&AuthorizerLabels { authorizer }).observe(took.as_secs_f64());
    }
}
