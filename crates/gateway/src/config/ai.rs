//! `services/ai/config.yaml`: what callers inside the server ask if they do not say it.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use systemprompt_config::{Configuration, Place, Problem};
use systemprompt_llm::catalog::{Catalog, CatalogModel};

use super::provider::ProviderConfig;
use super::wire::ProviderWire;

/// What callers inside the server ask if they do not say it.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AiConfig {
    /// The provider whose default model is asked if a request names neither.
    pub default_provider: Option<String>,
    /// The longest answer in tokens, unless a request says it.
    #[schemars(range(min = 1))]
    pub default_max_output_tokens: u64,
    /// The providers of the profile, by name.
    pub providers: BTreeMap<String, AiProviderConfig>,
    /// Not taken: what chooses among providers are `gateway.routes` of the profile.
    pub sampling: Option<Value>,
    /// Not taken: a route of the profile has `fallbacks`.
    pub fallbacks: Option<Value>,
    /// Not taken yet: there are no MCP servers.
    pub mcp: Option<Value>,
    /// Not taken: contents of requests expire as `governance.ledger` says.
    pub history: Option<Value>,
}

/// What callers inside the server ask of a provider.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AiProviderConfig {
    /// Whether callers inside the server may ask it. Clients over HTTP may whatever this says.
    pub enabled: bool,
    /// The model that answers if a request names none.
    pub default_model: Option<String>,
    /// The model that makes images if a request names none.
    pub default_image_model: Option<String>,
    /// Whether it may search with Google (wires `gemini` and `vertex-gemini`).
    pub google_search_enabled: bool,
    /// Not taken: the profile has `providers[].resilience`.
    pub resilience: Option<Value>,
    /// Not taken: the profile has `providers[].api_key_secret`.
    pub api_key: Option<Value>,
    /// Not taken: the profile has `providers[].endpoint`.
    pub endpoint: Option<Value>,
}

impl Default for AiConfig {
    fn default() -> Self {
        Self {
            default_provider: None,
            default_max_output_tokens: 4096,
            providers: BTreeMap::new(),
            sampling: None,
            fallbacks: None,
            mcp: None,
            history: None,
        }
    }
}

impl Default for AiProviderConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            default_model: None,
            default_image_model: None,
            google_search_enabled: false,
            resilience: None,
            api_key: None,
            endpoint: None,
        }
    }
}

impl AiConfig {
    /// Where it is written.
    pub(crate) const PLACE: Place = Place::Service { path: "ai/*.yaml", key: "ai" };

    /// Whether callers inside the server may ask a provider.
    pub(crate) fn allows(&self, provider: &str) -> bool {
        self.providers.get(provider).is_none_or(|provider| provider.enabled)
    }

    /// The providers that callers inside the server may not ask.
    pub(crate) fn disabled(&self) -> Vec<String> {
        self.providers.iter().filter(|(_, settings)| !settings.enabled).map(|(name, _)| name.clone()).collect()
    }

    /// Everything that is wrong with it, beside these providers.
    pub(crate) fn check(config: &Configuration, providers: &[ProviderConfig], catalog: &Catalog) -> Vec<Problem> {
        let Ok(ai) = config.section_at::<Self>(&Self::PLACE) else {
            // The schema has said so already.
            return Vec::new();
        };
        let mut problems = Vec::new();
        let mut complain = |pointer: String, message: String, fix: String| {
            problems.push(config.error(Self::PLACE.key(), &pointer, message).suggest(fix));
        };
        for (key, value, instead) in [
            (
                "sampling",
                &ai.sampling,
                "send models to providers with `gateway.routes` of the profile: `when`, `providers` with weights, `fallbacks`",
            ),
            (
                "fallbacks",
                &ai.fallbacks,
                "give the model's route `fallbacks`: `gateway.routes[].fallbacks` of the profile",
            ),
            ("mcp", &ai.mcp, "remove it: there are no MCP servers yet"),
            (
                "history",
                &ai.history,
                "set `governance.ledger` in services/governance/config.yaml: contents of requests expire there",
            ),
        ] {
            if value.is_some() {
                complain(format!("/{key}"), "is not taken".to_owned(), instead.to_owned());
            }
        }
        let known = |name: &str| providers.iter().find(|provider| provider.name == name);
        let names = || providers.iter().map(|provider| format!("`{}`", provider.name)).collect::<Vec<_>>().join(", ");
        if let Some(name) = &ai.default_provider {
            if known(name).is_none() {
                let fix = format!("name one of the profile's providers: {}", names());
                complain("/default_provider".to_owned(), format!("there is no provider `{name}`"), fix);
            } else if !ai.allows(name) {
                let fix = format!("set ai.providers.{name}.enabled, or name another");
                complain("/default_provider".to_owned(), format!("the provider `{name}` is disabled"), fix);
            }
        }
        // A model may be any provider's: its route decides where it leads.
        let models: Vec<CatalogModel> = providers.iter().flat_map(|provider| provider.models(catalog)).collect();
        let listed = |id: &str| {
            let named = |model: &&CatalogModel| model.id == id || model.aliases.iter().any(|alias| alias == id);
            models.iter().find(named)
        };
        for (name, settings) in &ai.providers {
            let at = |field: &str| format!("/providers/{name}/{field}");
            let Some(provider) = known(name) else {
                let fix = format!("name one of the profile's providers: {}", names());
                complain(format!("/providers/{name}"), format!("there is no provider `{name}`"), fix);
                continue;
            };
            for (key, value, instead) in [
                ("resilience", &settings.resilience, "resilience"),
                ("api_key", &settings.api_key, "api_key_secret"),
                ("endpoint", &settings.endpoint, "endpoint"),
            ] {
                if value.is_some() {
                    let fix = format!("set `providers[].{instead}` of the profile");
                    complain(at(key), "is not taken: how a provider is reached stands in the profile".to_owned(), fix);
                }
            }
            for (key, model) in
                [("default_model", &settings.default_model), ("default_image_model", &settings.default_image_model)]
            {
                let Some(model) = model else { continue };
                match listed(model) {
                    None => complain(
                        at(key),
                        format!("no provider offers the model `{model}`"),
                        "name a model of `GET /v1/models`, or list it in providers[].models".to_owned(),
                    ),
                    Some(found) if key == "default_image_model" && !found.capabilities.image_generation => complain(
                        at(key),
                        format!("the model `{model}` makes no images"),
                        "name one with the capability `image_generation`".to_owned(),
                    ),
                    Some(_) => {}
                }
            }
            if settings.google_search_enabled
                && !matches!(provider.wire, ProviderWire::Gemini | ProviderWire::VertexGemini)
            {
                complain(
                    at("google_search_enabled"),
                    format!("the provider `{name}` of the wire `{}` cannot search with Google", provider.wire.as_str()),
                    "remove it; searches of other vendors need no setting".to_owned(),
                );
            }
        }
        problems
    }
}
