//! A route as `gateway.routes` describes it: which requests it is for, and where they go.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_llm::{Effort, InferenceRequest, ResponseFormat};
use systemprompt_model::Fnv1a;

use super::cache::RouteCacheConfig;
use super::provider::{DataHandling, PricingConfig};

#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteConfig {
    /// Stable id that access rules refer to. Absent: derived from the pattern and the provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Name shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the route is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Which models: an id, in which `*` stands for any text and `?` for one character.
    pub model_pattern: String,
    /// The provider to send to; or there are `targets`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model name sent upstream instead of the one asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// Headers added upstream, but not for `fallbacks`; they win over the provider's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_headers: BTreeMap<String, String>,
    /// Prices that replace the registry's, but not for `fallbacks`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<PricingConfig>,
    /// Several providers that share the requests by their weights, in the place of `provider`. A conversation stays where
    /// it began; the others are tried when its own fails, before `fallbacks`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<TargetConfig>,
    /// Where a request goes if the provider fails before the caller has anything of an answer, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<FallbackConfig>,
    /// A provider to fall back to: short for `fallbacks` with one entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_provider: Option<String>,
    /// The model name sent to `fallback_provider`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_upstream_model: Option<String>,
    /// Answers are kept, and given once more to the same request. Absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache: Option<RouteCacheConfig>,
    /// What happens to a streamed answer that breaks off when the caller has a part of it. Default `error`.
    #[serde(default, skip_serializing_if = "StreamRecovery::is_error")]
    pub stream_recovery: StreamRecovery,
    /// What every provider of the route must declare under `governance`.
    #[serde(default, skip_serializing_if = "DataHandling::is_default")]
    pub requires: DataHandling,
    /// Features the request must have for the rule to match; all that are given must hold.
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

/// What happens to a streamed answer that breaks off when the caller has a part of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StreamRecovery {
    /// It ends with an error.
    #[default]
    Error,
    /// The next provider of the route is asked to go on, with what the caller has as the beginning of its answer. Of the
    /// format `anthropic-messages` only, and of text only: not with thinking, nor within a tool call.
    Continue,
}

impl StreamRecovery {
    /// Whether it is the usual one.
    pub(crate) fn is_error(&self) -> bool {
        *self == Self::Error
    }
}

/// One of several providers that share the requests of a route.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TargetConfig {
    /// The provider to send to.
    pub provider: String,
    /// The model name sent to it instead of the one asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// Its share of the conversations, against the weights of the others; 0 for none. Default 1.
    #[serde(default = "one")]
    pub weight: u32,
    /// Headers added upstream; they win over the route's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_headers: BTreeMap<String, String>,
    /// Prices that replace the route's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<PricingConfig>,
}

/// A provider to fall back to.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FallbackConfig {
    /// The provider to send to.
    pub provider: String,
    /// The model name sent to it. Absent: the name that the first provider would have got.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// Headers added upstream; they win over the provider's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_headers: BTreeMap<String, String>,
    /// Prices that replace the registry's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<PricingConfig>,
}

const fn one() -> u32 {
    1
}

/// A place a route leads to, whichever way it was written.
#[derive(Debug, Clone)]
pub(crate) struct Place<'a> {
    /// Where in the route it is written, as a JSON pointer, without what follows.
    pub at: String,
    /// The key there that names the provider.
    pub provider_key: &'static str,
    /// The key there that names the model.
    pub model_key: &'static str,
    pub provider: &'a str,
    pub upstream_model: Option<&'a str>,
    pub extra_headers: BTreeMap<String, String>,
    pub pricing: Option<PricingConfig>,
    pub weight: u32,
}

impl RouteConfig {
    /// The id of a configured route: its own, or `<pattern as a slug>-<6 hex digits of FNV-1a over pattern and providers>`.
    /// Access rules name it, so it depends neither on the position of the rule nor on its fallbacks.
    pub(crate) fn route_id(&self) -> String {
        if let Some(id) = &self.id {
            return id.clone();
        }
        let mut id = String::new();
        for character in self.model_pattern.chars() {
            match character {
                '*' => id.push_str("star"),
                c if c.is_ascii_alphanumeric() => id.push(c.to_ascii_lowercase()),
                _ if id.ends_with('-') => {}
                _ => id.push('-'),
            }
        }
        let mut hash = Fnv1a::default();
        hash.write(self.model_pattern.as_bytes());
        for place in self.firsts() {
            hash.write(place.provider.as_bytes());
        }
        let _ = write!(id, "-{:06x}", hash.finish() & 0x00ff_ffff);
        id
    }

    /// The places a request may be sent to first: the provider, or those that share the requests.
    pub(crate) fn firsts(&self) -> Vec<Place<'_>> {
        let own = self.provider.as_deref().map(|provider| Place {
            at: String::new(),
            provider_key: "provider",
            model_key: "upstream_model",
            provider,
            upstream_model: self.upstream_model.as_deref(),
            extra_headers: self.extra_headers.clone(),
            pricing: self.pricing,
            weight: 1,
        });
        let shared = self.targets.iter().enumerate().map(|(index, target)| {
            let mut extra_headers = self.extra_headers.clone();
            extra_headers.extend(target.extra_headers.clone());
            Place {
                at: format!("/targets/{index}"),
                provider_key: "provider",
                model_key: "upstream_model",
                provider: &target.provider,
                upstream_model: target.upstream_model.as_deref(),
                extra_headers,
                pricing: target.pricing.or(self.pricing),
                weight: target.weight,
            }
        });
        own.into_iter().chain(shared).collect()
    }

    /// The places it is sent to when the first fails, in order.
    pub(crate) fn lasts(&self) -> Vec<Place<'_>> {
        let short = self.fallback_provider.as_deref().map(|provider| Place {
            at: String::new(),
            provider_key: "fallback_provider",
            model_key: "fallback_upstream_model",
            provider,
            upstream_model: self.fallback_upstream_model.as_deref(),
            extra_headers: BTreeMap::new(),
            pricing: None,
            weight: 1,
        });
        let listed = self.fallbacks.iter().enumerate().map(|(index, fallback)| Place {
            at: format!("/fallbacks/{index}"),
            provider_key: "provider",
            model_key: "upstream_model",
            provider: &fallback.provider,
            upstream_model: fallback.upstream_model.as_deref(),
            extra_headers: fallback.extra_headers.clone(),
            pricing: fallback.pricing,
            weight: 1,
        });
        short.into_iter().chain(listed).collect()
    }
}

/// Features a request must have for a route to match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct When {
    /// The request offers tools (or, if false, offers none).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requires_tools: Option<bool>,
    /// The request offers at least this many tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_tools: Option<usize>,
    /// Extended thinking is on (or off).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thinking: Option<bool>,
    /// The reasoning effort is at least this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_reasoning_effort: Option<Effort>,
    /// The answer is to be streamed (or not).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<bool>,
    /// The estimated input is at least this many tokens (characters / 4).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_input_tokens: Option<u64>,
    /// The response format asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response_format: Option<ResponseFormat>,
}

impl When {
    /// Whether no feature is demanded.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a request has the features.
    pub(crate) fn holds(&self, request: &InferenceRequest) -> bool {
        self.requires_tools.is_none_or(|wanted| wanted == (request.tools > 0))
            && self.min_tools.is_none_or(|least| request.tools >= least)
            && self.thinking.is_none_or(|wanted| wanted == request.thinking)
            && self
                .min_reasoning_effort
                .is_none_or(|least| request.reasoning_effort.is_some_and(|effort| effort >= least))
            && self.stream.is_none_or(|wanted| wanted == request.stream)
            && self.min_input_tokens.is_none_or(|least| request.estimated_input_tokens >= least)
            && self.response_format.is_none_or(|wanted| wanted == request.response_format)
    }
}

/// The model id without the client hint some clients append, as in `claude-sonnet-4-5[1m]`.
pub(crate) fn strip_marker(model: &str) -> &str {
    match model.rfind('[') {
        Some(start) if start > 0 && model.ends_with(']') => &model[..start],
        _ => model,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn route_ids_are_stable() {
        let route = |value| serde_json::from_value::<RouteConfig>(value).expect("a route");
        let derived = route(serde_json::json!({"model_pattern": "claude-*", "provider": "ant"})).route_id();
        assert!(derived.starts_with("claude-star-"), "{derived}");
        assert_ne!(derived, route(serde_json::json!({"model_pattern": "claude-*", "provider": "big"})).route_id());
        assert_eq!(route(serde_json::json!({"id": "x", "model_pattern": "*", "provider": "ant"})).route_id(), "x");
        let with_fallback =
            serde_json::json!({"model_pattern": "claude-*", "provider": "ant", "fallbacks": [{"provider": "big"}]});
        assert_eq!(route(with_fallback).route_id(), derived, "rules stay valid when a fallback is added");
    }
}
