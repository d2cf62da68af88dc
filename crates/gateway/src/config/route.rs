//! A route as `gateway.routes` describes it: which requests it is for, and where they go.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_llm::{Effort, InferenceRequest, ResponseFormat};
use systemprompt_model::Fnv1a;

use super::provider::PricingConfig;

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
    /// The provider to send to.
    pub provider: String,
    /// The model name sent upstream instead of the one asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// Headers added upstream; they win over the provider's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_headers: BTreeMap<String, String>,
    /// Prices that replace the registry's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<PricingConfig>,
    /// Features the request must have for the rule to match; all that are given must hold.
    #[serde(default, skip_serializing_if = "When::is_empty")]
    pub when: When,
}

impl RouteConfig {
    /// The id of a configured route: its own, or `<pattern as a slug>-<6 hex digits of FNV-1a over pattern and provider>`.
    /// Access rules name it, so it never depends on the position of the rule.
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
        hash.write(self.provider.as_bytes());
        let _ = write!(id, "-{:06x}", hash.finish() & 0x00ff_ffff);
        id
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
    }
}
