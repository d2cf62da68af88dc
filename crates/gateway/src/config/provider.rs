//! A provider and its models, as the key `providers` describes them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_llm::catalog::{
    Capabilities, Catalog, CatalogModel, Decimal, LongPromptPricing, Pricing, ServiceTiers,
};

use super::auth::{Auth, IdentityConfig};
use super::resilience::Resilience;
use super::wire::ProviderWire;

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
    /// Base URL without a trailing slash, such as `https://api.anthropic.com/v1`. Absent: of the Bedrock wires the one of
    /// `region`, of the Vertex wires the one of `location`. Not used by the `demo` wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// The AWS region (Bedrock wires, and `auth: sigv4`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// The Google Cloud project (Vertex wires).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The Google Cloud location, such as `europe-west1`, `eu` or `global` (Vertex wires).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// How requests are authenticated. Absent: as is usual on the wire.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auth: Option<Auth>,
    /// Name of the secret that holds the API key, or what else `auth` takes: an AWS access key or a Google credential as
    /// JSON, the secret of an Entra application. Absent for private endpoints that need none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api_key_secret: Option<String>,
    /// The same for several credentials. One is used until the provider refuses it or has enough of it, then the next.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_key_secrets: Vec<String>,
    /// Where a credential comes from that is not the secret itself, and whose it is (`auth` `sigv4`, `gcp` and `entra`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityConfig>,
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
    pub supports_stream_usage: Option<bool>,
    /// What the provider calls the output limit (wire `openai-chat`), in requests written for it. Default:
    /// `max_completion_tokens`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens_field: Option<MaxTokensField>,
    /// Whether the provider knows the role `developer` (wires `openai-chat` and `openai-responses`). Otherwise requests
    /// written for it have `system` there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub supports_developer_role: Option<bool>,
    /// The models offered. Absent: the built-in catalog's models of the provider of this name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelConfig>,
    /// Time limits, retries and protection of the provider, over those of `gateway.resilience`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resilience: Option<Resilience>,
    /// The region in which the provider processes what it is sent, such as `eu` or `de`: what the policy `residency` goes by.
    /// Default: `region` or `location`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_region: Option<String>,
    /// How the provider treats what it is sent: what routes with `requires` go by.
    #[serde(default, skip_serializing_if = "DataHandling::is_default")]
    pub governance: DataHandling,
}

/// What a provider calls the output limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MaxTokensField {
    /// As OpenAI did at first, and as most compatible servers do.
    MaxTokens,
    /// As OpenAI does.
    MaxCompletionTokens,
}

impl ProviderConfig {
    /// The base URL, stated or of the place.
    pub(crate) fn base_url(&self) -> Option<String> {
        let stated = self.endpoint.clone();
        stated.or_else(|| self.wire.endpoint_of(self.region.as_deref(), self.location.as_deref()))
    }

    /// Where it processes what it is sent, as far as it says so.
    pub(crate) fn data_region(&self) -> Option<&str> {
        self.data_region.as_deref().or(self.region.as_deref()).or(self.location.as_deref())
    }

    /// How requests are authenticated: as stated, or as is usual on the wire if there is anything to do it with.
    pub(crate) fn authentication(&self) -> Auth {
        let usual = self.wire.usual_auth();
        let has_key = self.secrets().next().is_some();
        self.auth.clone().unwrap_or(if has_key || usual.is_identity() { usual } else { Auth::None })
    }

    /// The names of the secrets of its credentials, with their keys in the configuration.
    pub(crate) fn secrets(&self) -> impl Iterator<Item = (String, &str)> {
        let one = self.api_key_secret.as_deref().map(|name| ("api_key_secret".to_owned(), name));
        let several = self.api_key_secrets.iter().enumerate();
        one.into_iter().chain(several.map(|(at, name)| (format!("api_key_secrets/{at}"), name.as_str())))
    }

    /// The models a provider offers: its own list, else the catalog's for its name. Prices and limits a model does
    /// not state come from the catalog too.
    pub(crate) fn models(&self, catalog: &Catalog) -> Vec<CatalogModel> {
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

/// Prices in US dollars.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PricingConfig {
    /// A million tokens read that were not in the provider's cache.
    pub input_per_million: Decimal,
    /// A million tokens generated.
    pub output_per_million: Decimal,
    /// A million tokens read from the provider's prompt cache; as input unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_per_million: Option<Decimal>,
    /// A million tokens written to the provider's prompt cache; as input unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_million: Option<Decimal>,
    /// A million tokens written to the provider's prompt cache for an hour; 1.6 times `cache_write_per_million` unless given,
    /// as at Anthropic.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_1h_per_million: Option<Decimal>,
    /// A million tokens of reasoning; as output unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning_per_million: Option<Decimal>,
    /// A million tokens of sound that is read; as input unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_input_per_million: Option<Decimal>,
    /// A million tokens of sound that is made; as output unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio_output_per_million: Option<Decimal>,
    /// A million tokens of images that are read; as input unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_input_per_million: Option<Decimal>,
    /// A million tokens of images that are made; as output unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_output_per_million: Option<Decimal>,
    /// An image that is made, besides its tokens; free unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_image: Option<Decimal>,
    /// The same in cents; instead of `per_image`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_image_cents: Option<Decimal>,
    /// A request, besides everything else; free unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_request: Option<Decimal>,
    /// A thousand searches of the web that the provider makes by itself; free unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web_search_per_thousand: Option<Decimal>,
    /// Whether a request that searched the web pays for one search, however many it made.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub web_search_once: bool,
    /// A thousand searches in files that the provider keeps; free unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_search_per_thousand: Option<Decimal>,
    /// A thousand runs of code at the provider; free unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code_execution_per_thousand: Option<Decimal>,
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
            reasoning_per_million: config.reasoning_per_million,
            audio_input_per_million: config.audio_input_per_million,
            audio_output_per_million: config.audio_output_per_million,
            image_input_per_million: config.image_input_per_million,
            image_output_per_million: config.image_output_per_million,
            per_image: config.per_image.or(config.per_image_cents.map(Decimal::cents)).unwrap_or_default(),
            per_request: config.per_request.unwrap_or_default(),
            web_search_per_thousand: config.web_search_per_thousand.unwrap_or_default(),
            web_search_once: config.web_search_once,
            file_search_per_thousand: config.file_search_per_thousand.unwrap_or_default(),
            code_execution_per_thousand: config.code_execution_per_thousand.unwrap_or_default(),
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
