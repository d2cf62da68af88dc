//! What asking extensions about people is counted by.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use systemprompt_extension::Metrics;

/// How often each dimension was asked for, with which result, and how long that took.
#[derive(Clone)]
pub(super) struct AttributeMetrics {
    calls: Family<CallLabels, Counter>,
    seconds: Family<DimensionLabels, Histogram, fn() -> Histogram>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    dimension: &'static str,
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DimensionLabels {
    dimension: &'static str,
}

impl AttributeMetrics {
    pub(super) fn register(metrics: &Metrics, dimensions: impl Iterator<Item = &'static str>) -> Self {
        let buckets: fn() -> Histogram = || Histogram::new(exponential_buckets(0.000_25, 2.0, 14));
        let this = Self { calls: Family::default(), seconds: Family::new_with_constructor(buckets) };
        for dimension in dimensions {
            for result in ["known", "fault"] {
                drop(this.calls.get_or_create(&CallLabels { dimension, result }));
            }
        }
        let help = "Times an extension was asked what it knows of an account; `fault` is no answer, and refuses what \
                    depends on it";
        metrics.register("governance_attribute_calls", help, this.calls.clone());
        let help = "Time until an extension had answered what it knows of an account";
        metrics.register("governance_attribute_seconds", help, this.seconds.clone());
        this
    }

    pub(super) fn count(&self, dimension: &'static str, is_known: bool, took: Duration) {
        let result = if is_known { "known" } else { "fault" };
        self.calls.get_or_create(&CallLabels { dimension, result }).inc();
        self.seconds.get_or_create(&DimensionLabels { dimension }).observe(took.as_secs_f64());
    }
}
