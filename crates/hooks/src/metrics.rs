//! What is counted of hooks.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use systemprompt_extension::Metrics;

use crate::answer::Permission;
use crate::caller::NoCaller;
use crate::event::KNOWN;

/// What is counted of hooks.
#[derive(Debug, Clone, Default)]
pub(crate) struct HookMetrics {
    decisions: Family<DecisionLabels, Counter>,
    events: Family<EventLabels, Counter>,
    refused: Family<ReasonLabels, Counter>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DecisionLabels {
    event: &'static str,
    decision: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    event: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl HookMetrics {
    pub(crate) fn new(registry: &Metrics) -> Self {
        let metrics = Self::default();
        registry.register(
            "hook_decisions",
            "Answers to coding clients that asked before they did something, by event and decision",
            metrics.decisions.clone(),
        );
        registry.register(
            "hook_events",
            "Events that coding clients reported and that were recorded",
            metrics.events.clone(),
        );
        registry.register(
            "hook_credentials_refused",
            "Events of coding clients that were denied or left out for want of a good credential, by reason",
            metrics.refused.clone(),
        );
        for reason in NoCaller::LABELS {
            drop(metrics.refused.get_or_create(&ReasonLabels { reason }));
        }
        metrics
    }

    /// An event of this name was answered.
    pub(crate) fn decided(&self, event: &str, permission: Permission) {
        self.decisions.get_or_create(&DecisionLabels { event: label(event), decision: permission.as_str() }).inc();
    }

    /// An event of this name was recorded.
    pub(crate) fn recorded(&self, event: &str) {
        self.events.get_or_create(&EventLabels { event: label(event) }).inc();
    }

    /// An event came without a good credential.
    pub(crate) fn refused(&self, why: &NoCaller) {
        self.refused.get_or_create(&ReasonLabels { reason: why.label() }).inc();
    }
}

/// The names of events are whatever clients send, so only those that are known are counted apart.
fn label(event: &str) -> &'static str {
    KNOWN.into_iter().find(|known| *known == event).unwrap_or("other")
}
