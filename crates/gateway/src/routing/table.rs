//! All routes and models of one configuration, and the search through them.

use std::collections::HashMap;
use std::sync::Arc;

use systemprompt_llm::InferenceRequest;
use systemprompt_llm::catalog::{CatalogModel, Pricing};
use systemprompt_model::pattern::Pattern;

use super::{Destination, Provider, Route, StreamUsage};
use crate::config::{GatewayConfig, ProviderConfig, Surface, Timeouts, strip_marker};

/// Why a request has no way to go.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoRoute {
    /// No rule, provider or default covers the model.
    #[error("No gateway route matches model `{model}`; GET {prefix}/models lists what is offered")]
    Unknown {
        /// The model asked for.
        model: String,
        /// Where the list is.
        prefix: String,
    },
    /// A pattern covers the model, but no provider lists it.
    #[error(
        "the model `{model}` is not offered; GET {prefix}/models lists what is, gateway.allow_unlisted_models allows the rest"
    )]
    NotExposed {
        /// The model asked for.
        model: String,
        /// Where the list is.
        prefix: String,
    },
    /// The model's provider speaks another wire than the request.
    #[error("the model `{model}` is served on the {wire} wire; send the request to POST {prefix}{path}")]
    OtherDialect {
        /// The model asked for.
        model: String,
        /// The wire of its provider.
        wire: &'static str,
        /// Where the gateway is.
        prefix: String,
        /// The endpoint that serves it.
        path: &'static str,
    },
}

/// All routes and models, fixed for one configuration snapshot.
#[derive(Debug)]
pub(crate) struct RoutingTable {
    rules: Vec<Arc<Route>>,
    default: Option<Arc<Route>>,
    registry: HashMap<String, Arc<Listed>>,
    listing: Vec<Arc<Listed>>,
    allow_unlisted: bool,
    prefix: String,
}

/// A model of the registry with the route that leads to its provider.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The model.
    pub model: CatalogModel,
    /// The implicit route to its provider; its id is the provider's name.
    pub route: Arc<Route>,
}

impl RoutingTable {
    /// The table of a checked configuration. Entries that name unknown providers were refused by `config::check`.
    pub(crate) fn new(providers: &[ProviderConfig], gateway: &GatewayConfig) -> Self {
        let mut by_name = HashMap::new();
        let mut registry = HashMap::new();
        let mut listing = Vec::new();
        for config in providers {
            let provider = Arc::new(Provider {
                name: config.name.clone(),
                wire: config.wire,
                surface: config.surface,
                endpoint: config.endpoint.clone().unwrap_or_default(),
                extra_headers: config.extra_headers.clone(),
                timeouts: Timeouts::resolve(&gateway.resilience, config.resilience.as_ref()),
                stream_usage: StreamUsage::new(config.stream_usage),
            });
            by_name.insert(config.name.as_str(), provider.clone());
            let route = Arc::new(Route::to(&provider, config.name.clone(), "registry"));
            for model in config.models() {
                let listed = Arc::new(Listed { model, route: route.clone() });
                for id in std::iter::once(&listed.model.id).chain(&listed.model.aliases) {
                    registry.entry(id.clone()).or_insert_with(|| listed.clone());
                }
                listing.push(listed);
            }
        }
        if let Some(first) = &gateway.default_model {
            // A stable sort keeps the configured order behind the default model.
            listing.sort_by_key(|listed| listed.model.id != strip_marker(first));
        }
        let rules = gateway
            .routes
            .iter()
            .filter_map(|config| {
                // What is missing or no pattern was reported when the configuration was checked.
                let provider = by_name.get(config.provider.as_str())?;
                Some(Arc::new(Route {
                    pattern: Pattern::new(&config.model_pattern).ok()?,
                    when: config.when.clone(),
                    upstream_model: config.upstream_model.clone(),
                    extra_headers: config.extra_headers.clone(),
                    pricing: config.pricing.map(Pricing::from),
                    ..Route::to(provider, config.route_id(), "rule")
                }))
            })
            .collect();
        let default = gateway.default_provider.as_deref().and_then(|name| {
            let provider = by_name.get(name)?;
            Some(Arc::new(Route::to(provider, format!("default-{name}"), "default")))
        });
        Self {
            rules,
            default,
            registry,
            listing,
            allow_unlisted: gateway.allow_unlisted_models,
            prefix: gateway.inference_path_prefix.clone(),
        }
    }

    /// Where a request goes.
    pub(crate) fn resolve(&self, request: &InferenceRequest) -> Result<Destination, NoRoute> {
        let asked = strip_marker(&request.model);
        let listed = self.registry.get(asked);
        let model = listed.map_or(asked, |listed| listed.model.id.as_str());
        let route = self
            .rules
            .iter()
            .find(|route| (route.pattern.fits(model) || route.pattern.fits(asked)) && route.when.holds(request))
            .or_else(|| listed.map(|listed| &listed.route))
            .or(self.default.as_ref())
            .ok_or_else(|| NoRoute::Unknown { model: asked.to_owned(), prefix: self.prefix.clone() })?;
        if listed.is_none() && Pattern::is_wild(route.pattern.as_str()) && !self.allow_unlisted {
            return Err(NoRoute::NotExposed { model: asked.to_owned(), prefix: self.prefix.clone() });
        }
        if let Some(format) = route.provider.wire.format().filter(|format| *format != request.format) {
            return Err(NoRoute::OtherDialect {
                model: asked.to_owned(),
                wire: route.provider.wire.as_str(),
                prefix: self.prefix.clone(),
                path: format.path(),
            });
        }
        let upstream_model = route
            .upstream_model
            .clone()
            .or_else(|| listed.and_then(|listed| listed.model.upstream_model.clone()))
            .unwrap_or_else(|| model.to_owned());
        // Served model first, then the route's upstream model, then what was asked for; a route's own price wins.
        let price_of = |id: &str| self.registry.get(id).and_then(|listed| listed.model.pricing);
        let pricing = route
            .pricing
            .or_else(|| listed.and_then(|listed| listed.model.pricing))
            .or_else(|| price_of(&upstream_model))
            .unwrap_or_default();
        Ok(Destination {
            upstream_model,
            pricing,
            max_output_tokens: listed.and_then(|listed| listed.model.max_output_tokens),
            route_match: format!("{}:{}", route.origin, route.id),
            listed: listed.map(|listed| listed.model.id.clone()),
            route: route.clone(),
        })
    }

    /// Every provider with each of its models, as metrics name them.
    pub(crate) fn models(&self) -> Vec<(String, String)> {
        self.listing.iter().map(|listed| (listed.route.provider.name.clone(), listed.model.id.clone())).collect()
    }

    /// Ids of all routes, for access rules.
    pub(crate) fn route_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self
            .rules
            .iter()
            .chain(self.listing.iter().map(|listed| &listed.route))
            .chain(&self.default)
            .map(|route| route.id.clone())
            .collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// The providers, each once.
    pub(crate) fn providers(&self) -> Vec<Arc<Provider>> {
        let mut providers: Vec<_> = self
            .rules
            .iter()
            .chain(self.listing.iter().map(|listed| &listed.route))
            .chain(&self.default)
            .map(|route| route.provider.clone())
            .collect();
        providers.sort_by(|a, b| a.name.cmp(&b.name));
        providers.dedup_by(|a, b| a.name == b.name);
        providers
    }

    /// The advertised model of this id or alias.
    pub(crate) fn find(&self, id: &str) -> Option<&Listed> {
        let listed = self.registry.get(strip_marker(id))?;
        (listed.route.provider.surface != Surface::Backend).then_some(listed)
    }

    /// The models of the registry, the default model first, those of `backend` providers left out.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = &Listed> {
        self.listing.iter().map(AsRef::as_ref).filter(|listed| listed.route.provider.surface != Surface::Backend)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use systemprompt_llm::Format;

    fn table(gateway: serde_json::Value) -> RoutingTable {
        let providers: Vec<ProviderConfig> = serde_json::from_value(serde_json::json!([
            {"name": "ant", "wire": "anthropic", "surface": "anthropic", "endpoint": "https://a.example/v1", "models": [
                {"id": "claude-x", "aliases": ["claude-x-20260101"], "upstream_model": "claude-x-real",
                 "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}, "limits": {"max_output_tokens": 100}}]},
            {"name": "oai", "wire": "openai-chat", "surface": "openai", "endpoint": "https://o.example/v1", "models": [
                {"id": "gpt-x", "pricing": {"input_per_million": 1.0, "output_per_million": 2.0}}]},
            {"name": "big", "wire": "anthropic", "surface": "backend", "endpoint": "https://b.example/v1", "models": [
                {"id": "big-x", "pricing": {"input_per_million": 9.0, "output_per_million": 9.0}}]},
        ]))
        .expect("providers");
        RoutingTable::new(&providers, &serde_json::from_value(gateway).expect("a gateway block"))
    }

    fn request(dialect: Format, model: &str, more: &str) -> InferenceRequest {
        let body =
            format!(r#"{{"model":"{model}","max_tokens":5,"messages":[{{"role":"user","content":"hi"}}]{more}}}"#);
        InferenceRequest::parse(dialect, Bytes::from(body)).expect("a request")
    }

    #[test]
    fn where_requests_go() {
        let rules = serde_json::json!({"default_provider": "big", "routes": [
            {"model_pattern": "claude-*", "provider": "big", "when": {"min_tools": 1}},
            {"model_pattern": "*-nano", "provider": "oai"},
            {"model_pattern": "special", "provider": "ant", "upstream_model": "claude-x"},
        ]});
        let table = table(rules);
        let tools = r#","tools":[{"name":"t","input_schema":{}}]"#;
        for (dialect, model, more, expected) in [
            (Format::AnthropicMessages, "claude-x", "", Ok(("ant", "claude-x-real"))),
            (Format::AnthropicMessages, "claude-x[1m]", "", Ok(("ant", "claude-x-real"))),
            (Format::AnthropicMessages, "claude-x-20260101", "", Ok(("ant", "claude-x-real"))),
            (Format::AnthropicMessages, "claude-x", tools, Ok(("big", "claude-x-real"))),
            (Format::AnthropicMessages, "special", "", Ok(("ant", "claude-x"))),
            (Format::OpenAiChat, "gpt-x", "", Ok(("oai", "gpt-x"))),
            (Format::OpenAiChat, "mini-nano", "", Err("not offered")),
            (Format::AnthropicMessages, "unheard-of", "", Err("not offered")),
            (Format::AnthropicMessages, "gpt-x", "", Err("/v1/chat/completions")),
            (Format::OpenAiChat, "claude-x", "", Err("/v1/messages")),
        ] {
            let found = table.resolve(&request(dialect, model, more));
            match (found, expected) {
                (Ok(to), Ok((provider, upstream))) => {
                    assert_eq!(
                        (to.route.provider.name.as_str(), to.upstream_model.as_str()),
                        (provider, upstream),
                        "{model}"
                    );
                }
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{model}: {error}"),
                (found, expected) => panic!("{model}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn unknown_models_have_no_route_without_a_default() {
        let error = table(serde_json::json!({}))
            .resolve(&request(Format::AnthropicMessages, "nope", ""))
            .expect_err("no route");
        assert_eq!(error.to_string(), "No gateway route matches model `nope`; GET /v1/models lists what is offered");
    }

    #[test]
    fn prices_follow_the_model() {
        let destination =
            table(serde_json::json!({})).resolve(&request(Format::AnthropicMessages, "claude-x", "")).expect("a route");
        assert!((destination.pricing.output_per_million - 15.0).abs() < f64::EPSILON);
        assert_eq!(destination.max_output_tokens, Some(100));
        assert_eq!(destination.route_match, "registry:ant");
    }

    #[test]
    fn backend_models_are_not_advertised() {
        let table = table(serde_json::json!({"default_model": "gpt-x"}));
        let ids: Vec<_> = table.advertised().map(|listed| listed.model.id.as_str()).collect();
        assert_eq!(ids, ["gpt-x", "claude-x"]);
        assert_eq!(table.route_ids(), ["ant", "big", "oai"]);
    }
}
