//! A provider and its models, as the key `providers` describes them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_llm::Format;
use systemprompt_llm::catalog::{self, Capabilities, CatalogModel, LongPromptPricing, Pricing, ServiceTiers};

use super::resilience::Resilience;

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
    /// Whether the provider is told which trace a request is part of (W3C `traceparent`): the caller's, or else the server's.
    /// For models of your own that record spans too; others could tell by it which requests belong together.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub trace_context: bool,
    /// Whether the provider takes `stream_options.include_usage` (wire `openai-chat`), which a streamed answer is counted by.
    /// Absent: it is asked for until the provider says that it does not know the field.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_usage: Option<bool>,
    /// The models offered. Absent: the built-in catalog's models of the provider of this name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelConfig>,
    /// Time limits, retries and protection of the provider, over those of `gateway.resilience`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resilience: Option<Resilience>,
    /// How the provider treats what it is sent: what routes with `requires` go by.
    #[serde(default, skip_serializing_if = "DataHandling::is_default")]
    pub governance: DataHandling,
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

/// How data is treated: what a provider declares, or what a route demands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct DataHandling {
    /// It is processed within the European Union.
    pub european: bool,
    /// Nothing of it is kept once it was answered.
    pub no_retain: bool,
}

impl DataHandling {
    /// Whether nothing is declared or demanded.
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What of this, demanded, `declared` does not promise.
    pub(crate) fn missing(self, declared: Self) -> Vec<&'static str> {
        let demands =
            [("european", self.european, declared.european), ("no_retain", self.no_retain, declared.no_retain)];
        demands.into_iter().filter(|(_, demanded, promised)| *demanded && !promised).map(|(name, ..)| name).collect()
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
