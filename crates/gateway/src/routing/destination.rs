//! A way to go: a provider, the route that leads to it, and what both mean for one model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::StatusCode;
use systemprompt_llm::catalog::Pricing;
use systemprompt_model::pattern::Pattern;

use crate::config::{ProviderWire, Surface, Timeouts, When};

/// A provider as the gateway uses it.
#[derive(Debug)]
pub(crate) struct Provider {
    /// Its unique id.
    pub name: String,
    /// The shape it speaks.
    pub wire: ProviderWire,
    /// Who its models are advertised to.
    pub surface: Surface,
    /// Base URL, without a trailing slash; empty for the demo provider.
    pub endpoint: String,
    /// Headers added to every request.
    pub extra_headers: BTreeMap<String, String>,
    /// Time limits of its calls.
    pub timeouts: Timeouts,
    /// Whether it tells what a stream used.
    pub stream_usage: StreamUsage,
}

/// Whether a provider takes `stream_options.include_usage`.
#[derive(Debug, Default)]
pub(crate) struct StreamUsage {
    configured: Option<bool>,
    /// It did not: in the life of this process it refused a request that it answered without.
    refused: AtomicBool,
}

impl StreamUsage {
    /// As it is configured, or as it turns out.
    pub(crate) fn new(configured: Option<bool>) -> Self {
        Self { configured, refused: AtomicBool::new(false) }
    }

    /// Whether to ask for it.
    pub(crate) fn is_asked_for(&self) -> bool {
        self.configured.unwrap_or_else(|| !self.refused.load(Relaxed))
    }

    /// Whether the refusal of a request that asked for it may be about it, so that the same request without it may do better.
    /// Nothing is known by that: providers repeat what they were sent, and whoever asks could name the field.
    pub(crate) fn may_be_refused(&self, status: StatusCode, explanation: &[u8]) -> bool {
        let names = |field: &[u8]| explanation.windows(field.len()).any(|window| window == field);
        let is_about_a_field = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
        self.configured.is_none() && is_about_a_field && (names(b"stream_options") || names(b"include_usage"))
    }

    /// Remembers that a request was refused with it and answered without it.
    pub(crate) fn note_refusal(&self) {
        self.refused.store(true, Relaxed);
    }
}

/// A route as the gateway uses it.
#[derive(Debug)]
pub(crate) struct Route {
    /// Stable id; access rules name it as `gateway_route:<id>`.
    pub id: String,
    /// Where it leads.
    pub provider: Arc<Provider>,
    pub(super) pattern: Pattern,
    pub(super) when: When,
    pub(super) upstream_model: Option<String>,
    /// Headers that win over the provider's.
    pub extra_headers: BTreeMap<String, String>,
    pub(super) pricing: Option<Pricing>,
    /// How the route came to be, recorded as `route_match`: `rule`, `registry` or `default`.
    pub(super) origin: &'static str,
}

/// A request's way: the route it matched and what it means for this model.
#[derive(Debug)]
pub(crate) struct Destination {
    /// The route.
    pub route: Arc<Route>,
    /// The model name sent upstream.
    pub upstream_model: String,
    /// What to charge.
    pub pricing: Pricing,
    /// Largest output of the model, in tokens.
    pub max_output_tokens: Option<u64>,
    /// What the ledger records: `<origin>:<route id>`.
    pub route_match: String,
    /// The model's id in the registry, if it is listed there.
    pub(super) listed: Option<String>,
}

impl Destination {
    /// The model's name in metrics. A name that only a caller made up must not become a time series.
    pub(crate) fn metric_model(&self) -> String {
        self.listed.clone().unwrap_or_else(|| "other".to_owned())
    }
}

impl Route {
    pub(super) fn to(provider: &Arc<Provider>, id: String, origin: &'static str) -> Self {
        Self {
            id,
            provider: provider.clone(),
            pattern: Pattern::any(),
            when: When::default(),
            upstream_model: None,
            extra_headers: BTreeMap::new(),
            pricing: None,
            origin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_a_field_may_be_about_this_one() {
        let usage = StreamUsage::default();
        let words = br#"{"error":{"message":"Unrecognized request argument supplied: stream_options"}}"#;
        for (status, expected) in [(400, true), (422, true), (401, false), (404, false), (413, false), (429, false)] {
            let status = StatusCode::from_u16(status).expect("a status");
            assert_eq!(usage.may_be_refused(status, words), expected, "{status}");
        }
        assert!(usage.may_be_refused(StatusCode::BAD_REQUEST, b"body.include_usage: Extra inputs are not permitted"));
        assert!(!usage.may_be_refused(StatusCode::BAD_REQUEST, b"the prompt is too long"));
        assert!(usage.is_asked_for(), "nothing is remembered of what may be");
        usage.note_refusal();
        assert!(!usage.is_asked_for());
        for configured in [true, false] {
            assert!(!StreamUsage::new(Some(configured)).may_be_refused(StatusCode::BAD_REQUEST, words));
        }
    }
}
