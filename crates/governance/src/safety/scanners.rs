//! The scanners there are, and what they have found, whatever the configuration.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_extension::Metrics;
use systemprompt_extension::safety::RegisteredScanner;
use tokio_util::task::TaskTracker;

use super::record::SafetyPhase;

/// The scanners of extensions, which are made once, and what outlives a change of the configuration.
pub struct Scanners {
    pub(super) registered: Vec<RegisteredScanner>,
    pub(crate) counts: Counts,
    pub(crate) tasks: TaskTracker,
}

impl Scanners {
    /// With those of extensions.
    pub(crate) fn new(registered: Vec<RegisteredScanner>, metrics: &Metrics) -> Self {
        let counts = Counts::default();
        metrics.register(
            "gateway_safety_findings",
            "What safety scanners found, by phase and category",
            counts.0.clone(),
        );
        Self { registered, counts, tasks: TaskTracker::new() }
    }

    /// Waits until every answer that is over was looked at, or the time is up.
    pub(crate) async fn finish(&self, limit: Duration) {
        self.tasks.close();
        if tokio::time::timeout(limit, self.tasks.wait()).await.is_err() {
            tracing::error!(answers = self.tasks.len(), "answers were still being looked at when the server stopped");
        }
    }
}

/// What was found.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counts(Family<Labels, Counter>);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    phase: &'static str,
    category: &'static str,
    blocked: &'static str,
}

impl Counts {
    pub(crate) fn found(&self, phase: SafetyPhase, category: &'static str, blocked: bool) {
        let blocked = if blocked { "true" } else { "false" };
        self.0.get_or_create(&Labels { phase: phase.as_str(), category, blocked }).inc();
    }
}
