//! What became of what was to be exported.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_extension::Metrics;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabel {
    signal: &'static str,
}

/// What became of what was to be exported.
#[derive(Debug, Clone, Default)]
pub(super) struct ExportCounters {
    sent: Family<SignalLabel, Counter>,
    dropped: Family<SignalLabel, Counter>,
}

impl ExportCounters {
    pub(super) fn new(registry: &Metrics) -> Self {
        let counters = Self::default();
        registry.register("telemetry_export_items_sent", "Spans and metrics the collector took", counters.sent.clone());
        registry.register(
            "telemetry_export_items_dropped",
            "Spans and metrics that were to be exported and were not: too many waited, or the collector did not take them",
            counters.dropped.clone(),
        );
        for signal in ["traces", "metrics"] {
            counters.sent(signal, 0);
            counters.dropped(signal, 0);
        }
        counters
    }

    pub(super) fn sent(&self, signal: &'static str, count: u64) {
        self.sent.get_or_create(&SignalLabel { signal }).inc_by(count);
    }

    pub(super) fn dropped(&self, signal: &'static str, count: u64) {
        self.dropped.get_or_create(&SignalLabel { signal }).inc_by(count);
    }
}
