//! A provider and its models, as the key `providers` describes them.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use systemprompt_llm::Format;
use systemprompt_llm::catalog::{self, Capabilities, CatalogModel, LongPromptPricing, Pricing, ServiceTiers};

/// One upstream provider: an endpoint, the wire it speaks, its credential and its models.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProviderConfig {
    /// Unique id of the provider. Routes, ledger rows and metrics refer to it.
    pub name: String,
    /// Name shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// What the provider is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The HTTP shape the provider speaks, or `demo` for the provider inside the server.
    pub wire: ProviderWire,
    /// The client family the models are advertised to. Models of `backend` are never listed.
    pub surface: Surface,
    /// Base URL without a trailing slash, such as `https://api.anthropic.com/v1`. Not used by the `demo` wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Name of the secret that holds the API key. Absent for private endpoints that need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret: Option<String>,
    /// Headers added to every request to the provider.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub extra_headers: BTreeMap<String, String>,
    /// Whether the provider takes `stream_options.include_usage` (wire `openai-chat`), which a streamed answer is counted by.
    /// Absent: it is asked for until the provider says that it does not know the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_usage: Option<bool>,
    /// The models offered. Absent: the built-in catalog's models of the provider of this name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelConfig>,
    /// Time limits, over those of `gateway.resilience`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resilience: Option<Resilience>,
}

impl ProviderConfig {
    /// The models a provider offers: its own list, else the built-in catalog's for its name. Prices and limits a model does
    /// not state come from the catalog too.
    pub(crate) fn models(&self) -> Vec<CatalogModel> {
        let catalog = catalog::default_catalog();
        if self.models.is_empty() {
            return catalog.iter().filter(|model| model.provider == self.name).cloned().collect();
        }
        self.models
            .iter()
            .map(|model| {
                let known = catalog.find(&model.id).cloned().unwrap_or_default();
                let limits = model.limits.unwrap_or_default();
                CatalogModel {
                    id: model.id.clone(),
                    provider: self.name.clone(),
                    aliases: model.aliases.clone(),
                    display_name: match (&model.display_name, known.display_name.is_empty()) {
                        (Some(name), _) => name.clone(),
                        (None, false) => known.display_name,
                        (None, true) => model.id.clone(),
                    },
                    upstream_model: model.upstream_model.clone(),
                    released: known.released,
                    pricing: model.pricing.map(Pricing::from).or(known.pricing),
                    context_window: limits.context_window.or(known.context_window),
                    max_output_tokens: limits.max_output_tokens.or(known.max_output_tokens),
                    max_thinking_budget: limits.max_thinking_budget.or(known.max_thinking_budget),
                    capabilities: model.capabilities.unwrap_or(known.capabilities),
                }
            })
            .collect()
    }
}

/// The HTTP shape an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum ProviderWire {
    /// Anthropic Messages: `POST {endpoint}/messages`.
    Anthropic,
    /// OpenAI Chat Completions: `POST {endpoint}/chat/completions`.
    #[serde(rename = "openai-chat")]
    OpenAiChat,
    /// Deterministic answers from inside the server, in every dialect; for trying things out, refused in production.
    Demo,
}

impl ProviderWire {
    /// The format this provider speaks. `demo` has none of its own: it answers in the caller's.
    pub(crate) const fn format(self) -> Option<Format> {
        match self {
            Self::Anthropic => Some(Format::AnthropicMessages),
            Self::OpenAiChat => Some(Format::OpenAiChat),
            Self::Demo => None,
        }
    }

    /// The name in the configuration.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAiChat => "openai-chat",
            Self::Demo => "demo",
        }
    }
}

/// The client family to which a provider's models are advertised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Surface {
    /// Claude Code, Claude Desktop and the Anthropic SDKs.
    Anthropic,
    /// OpenAI SDKs and compatible clients.
    OpenAi,
    /// Gemini SDKs.
    Gemini,
    /// Callable by name, never listed.
    Backend,
}

/// One model of a provider.
#[derive(Debug, Clone, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelConfig {
    /// The id clients ask for; unique over all providers together with the aliases.
    pub id: String,
    /// Other ids that mean the same model, such as dated ones.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub aliases: Vec<String>,
    /// Name shown to people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The name sent upstream, if it differs from `id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub upstream_model: Option<String>,
    /// Prices in US dollars per million tokens. Absent: the built-in catalog's prices of the model with this id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<PricingConfig>,
    /// Sizes the model can take.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<ModelLimits>,
    /// What the model can do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capabilities: Option<Capabilities>,
}

/// Prices in US dollars per million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PricingConfig {
    /// Tokens read that were not in the provider's cache.
    pub input_per_million: f64,
    /// Tokens generated.
    pub output_per_million: f64,
    /// Tokens read from the provider's prompt cache; as input unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_per_million: Option<f64>,
    /// Tokens written to the provider's prompt cache; as input unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_million: Option<f64>,
    /// Tokens written to the provider's prompt cache for an hour; 1.6 times `cache_write_per_million` unless given, as at
    /// Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_million: Option<f64>,
    /// A thousand searches of the web that the provider makes by itself, in US dollars; free unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_search_per_thousand: Option<f64>,
    /// Other prices for long prompts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub long_prompt: Option<LongPromptPricing>,
    /// What other classes of service cost, as factors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub service_tiers: Option<ServiceTiers>,
}

impl From<PricingConfig> for Pricing {
    fn from(config: PricingConfig) -> Self {
        Self {
            input_per_million: config.input_per_million,
            output_per_million: config.output_per_million,
            cache_read_per_million: config.cache_read_per_million.unwrap_or(config.input_per_million),
            cache_write_per_million: config.cache_write_per_million.unwrap_or(config.input_per_million),
            cache_write_1h_per_million: config.cache_write_1h_per_million,
            web_search_per_thousand: config.web_search_per_thousand.unwrap_or(0.0),
            long_prompt: config.long_prompt,
            service_tiers: config.service_tiers,
        }
    }
}

/// Sizes in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelLimits {
    /// Longest input and output together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_window: Option<u64>,
    /// Longest output; a larger `max_tokens` is lowered to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u64>,
    /// Most tokens of thinking, for models that take a budget.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_thinking_budget: Option<u64>,
}

/// Time limits of upstream calls, in milliseconds; a limit of 0 is no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(clippy::struct_field_names, reason = "the keys of the profile say their unit")]
pub(crate) struct Resilience {
    /// Establishing a connection, name look-up and TLS included. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout_ms: Option<u64>,
    /// From sending a streamed request to the first byte of the answer. Default 600000: models think that long.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout_ms: Option<u64>,
    /// How long a caller who asked for a stream waits for the head of the provider's answer. After it the caller gets status
    /// 200 and signs of life, so that nothing in between hangs up, and an error of the provider comes as an event. Default
    /// 45000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head_patience_ms: Option<u64>,
    /// Between two chunks of an answer. Default 600000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle_timeout_ms: Option<u64>,
    /// The whole call, if the answer is not streamed: its first byte is its last, so nothing else bounds it. A stream may
    /// go on as long as something comes. Default 900000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout_ms: Option<u64>,
    /// Keeping a connection on which nothing is asked; less if the provider says so in `Keep-Alive`. Default 15000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_idle_timeout_ms: Option<u64>,
    /// Policies' look at an answer that they hold back. What they did not judge by then the caller does not get. Default
    /// 30000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inspection_timeout_ms: Option<u64>,
}

impl Resilience {
    /// What is in force where nobody says otherwise.
    pub(crate) const USUAL: Self = Self {
        connect_timeout_ms: Some(10_000),
        first_byte_timeout_ms: Some(600_000),
        head_patience_ms: Some(45_000),
        stream_idle_timeout_ms: Some(600_000),
        request_timeout_ms: Some(900_000),
        pool_idle_timeout_ms: Some(15_000),
        inspection_timeout_ms: Some(30_000),
    };

    /// The schema of the limits for all providers, in which each has its usual value as default. One provider's own limits
    /// have none: what they leave out is that of all.
    pub(crate) fn schema_for_all(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = Self::json_schema(generator);
        let usual = serde_json::to_value(Self::USUAL).unwrap_or_default();
        for (key, value) in usual.as_object().into_iter().flatten() {
            let property = schema.pointer_mut(&format!("/properties/{key}")).and_then(serde_json::Value::as_object_mut);
            if let Some(property) = property {
                property.insert("default".to_owned(), value.clone());
            }
        }
        schema
    }
}

/// The time limits in force for one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// Establishing a connection.
    pub connect: Duration,
    /// Until the head of a streamed answer.
    pub first_byte: Duration,
    /// Until the caller of a stream is answered without a head from the provider.
    pub head_patience: Duration,
    /// Between two chunks.
    pub idle: Duration,
    /// The whole call, if it is not streamed.
    pub total: Duration,
    /// Keeping an idle connection.
    pub pool_idle: Duration,
    /// Policies' look at an answer.
    pub inspection: Duration,
}

impl Timeouts {
    /// The limits of a provider over those of the gateway over the defaults.
    pub(crate) fn resolve(gateway: &Resilience, provider: Option<&Resilience>) -> Self {
        // A year stands for "no limit": timers need no second code path.
        const UNLIMITED: Duration = Duration::from_hours(365 * 24);
        let pick = |field: fn(&Resilience) -> Option<u64>| {
            let limit = provider.and_then(field).or_else(|| field(gateway)).or_else(|| field(&Resilience::USUAL));
            match limit {
                None | Some(0) => UNLIMITED,
                Some(milliseconds) => Duration::from_millis(milliseconds),
            }
        };
        Self {
            connect: pick(|r| r.connect_timeout_ms),
            first_byte: pick(|r| r.first_byte_timeout_ms),
            head_patience: pick(|r| r.head_patience_ms),
            idle: pick(|r| r.stream_idle_timeout_ms),
            total: pick(|r| r.request_timeout_ms),
            pool_idle: pick(|r| r.pool_idle_timeout_ms),
            inspection: pick(|r| r.inspection_timeout_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_fall_back_from_provider_to_gateway_to_default() {
        let gateway =
            Resilience { connect_timeout_ms: Some(5), first_byte_timeout_ms: Some(6), ..Resilience::default() };
        let provider = Resilience { connect_timeout_ms: Some(1), request_timeout_ms: Some(0), ..Resilience::default() };
        let timeouts = Timeouts::resolve(&gateway, Some(&provider));
        assert_eq!(timeouts.connect, Duration::from_millis(1));
        assert_eq!(timeouts.first_byte, Duration::from_millis(6));
        assert_eq!(timeouts.idle, Duration::from_mins(10));
        assert!(timeouts.total > Duration::from_secs(1_000_000));
    }
}
