//! A way to go: a route, the providers it leads to, and what both mean for one model.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use http::StatusCode;
use systemprompt_governance::Target;
use systemprompt_llm::Format;
use systemprompt_llm::catalog::Pricing;
use systemprompt_model::pattern::Pattern;

use super::prompts::PromptOverride;
use crate::config::{DataHandling, ProviderWire, Retries, RouteCacheConfig, StreamRecovery, Surface, Timeouts, When};
use crate::resilience::Health;

/// What metrics call the models that are not in the registry: a name that only a caller made up must not become a time series.
pub(super) const UNLISTED: &str = "other";

/// A provider as the gateway uses it.
#[derive(Debug)]
pub(crate) struct Provider {
    /// Its unique id.
    pub name: Arc<str>,
    /// The shape it speaks.
    pub wire: ProviderWire,
    /// Who its models are advertised to.
    pub surface: Surface,
    /// Base URL, without a trailing slash; empty for the demo provider.
    pub endpoint: String,
    /// Whether it is told which trace a request is part of.
    pub trace_context: bool,
    /// Headers added to every request.
    pub extra_headers: BTreeMap<String, String>,
    /// Time limits of its calls.
    pub timeouts: Timeouts,
    /// How often and when it is asked once more.
    pub retries: Retries,
    /// How it does, and what keeps requests from it.
    pub health: Arc<Health>,
    /// The region in which it processes what it is sent.
    pub region: Option<String>,
    /// How it treats what it is sent.
    pub handling: DataHandling,
    /// Whether it tells what a stream used.
    pub stream_usage: StreamUsage,
    /// The Google Cloud project and location whose models are asked (Vertex wires).
    pub place: Option<VertexPlace>,
    /// It calls the output limit `max_tokens` (wire `openai-chat`).
    pub max_tokens_field: bool,
    /// It knows the role `developer`.
    pub developer_role: bool,
}

/// Where in Google Cloud a model is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct VertexPlace {
    /// The project.
    pub project: String,
    /// The location.
    pub location: String,
}

impl VertexPlace {
    /// Both or nothing.
    pub(super) fn of(project: Option<String>, location: Option<String>) -> Option<Self> {
        Some(Self { project: project?, location: location? })
    }
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
    pub(super) pattern: Pattern,
    pub(super) when: When,
    /// Where it leads first: one place, or several that share the conversations.
    pub(super) firsts: Vec<Leg>,
    /// Where it leads when the first place fails, in order.
    pub(super) lasts: Vec<Leg>,
    /// What providers must declare.
    pub(super) requires: DataHandling,
    /// Which answers are given once more.
    pub cache: Option<RouteCacheConfig>,
    /// What happens to a streamed answer that breaks off.
    pub stream_recovery: StreamRecovery,
    /// How the route came to be, recorded as `route_match`: `rule`, `registry` or `default`.
    pub(super) origin: &'static str,
}

/// A place a route leads to, whatever the model.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) provider: Arc<Provider>,
    pub(super) upstream_model: Option<String>,
    pub(super) extra_headers: Arc<BTreeMap<String, String>>,
    pub(super) pricing: Option<Pricing>,
    pub(super) weight: u32,
}

/// A request's way: the route it matched, and the places it may be sent to.
#[derive(Debug)]
pub(crate) struct Way {
    /// The route.
    pub route: Arc<Route>,
    /// What the ledger records: `<origin>:<route id>`.
    pub route_match: String,
    /// The first choice.
    pub first: Arc<Destination>,
    /// Those to try when it fails, in order.
    pub fallbacks: Vec<Arc<Destination>>,
}

/// A place a request may be sent to, and what that means for its model.
#[derive(Debug, Clone)]
pub(crate) struct Destination {
    /// What a permit calls it: the provider and the model there.
    pub permit_target: Target,
    /// The provider.
    pub provider: Arc<Provider>,
    /// The format that is spoken there.
    pub format: Format,
    /// The model name sent upstream.
    pub upstream_model: String,
    /// Headers that win over the provider's.
    pub extra_headers: Arc<BTreeMap<String, String>>,
    /// What to charge, if anybody knows.
    pub pricing: Option<Pricing>,
    /// Largest output of the model, in tokens.
    pub max_output_tokens: Option<u64>,
    /// What the model is told in the place of a caller's system prompt, if that is not left as it is.
    pub instructions: Option<Arc<PromptOverride>>,
    /// The model's id in the registry, if it is listed there.
    pub(super) listed: Option<Arc<str>>,
}

impl Way {
    /// The same way, on which the places come first that will do, in their order.
    pub(crate) fn beginning_where(mut self, will_do: impl Fn(&Destination) -> bool) -> Self {
        if self.fallbacks.is_empty() || will_do(&self.first) {
            return self;
        }
        self.fallbacks.insert(0, self.first.clone());
        self.fallbacks.sort_by_key(|to| !will_do(to));
        self.first = self.fallbacks.remove(0);
        self
    }

    /// All places, in the order in which they are tried.
    pub(crate) fn candidates(&self) -> impl Iterator<Item = &Arc<Destination>> {
        std::iter::once(&self.first).chain(&self.fallbacks)
    }
}

impl Destination {
    /// The model's id in the registry, or its name at the provider.
    pub(crate) fn model_id(&self) -> &str {
        self.listed.as_deref().unwrap_or(&self.upstream_model)
    }

    /// What records call the override of the system prompt, if there is one.
    pub(crate) fn override_name(&self) -> Option<&str> {
        self.instructions.as_ref().map(|instructions| instructions.name.as_str())
    }

    /// The model's name in metrics.
    pub(crate) fn metric_model(&self) -> Arc<str> {
        self.listed.clone().unwrap_or_else(|| UNLISTED.into())
    }
}

impl Leg {
    pub(super) fn to(provider: &Arc<Provider>) -> Self {
        Self {
            provider: provider.clone(),
            upstream_model: None,
            extra_headers: Arc::default(),
            pricing: None,
            weight: 1,
        }
    }
}

impl Route {
    /// A route for all models to one provider.
    pub(super) fn to(provider: &Arc<Provider>, id: String, origin: &'static str) -> Self {
        Self {
            id,
            pattern: Pattern::any(),
            when: When::default(),
            firsts: vec![Leg::to(provider)],
            lasts: Vec::new(),
            requires: DataHandling::default(),
            cache: None,
            stream_recovery: StreamRecovery::default(),
            origin,
        }
    }

    /// Whether one of its places keeps to what it demands and `may` be asked.
    pub(crate) fn leads_where(&self, may: impl Fn(&Provider) -> bool) -> bool {
        let keeps = |leg: &&Leg| self.requires.missing(leg.provider.handling).is_empty();
        self.legs().filter(keeps).any(|leg| may(&leg.provider))
    }

    /// Every place it leads to.
    pub(super) fn legs(&self) -> impl Iterator<Item = &Leg> {
        self.firsts.iter().chain(&self.lasts)
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
