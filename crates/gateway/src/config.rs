//! The profile keys `providers` and `gateway`, and the checks they must pass before the server starts.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_llm::catalog::{self, Capabilities, CatalogModel, Pricing};
use systemprompt_llm::{Effort, Format, ResponseFormat};
use systemprompt_model::pattern::Pattern;
use url::{Host, Url};

/// One upstream provider: an endpoint, the wire it speaks, its credential and its models.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderConfig {
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
    /// The models offered. Absent: the built-in catalog's models of the provider of this name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelConfig>,
    /// Time limits, over those of `gateway.resilience`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resilience: Option<Resilience>,
}

/// The HTTP shape an upstream speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ProviderWire {
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
    pub const fn format(self) -> Option<Format> {
        match self {
            Self::Anthropic => Some(Format::AnthropicMessages),
            Self::OpenAiChat => Some(Format::OpenAiChat),
            Self::Demo => None,
        }
    }

    /// The name in the configuration.
    pub const fn as_str(self) -> &'static str {
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
pub enum Surface {
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
pub struct ModelConfig {
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
}

impl From<PricingConfig> for Pricing {
    fn from(config: PricingConfig) -> Self {
        Self {
            input_per_million: config.input_per_million,
            output_per_million: config.output_per_million,
            cache_read_per_million: config.cache_read_per_million.unwrap_or(config.input_per_million),
            cache_write_per_million: config.cache_write_per_million.unwrap_or(config.input_per_million),
            long_prompt: None,
        }
    }
}

/// Sizes in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ModelLimits {
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
pub struct Resilience {
    /// Establishing a connection, name look-up and TLS included. Default 10000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connect_timeout_ms: Option<u64>,
    /// From sending a streamed request to the first byte of the answer. Default 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_byte_timeout_ms: Option<u64>,
    /// Between two chunks of an answer. Default 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_idle_timeout_ms: Option<u64>,
    /// The whole call. A buffered answer is only bounded by this one, since its first byte is its last. Default 600000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_timeout_ms: Option<u64>,
}

/// The time limits in force for one provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// Establishing a connection.
    pub connect: Duration,
    /// Until the head of a streamed answer.
    pub first_byte: Duration,
    /// Between two chunks.
    pub idle: Duration,
    /// The whole call.
    pub total: Duration,
}

impl Timeouts {
    /// The limits of a provider over those of the gateway over the defaults.
    pub fn resolve(gateway: &Resilience, provider: Option<&Resilience>) -> Self {
        // A year stands for "no limit": timers need no second code path.
        const UNLIMITED: Duration = Duration::from_hours(365 * 24);
        let pick = |field: fn(&Resilience) -> Option<u64>, default: u64| match provider
            .and_then(field)
            .or_else(|| field(gateway))
            .unwrap_or(default)
        {
            0 => UNLIMITED,
            milliseconds => Duration::from_millis(milliseconds),
        };
        Self {
            connect: pick(|r| r.connect_timeout_ms, 10_000),
            first_byte: pick(|r| r.first_byte_timeout_ms, 60_000),
            idle: pick(|r| r.stream_idle_timeout_ms, 60_000),
            total: pick(|r| r.request_timeout_ms, 600_000),
        }
    }
}

/// The `gateway` block of the profile.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// Whether the inference endpoints answer.
    pub enabled: bool,
    /// Rules that send a model to a provider; the first that matches wins. A model of the registry that no rule
    /// matches goes to the provider that lists it.
    pub routes: Vec<RouteConfig>,
    /// Adds a last rule that sends every model to this provider.
    pub default_provider: Option<String>,
    /// The model offered to clients first.
    pub default_model: Option<String>,
    /// Whether models that no provider lists may be asked for by matching a route's pattern.
    pub allow_unlisted_models: bool,
    /// The credential scheme advertised to devices.
    pub auth_scheme: AuthScheme,
    /// Path the inference endpoints are served under.
    pub inference_path_prefix: String,
    /// Whether every request must carry `x-session-id`; otherwise a session is derived from the credential, the
    /// client and the conversation.
    pub require_session_id: bool,
    /// Whether `GET /v1/models` answers without a credential.
    pub models_public: bool,
    /// Status of refusals by content policies.
    pub policy_deny_status: PolicyDenyStatus,
    /// Largest request body in bytes.
    pub max_body_bytes: usize,
    /// Time limits of upstream calls.
    pub resilience: Resilience,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            enabled: false,
            routes: Vec::new(),
            default_provider: None,
            default_model: None,
            allow_unlisted_models: false,
            auth_scheme: AuthScheme::Bearer,
            inference_path_prefix: "/v1".to_owned(),
            require_session_id: false,
            models_public: false,
            policy_deny_status: PolicyDenyStatus::default(),
            max_body_bytes: 8 * 1024 * 1024,
            resilience: Resilience::default(),
        }
    }
}

/// How clients present their credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuthScheme {
    /// `Authorization: Bearer`.
    Bearer,
    /// `x-api-key`.
    XApiKey,
}

/// The HTTP status of a refusal by a content policy: 400 (default), 403 or 451.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct PolicyDenyStatus(u16);

impl PolicyDenyStatus {
    /// The status code.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl Default for PolicyDenyStatus {
    /// 400: desktop clients treat 401 and 403 as a broken credential and start a new sign-in.
    fn default() -> Self {
        Self(400)
    }
}

impl TryFrom<u16> for PolicyDenyStatus {
    type Error = String;

    fn try_from(status: u16) -> Result<Self, String> {
        match status {
            400 | 403 | 451 => Ok(Self(status)),
            _ => Err(format!("{status} is not one of 400, 403, 451")),
        }
    }
}

impl From<PolicyDenyStatus> for u16 {
    fn from(status: PolicyDenyStatus) -> u16 {
        status.0
    }
}

impl JsonSchema for PolicyDenyStatus {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "PolicyDenyStatus".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "enum": [400, 403, 451] })
    }
}

/// A rule that sends requests for a model to a provider.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RouteConfig {
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

/// Features a request must have for a route to match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct When {
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
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// One thing that is wrong with the `providers` or `gateway` keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The profile key: `providers` or `gateway`.
    pub key: &'static str,
    /// JSON pointer below that key.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub fix: String,
}

/// The models a provider offers: its own list, else the built-in catalog's for its name. Prices and limits a model does
/// not state come from the catalog too.
pub fn models_of(provider: &ProviderConfig) -> Vec<CatalogModel> {
    let catalog = catalog::default_catalog();
    if provider.models.is_empty() {
        return catalog.iter().filter(|model| model.provider == provider.name).cloned().collect();
    }
    provider
        .models
        .iter()
        .map(|model| {
            let known = catalog.find(&model.id).cloned().unwrap_or_default();
            let limits = model.limits.unwrap_or_default();
            CatalogModel {
                id: model.id.clone(),
                provider: provider.name.clone(),
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

/// What the checks need to know from outside the two keys.
#[derive(Debug, Clone, Default)]
pub struct Surroundings {
    /// Whether the profile describes a production environment.
    pub production: bool,
    /// Names of the secrets that exist.
    pub secrets: BTreeSet<String>,
    /// Hosts that may be reached over plain HTTP or at private addresses.
    pub trusted_hosts: BTreeSet<String>,
}

/// Every mistake in the two keys, in document order.
pub fn check(providers: &[ProviderConfig], gateway: &GatewayConfig, around: &Surroundings) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut complain = |key, pointer: String, message: String, fix: &str| {
        mistakes.push(Mistake { key, pointer, message, fix: fix.to_owned() });
    };
    let mut names = BTreeSet::new();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();

    for (index, provider) in providers.iter().enumerate() {
        let at = |field: &str| format!("/{index}/{field}");
        if provider.name.is_empty() || !names.insert(provider.name.as_str()) {
            complain(
                "providers",
                at("name"),
                format!("the name `{}` is empty or used twice", provider.name),
                "give every provider a name of its own",
            );
        }
        match (provider.wire, provider.endpoint.as_deref()) {
            (ProviderWire::Demo, _) if around.production => complain(
                "providers",
                at("wire"),
                format!(
                    "the provider `{}` gives demonstration answers and cannot serve a production profile",
                    provider.name
                ),
                "remove the provider, or set runtime.environment to development",
            ),
            (ProviderWire::Demo, None) => {}
            (ProviderWire::Demo, Some(_)) => complain(
                "providers",
                at("endpoint"),
                "the demo provider runs inside the server and has no endpoint".to_owned(),
                "remove the key",
            ),
            (_, None) => complain(
                "providers",
                at("endpoint"),
                format!("the provider `{}` has no endpoint", provider.name),
                "add its base URL, such as https://api.example.com/v1",
            ),
            (_, Some(endpoint)) => {
                if let Err(reason) = check_endpoint(endpoint, &around.trusted_hosts) {
                    complain(
                        "providers",
                        at("endpoint"),
                        reason,
                        "use an https URL of a public host, or list the host in SYSTEMPROMPT_TRUSTED_HTTP_HOSTS",
                    );
                }
            }
        }
        if let Some(secret) = provider.api_key_secret.as_ref().filter(|secret| !around.secrets.contains(*secret)) {
            complain(
                "providers",
                at("api_key_secret"),
                format!("the secret `{secret}` does not exist"),
                "add it to the profile's secrets.json, or export its environment variable",
            );
        }
        for (name, value) in &provider.extra_headers {
            check_header(name, value, |reason| {
                complain(
                    "providers",
                    at(&format!("extra_headers/{name}")),
                    reason,
                    "use letters, digits and hyphens in the name and one line of text as the value",
                );
            });
        }
        let models = models_of(provider);
        if models.is_empty() {
            complain(
                "providers",
                at("models"),
                format!("the provider `{}` lists no models and the built-in catalog knows none for it", provider.name),
                "list at least one model with its pricing",
            );
        }
        for (position, model) in models.iter().enumerate() {
            for id in std::iter::once(&model.id).chain(&model.aliases) {
                if let Some(other) = ids.insert(id.clone(), provider.name.clone()) {
                    complain(
                        "providers",
                        at(&format!("models/{position}/id")),
                        format!("the model id `{id}` is already taken by the provider `{other}`"),
                        "model ids and aliases are unique over all providers; rename one, or set upstream_model",
                    );
                }
            }
            if let Some(field) = model.pricing.and_then(|pricing| pricing.invalid_field()) {
                complain(
                    "providers",
                    at(&format!("models/{position}/pricing/{field}")),
                    format!("the price of `{}` is not a number of dollars, zero or more", model.id),
                    "write the price of a million tokens in US dollars",
                );
            }
            if model.pricing.is_none() {
                complain(
                    "providers",
                    at(&format!("models/{position}/id")),
                    format!("the model `{}` has no price and the built-in catalog knows none", model.id),
                    "add pricing: { input_per_million, output_per_million }",
                );
            }
        }
    }

    let mut route_ids = BTreeSet::new();
    for (index, route) in gateway.routes.iter().enumerate() {
        let at = |field: &str| format!("/routes/{index}/{field}");
        if !names.contains(route.provider.as_str()) {
            complain(
                "gateway",
                at("provider"),
                format!("no provider is called `{}`", route.provider),
                &known_names(&names),
            );
        }
        let pattern = Pattern::new(&route.model_pattern);
        if let Err(error) = &pattern {
            complain(
                "gateway",
                at("model_pattern"),
                format!("`{}` is not a pattern: {error}", route.model_pattern),
                "write an id, with `*` for any text and `?` for one character",
            );
        }
        let id = crate::routing::route_id(route);
        if !route_ids.insert(id.clone()) {
            complain(
                "gateway",
                at("id"),
                format!("two routes have the id `{id}`"),
                "give one of them an id of its own",
            );
        }
        // A route that only passes on what callers ask for still needs a price for it.
        let priced = route.pricing.is_some()
            || route.upstream_model.as_ref().is_some_and(|model| ids.contains_key(model))
            || (route.upstream_model.is_none() && pattern.is_ok_and(|pattern| ids.keys().any(|id| pattern.fits(id))));
        if !priced && names.contains(route.provider.as_str()) {
            complain(
                "gateway",
                at("pricing"),
                format!("the route for `{}` reaches no model with a price", route.model_pattern),
                "list the model with its pricing under the provider, or add pricing to the route",
            );
        }
        for (name, value) in &route.extra_headers {
            check_header(name, value, |reason| {
                complain(
                    "gateway",
                    at(&format!("extra_headers/{name}")),
                    reason,
                    "use letters, digits and hyphens in the name and one line of text as the value",
                );
            });
        }
    }
    if let Some(provider) = gateway.default_provider.as_deref().filter(|name| !names.contains(name)) {
        complain(
            "gateway",
            "/default_provider".to_owned(),
            format!("no provider is called `{provider}`"),
            &known_names(&names),
        );
    }
    if let Some(model) = gateway.default_model.as_ref().filter(|model| !ids.contains_key(strip_marker(model))) {
        complain(
            "gateway",
            "/default_model".to_owned(),
            format!("no provider offers the model `{model}`"),
            "name a model of a provider, or remove the key",
        );
    }
    if !gateway.inference_path_prefix.starts_with('/')
        || gateway.inference_path_prefix.ends_with('/')
        || gateway.inference_path_prefix.contains(['{', '*'])
    {
        complain(
            "gateway",
            "/inference_path_prefix".to_owned(),
            format!("`{}` is not a path", gateway.inference_path_prefix),
            "start with a slash and do not end with one, e.g. /v1",
        );
    }
    if gateway.max_body_bytes == 0 {
        complain(
            "gateway",
            "/max_body_bytes".to_owned(),
            "no request fits into 0 bytes".to_owned(),
            "the default is 8388608",
        );
    }
    mistakes
}

/// The model id without the client hint some clients append, as in `claude-sonnet-4-5[1m]`.
pub fn strip_marker(model: &str) -> &str {
    match model.rfind('[') {
        Some(start) if start > 0 && model.ends_with(']') => &model[..start],
        _ => model,
    }
}

fn known_names(names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        "no provider is configured; add one under `providers`".to_owned()
    } else {
        format!("the providers are {}", names.iter().copied().collect::<Vec<_>>().join(", "))
    }
}

fn check_header(name: &str, value: &str, mut complain: impl FnMut(String)) {
    // These say where a request ends and whom it is for; a second word on that is how requests are smuggled.
    let framing = [
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    ];
    if framing.contains(&name.to_ascii_lowercase().as_str()) {
        complain(format!("the header `{name}` is set by the connection"));
    }
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() || http::HeaderValue::from_str(value).is_err() {
        complain(format!("`{name}` is not a header name with a valid value"));
    }
}

/// Whether an endpoint may be configured: https, or http to this machine or a trusted host; never a literal private
/// address that is not trusted. Names are checked again when they are resolved, see [`crate::upstream::resolver`].
fn check_endpoint(endpoint: &str, trusted: &BTreeSet<String>) -> Result<(), String> {
    let url = Url::parse(endpoint).map_err(|error| format!("`{endpoint}` is not a URL: {error}"))?;
    let host = url.host().ok_or_else(|| format!("`{endpoint}` has no host"))?;
    if endpoint.ends_with('/') {
        return Err(format!("`{endpoint}` ends with a slash"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err("the endpoint carries a user, a query or a fragment".to_owned());
    }
    let is_trusted = trusted.contains(&host.to_string().to_ascii_lowercase());
    let (is_loopback, is_private) = match host {
        Host::Domain(name) => (name == "localhost" || name.ends_with(".localhost"), false),
        Host::Ipv4(ip) => (ip.is_loopback(), !is_public(ip.into())),
        Host::Ipv6(ip) => (ip.is_loopback(), !is_public(ip.into())),
    };
    match url.scheme() {
        _ if is_loopback || is_trusted => Ok(()),
        "https" if is_private => Err(format!("`{endpoint}` names a private address")),
        "https" => Ok(()),
        "http" => Err(format!("`{endpoint}` would send prompts and the API key in clear text")),
        other => Err(format!("`{endpoint}` has the scheme {other}")),
    }
}

/// Whether an address is one of the public internet: not loopback, private, link-local, carrier-grade NAT (RFC 6598),
/// unspecified, multicast or documentation space.
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            !(ip.is_loopback()
                || ip.is_private()
                || ip.is_link_local()
                || ip.is_unspecified()
                || ip.is_multicast()
                || ip.is_broadcast()
                || ip.is_documentation()
                || a == 0
                || (a == 100 && (64..128).contains(&b))
                // Protocol assignments, benchmarking, reserved.
                || (a == 192 && b == 0)
                || (a == 198 && (18..20).contains(&b))
                || a >= 240)
        }
        IpAddr::V6(ip) => {
            if let Some(mapped) = ip.to_ipv4_mapped() {
                return is_public(mapped.into());
            }
            let [first, second, ..] = ip.segments();
            // Addresses that carry an IPv4 address lead wherever that leads: NAT64, 6to4, IPv4-compatible.
            let octets = ip.octets();
            let inner = match (first, second) {
                (0x0064, 0xff9b) => octets.last_chunk::<4>().copied(),
                (0x2002, _) => octets[2..6].try_into().ok(),
                (0, 0) if octets[..12].iter().all(|octet| *octet == 0) => octets.last_chunk::<4>().copied(),
                _ => None,
            };
            if let Some(inner) = inner {
                return is_public(std::net::Ipv4Addr::from(inner).into());
            }
            !(ip.is_loopback()
                || ip.is_unspecified()
                || ip.is_multicast()
                || (first & 0xfe00) == 0xfc00
                || (first & 0xffc0) == 0xfe80
                || (first & 0xffc0) == 0xfec0
                || (first == 0x2001 && second == 0x0db8))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(yaml: serde_json::Value) -> ProviderConfig {
        serde_json::from_value(yaml).expect("a provider")
    }

    #[test]
    fn endpoints() {
        let trusted = BTreeSet::from(["10.0.0.7".to_owned(), "llm.internal".to_owned()]);
        for (endpoint, accepted) in [
            ("https://api.anthropic.com/v1", true),
            ("https://api.anthropic.com/v1/", false),
            ("http://api.anthropic.com/v1", false),
            ("http://127.0.0.1:9000/v1", true),
            ("http://[::1]:9000", true),
            ("http://localhost:11434/v1", true),
            ("https://10.0.0.8/v1", false),
            ("https://[fd00::1]/v1", false),
            ("https://100.64.1.1/v1", false),
            ("https://169.254.169.254/latest", false),
            ("https://[64:ff9b::a9fe:a9fe]/latest", false),
            ("https://[2002:a00:1::]/v1", false),
            ("https://198.18.0.1/v1", false),
            ("https://[::ffff:10.0.0.8]/v1", false),
            ("http://10.0.0.7:8000/v1", true),
            ("http://llm.internal/v1", true),
            ("https://user:pw@example.com/v1", false),
            ("ftp://example.com", false),
            ("example.com/v1", false),
        ] {
            let verdict = check_endpoint(endpoint, &trusted);
            assert_eq!(verdict.is_ok(), accepted, "{endpoint}: {verdict:?}");
        }
    }

    #[test]
    fn all_mistakes_are_reported_at_once() {
        let providers = [
            provider(
                serde_json::json!({"name": "a", "wire": "anthropic", "surface": "anthropic", "api_key_secret": "nope",
                "models": [{"id": "m1", "pricing": {"input_per_million": 1.0, "output_per_million": 2.0}}]}),
            ),
            provider(
                serde_json::json!({"name": "a", "wire": "openai-chat", "surface": "openai", "endpoint": "http://example.com",
                "models": [{"id": "m1"}]}),
            ),
            provider(serde_json::json!({"name": "demo", "wire": "demo", "surface": "backend"})),
        ];
        let gateway: GatewayConfig = serde_json::from_value(serde_json::json!({
            "routes": [{"model_pattern": "", "provider": "zzz"}], "default_provider": "yyy", "default_model": "xxx",
            "inference_path_prefix": "v1/"
        }))
        .expect("a gateway block");
        let around = Surroundings { production: true, ..Surroundings::default() };
        let found: Vec<_> = check(&providers, &gateway, &around)
            .into_iter()
            .map(|mistake| format!("{}{}", mistake.key, mistake.pointer))
            .collect();
        assert_eq!(
            found,
            [
                "providers/0/endpoint",
                "providers/0/api_key_secret",
                "providers/1/name",
                "providers/1/endpoint",
                "providers/1/models/0/id",
                "providers/1/models/0/id",
                "providers/2/wire",
                "gateway/routes/0/provider",
                "gateway/routes/0/model_pattern",
                "gateway/default_provider",
                "gateway/default_model",
                "gateway/inference_path_prefix",
            ]
        );
    }

    #[test]
    fn limits_fall_back_from_provider_to_gateway_to_default() {
        let gateway =
            Resilience { connect_timeout_ms: Some(5), first_byte_timeout_ms: Some(6), ..Resilience::default() };
        let provider = Resilience { connect_timeout_ms: Some(1), request_timeout_ms: Some(0), ..Resilience::default() };
        let timeouts = Timeouts::resolve(&gateway, Some(&provider));
        assert_eq!(timeouts.connect, Duration::from_millis(1));
        assert_eq!(timeouts.first_byte, Duration::from_millis(6));
        assert_eq!(timeouts.idle, Duration::from_mins(1));
        assert!(timeouts.total > Duration::from_secs(1_000_000));
    }
}
