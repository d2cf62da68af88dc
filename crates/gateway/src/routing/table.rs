//! All routes and models of one configuration, and the search through them.

use std::collections::HashMap;
use std::sync::Arc;

use systemprompt_governance::Target;
use systemprompt_llm::InferenceRequest;
use systemprompt_llm::catalog::{Catalog, CatalogModel, Pricing};
use systemprompt_model::Fnv1a;
use systemprompt_model::pattern::Pattern;

use super::destination::{Leg, Route, UNLISTED, VertexPlace};
use super::families::short_names;
use super::{Destination, PromptOverrides, Provider, StreamUsage, Way, split};
use crate::config::{GatewayConfig, MaxTokensField, Place, ProviderConfig, Resolved, Surface, strip_marker};
use crate::resilience::Health;

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
    /// No provider of the route declares what the route demands.
    #[error(
        "the route `{route}` requires `{condition}`, which none of its providers declares; \
         declare providers[].governance.{condition} of one that keeps it, or change the route's requires"
    )]
    Residency {
        /// The route.
        route: String,
        /// What is demanded.
        condition: &'static str,
    },
}

/// All routes and models, fixed for one configuration snapshot.
#[derive(Debug)]
pub(crate) struct RoutingTable {
    rules: Vec<Arc<Route>>,
    default: Option<Arc<Route>>,
    /// By id and alias.
    registry: HashMap<String, Arc<Listed>>,
    /// By provider, and id, alias or name at the provider.
    by_provider: HashMap<String, HashMap<String, Arc<Listed>>>,
    listing: Vec<Arc<Listed>>,
    allow_unlisted: bool,
    prefix: String,
    prompts: PromptOverrides,
}

/// A model of the registry with the route that leads to its provider.
#[derive(Debug)]
pub(crate) struct Listed {
    /// The model.
    pub model: CatalogModel,
    /// Its id.
    pub id: Arc<str>,
    /// Who offers it.
    pub provider: Arc<Provider>,
    /// The implicit route to its provider; its id is the provider's name.
    pub route: Arc<Route>,
}

impl RoutingTable {
    /// The table of a checked configuration. Entries that name unknown providers were refused by `config::check`. How the
    /// providers of the table `before` do is not forgotten.
    pub(crate) fn new(
        providers: &[ProviderConfig],
        gateway: &GatewayConfig,
        catalog: &Catalog,
        before: Option<&Self>,
    ) -> Self {
        let before = before.map(Self::providers).unwrap_or_default();
        let mut by_name = HashMap::new();
        let mut registry = HashMap::new();
        let mut by_provider: HashMap<_, HashMap<_, _>> = HashMap::new();
        let mut listing = Vec::new();
        for config in providers {
            let resilience = Resolved::new(&gateway.resilience, config.resilience.as_ref());
            let protection = resilience.protection();
            let known = before.iter().find(|known| *known.name == *config.name && known.health.fits(&protection));
            let provider = Arc::new(Provider {
                name: config.name.as_str().into(),
                wire: config.wire,
                surface: config.surface,
                endpoint: config.base_url().unwrap_or_default(),
                trace_context: config.trace_context,
                extra_headers: config.extra_headers.clone(),
                timeouts: resilience.timeouts(),
                retries: resilience.retries(),
                health: known.map_or_else(|| Arc::new(Health::new(protection)), |known| known.health.clone()),
                region: config.data_region().map(str::to_owned),
                handling: config.governance,
                stream_usage: StreamUsage::new(config.supports_stream_usage),
                place: VertexPlace::of(config.project.clone(), config.location.clone()),
                max_tokens_field: config.max_tokens_field == Some(MaxTokensField::MaxTokens),
                developer_role: config.supports_developer_role.unwrap_or(false),
            });
            by_name.insert(config.name.as_str(), provider.clone());
            let route = Arc::new(Route::to(&provider, config.name.clone(), "registry"));
            for model in config.models(catalog) {
                let listed = Arc::new(Listed {
                    id: model.id.as_str().into(),
                    model,
                    provider: provider.clone(),
                    route: route.clone(),
                });
                for id in std::iter::once(&listed.model.id).chain(&listed.model.aliases) {
                    registry.entry(id.clone()).or_insert_with(|| listed.clone());
                    by_provider.entry(config.name.clone()).or_default().insert(id.clone(), listed.clone());
                }
                listing.push(listed);
            }
        }
        // An id of its own means more than what another model is called at the provider.
        for listed in &listing {
            if let Some(name) = &listed.model.upstream_model {
                let of_provider = by_provider.entry(listed.provider.name.to_string()).or_default();
                of_provider.entry(name.clone()).or_insert_with(|| listed.clone());
            }
        }
        let models: Vec<_> = listing.iter().map(|listed| &listed.model).collect();
        for (name, at) in short_names(&models) {
            registry.entry(name.to_owned()).or_insert_with(|| listing[at].clone());
        }
        if let Some(first) = &gateway.default_model {
            // A stable sort keeps the configured order behind the default model.
            listing.sort_by_key(|listed| listed.model.id != strip_marker(first));
        }
        let leg = |place: Place<'_>| {
            Some(Leg {
                provider: Arc::clone(by_name.get(place.provider)?),
                upstream_model: place.upstream_model.map(str::to_owned),
                extra_headers: Arc::new(place.extra_headers),
                pricing: place.pricing.map(Pricing::from),
                weight: place.weight,
            })
        };
        let rules = gateway
            .routes
            .iter()
            .filter_map(|config| {
                // What is missing or no pattern was reported when the configuration was checked.
                let route = Route {
                    id: config.route_id(),
                    pattern: Pattern::new(&config.model_pattern).ok()?,
                    when: config.when.clone(),
                    firsts: config.firsts().into_iter().filter_map(leg).collect(),
                    lasts: config.lasts().into_iter().filter_map(leg).collect(),
                    requires: config.requires,
                    cache: config.cache,
                    stream_recovery: config.stream_recovery,
                    origin: "rule",
                };
                (!route.firsts.is_empty()).then(|| Arc::new(route))
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
            by_provider,
            listing,
            allow_unlisted: gateway.allow_unlisted_models,
            prefix: gateway.inference_path_prefix.clone(),
            prompts: PromptOverrides::default(),
        }
    }

    /// The same table, and what models are told in the place of their callers' system prompts.
    pub(crate) fn with_prompts(self, prompts: PromptOverrides) -> Self {
        Self { prompts, ..self }
    }

    /// Where a request goes, which may belong to a conversation its caller named.
    pub(crate) fn resolve(&self, request: &InferenceRequest, conversation: Option<&str>) -> Result<Way, NoRoute> {
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
        self.along(route, request, conversation)
    }

    /// Where a request goes that takes the route of this id, whatever models that is for.
    pub(crate) fn resolve_by(
        &self,
        route: &str,
        request: &InferenceRequest,
        conversation: Option<&str>,
    ) -> Result<Way, NoRoute> {
        let found = self.routes().find(|known| known.id == route);
        let found = found.ok_or_else(|| NoRoute::Unknown {
            model: strip_marker(&request.model).to_owned(),
            prefix: self.prefix.clone(),
        })?;
        self.along(found, request, conversation)
    }

    fn along(
        &self,
        route: &Arc<Route>,
        request: &InferenceRequest,
        conversation: Option<&str>,
    ) -> Result<Way, NoRoute> {
        let asked = strip_marker(&request.model);
        let listed = self.registry.get(asked);
        let model = listed.map_or(asked, |listed| listed.model.id.as_str());
        let key = sticky_key(request, conversation);
        let weights = route.firsts.iter().map(|leg| (&*leg.provider.name, leg.weight));
        let firsts: Vec<&Leg> = split::order(key, weights).into_iter().map(|index| &route.firsts[index]).collect();
        // A fallback that names no model gets the name that the first choice gets.
        let usual = firsts.first().and_then(|leg| name_at(leg, listed)).unwrap_or(model);
        let shared = firsts.iter().map(|leg| (*leg, name_at(leg, listed).unwrap_or(model)));
        let others = route.lasts.iter().map(|leg| (leg, leg.upstream_model.as_deref().unwrap_or(usual)));
        let mut candidates: Vec<Arc<Destination>> = shared
            .chain(others)
            .map(|(leg, upstream_model)| self.destination(leg, upstream_model, listed.map(AsRef::as_ref), request))
            .map(Arc::new)
            .collect();
        if let Some(condition) =
            keep(&mut candidates, |to| route.requires.missing(to.provider.handling).first().copied())
        {
            return Err(NoRoute::Residency { route: route.id.clone(), condition });
        }
        let mut candidates = candidates.into_iter();
        let Some(first) = candidates.next() else {
            // The check of the configuration wants a place with a weight.
            return Err(NoRoute::Unknown { model: asked.to_owned(), prefix: self.prefix.clone() });
        };
        Ok(Way {
            route_match: format!("{}:{}", route.origin, route.id),
            route: route.clone(),
            first,
            fallbacks: candidates.collect(),
        })
    }

    /// What a place means for a request, which may have asked for a model of the registry.
    fn destination(
        &self,
        leg: &Leg,
        upstream_model: &str,
        listed: Option<&Listed>,
        request: &InferenceRequest,
    ) -> Destination {
        let wire = leg.provider.wire;
        let of_provider =
            listed.filter(|listed| listed.provider.name == leg.provider.name && leg.upstream_model.is_none());
        let named = || self.by_provider.get(&*leg.provider.name)?.get(upstream_model);
        let served = of_provider.or_else(|| named().map(AsRef::as_ref));
        // The price of what serves counts, if it is known; a price of the place itself wins.
        let pricing = leg
            .pricing
            .or_else(|| served.and_then(|served| served.model.pricing))
            .or_else(|| listed.and_then(|listed| listed.model.pricing))
            .or_else(|| self.registry.get(upstream_model).and_then(|named| named.model.pricing));
        let known = served.or(listed);
        let id = known.map_or(upstream_model, |known| &known.id);
        Destination {
            permit_target: Target::new(format!("{}/{upstream_model}", leg.provider.name)),
            instructions: self.prompts.of(&leg.provider.name, [id, upstream_model]),
            provider: leg.provider.clone(),
            // What cannot be asked there is refused when it is written.
            format: wire.asked(request.format).or(wire.format()).unwrap_or(request.format),
            upstream_model: upstream_model.to_owned(),
            extra_headers: leg.extra_headers.clone(),
            pricing,
            max_output_tokens: known.and_then(|known| known.model.max_output_tokens),
            listed: known.map(|known| known.id.clone()),
        }
    }

    /// Every provider with each of its models, as metrics name them, and with those that nobody lists.
    pub(crate) fn models(&self) -> Vec<(Arc<str>, Arc<str>)> {
        let unlisted: Arc<str> = UNLISTED.into();
        let unlisted = self.providers().into_iter().map(move |provider| (provider.name.clone(), unlisted.clone()));
        self.listing.iter().map(|listed| (listed.provider.name.clone(), listed.id.clone())).chain(unlisted).collect()
    }

    fn routes(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.rules.iter().chain(self.listing.iter().map(|listed| &listed.route)).chain(&self.default)
    }

    /// Ids of all routes, for access rules.
    pub(crate) fn route_ids(&self) -> Vec<String> {
        let mut ids: Vec<_> = self.routes().map(|route| route.id.clone()).collect();
        ids.sort();
        ids.dedup();
        ids
    }

    /// The routes that a request for a model of the registry may take, whatever else it asks for.
    pub(crate) fn routes_to<'a>(&'a self, listed: &'a Listed) -> Vec<&'a Route> {
        let names = || std::iter::once(&listed.model.id).chain(&listed.model.aliases);
        let rules = self.rules.iter().filter(|route| names().any(|name| route.pattern.fits(name)));
        let mut routes = Vec::new();
        for route in rules {
            routes.push(&**route);
            if route.when.is_empty() && route.pattern.fits(&listed.model.id) {
                // No request gets further.
                return routes;
            }
        }
        routes.push(&*listed.route);
        routes
    }

    /// The providers, each once.
    pub(crate) fn providers(&self) -> Vec<Arc<Provider>> {
        let mut providers: Vec<_> =
            self.routes().flat_map(|route| route.legs().map(|leg| leg.provider.clone())).collect();
        providers.sort_by(|a, b| a.name.cmp(&b.name));
        providers.dedup_by(|a, b| a.name == b.name);
        providers
    }

    /// The model of this id or alias, advertised or not.
    pub(crate) fn listed(&self, id: &str) -> Option<&Listed> {
        self.registry.get(strip_marker(id)).map(AsRef::as_ref)
    }

    /// The advertised model of this id or alias.
    pub(crate) fn find(&self, id: &str) -> Option<&Listed> {
        let listed = self.registry.get(strip_marker(id))?;
        (listed.provider.surface != Surface::Backend).then_some(listed.as_ref())
    }

    /// The models of the registry, the default model first, those of `backend` providers left out.
    pub(crate) fn advertised(&self) -> impl Iterator<Item = &Listed> {
        self.listing.iter().map(AsRef::as_ref).filter(|listed| listed.provider.surface != Surface::Backend)
    }
}

/// What stays the same through a conversation.
fn sticky_key(request: &InferenceRequest, conversation: Option<&str>) -> u64 {
    conversation.map_or(request.conversation_key, |name| {
        let mut hash = Fnv1a::default();
        hash.write(name.as_bytes());
        hash.finish()
    })
}

/// What a model that was asked for is called at a place, if it is called anything else there.
fn name_at<'a>(leg: &'a Leg, listed: Option<&'a Arc<Listed>>) -> Option<&'a str> {
    leg.upstream_model.as_deref().or_else(|| listed?.model.upstream_model.as_deref())
}

/// Keeps the candidates with which nothing is wrong. If there is something with all of them, says what it is with the first.
fn keep<T>(candidates: &mut Vec<Arc<Destination>>, wrong: impl Fn(&Destination) -> Option<T>) -> Option<T> {
    let of_the_first = candidates.first().and_then(|first| wrong(first));
    candidates.retain(|candidate| wrong(candidate).is_none());
    of_the_first.filter(|_| candidates.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use systemprompt_llm::Format;
    use systemprompt_llm::catalog::default_catalog;

    fn table(gateway: serde_json::Value) -> RoutingTable {
        let providers: Vec<ProviderConfig> = serde_json::from_value(serde_json::json!([
            {"name": "ant", "wire": "anthropic", "surface": "anthropic", "endpoint": "https://a.example/v1", "models": [
                {"id": "claude-x", "aliases": ["claude-x-20260101"], "upstream_model": "claude-x-real",
                 "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}, "limits": {"max_output_tokens": 100}}]},
            {"name": "oai", "wire": "openai-chat", "surface": "openai", "endpoint": "https://o.example/v1", "models": [
                {"id": "gpt-x", "pricing": {"input_per_million": 1.0, "output_per_million": 2.0}}]},
            {"name": "big", "wire": "anthropic", "surface": "backend", "endpoint": "https://b.example/v1",
             "governance": {"european": true}, "models": [
                {"id": "big-x", "pricing": {"input_per_million": 9.0, "output_per_million": 9.0}}]},
        ]))
        .expect("providers");
        RoutingTable::new(
            &providers,
            &serde_json::from_value(gateway).expect("a gateway block"),
            &default_catalog(),
            None,
        )
    }

    /// The places of a way, in their order.
    fn places(way: &Way) -> Vec<(&str, &str)> {
        way.candidates().map(|to| (&*to.provider.name, to.upstream_model.as_str())).collect()
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
            (Format::AnthropicMessages, "gpt-x", "", Ok(("oai", "gpt-x"))),
            (Format::OpenAiChat, "claude-x", "", Ok(("ant", "claude-x-real"))),
        ] {
            let found = table.resolve(&request(dialect, model, more), None);
            match (found, expected) {
                (Ok(way), Ok(expected)) => assert_eq!(places(&way), [expected], "{model}"),
                (Err(error), Err(part)) => assert!(error.to_string().contains(part), "{model}: {error}"),
                (found, expected) => panic!("{model}: {found:?} instead of {expected:?}"),
            }
        }
    }

    #[test]
    fn unknown_models_have_no_route_without_a_default() {
        let error = table(serde_json::json!({}))
            .resolve(&request(Format::AnthropicMessages, "nope", ""), None)
            .expect_err("no route");
        assert_eq!(error.to_string(), "No gateway route matches model `nope`; GET /v1/models lists what is offered");
    }

    #[test]
    fn prices_follow_the_model() {
        let way = table(serde_json::json!({}))
            .resolve(&request(Format::AnthropicMessages, "claude-x", ""), None)
            .expect("a route");
        assert_eq!(way.first.pricing.map(|pricing| pricing.output_per_million.to_string()).as_deref(), Some("15"));
        assert_eq!(way.first.max_output_tokens, Some(100));
        assert_eq!(way.route_match, "registry:ant");
    }

    #[test]
    fn fallbacks_follow_in_their_order_with_their_own_names_and_prices() {
        let table = table(serde_json::json!({"routes": [
            {"model_pattern": "claude-x", "provider": "ant", "extra_headers": {"x-key": "ours"},
             "fallback_provider": "big", "fallback_upstream_model": "big-x",
             "fallbacks": [{"provider": "big", "upstream_model": "other", "pricing": {"input_per_million": 4.0, "output_per_million": 5.0}},
                           {"provider": "oai", "upstream_model": "gpt-x"}, {"provider": "big"}]},
        ]}));
        let way = table.resolve(&request(Format::AnthropicMessages, "claude-x", ""), None).expect("a route");
        let expected =
            [("ant", "claude-x-real"), ("big", "big-x"), ("big", "other"), ("oai", "gpt-x"), ("big", "claude-x-real")];
        assert_eq!(places(&way), expected);
        let price = |to: &Arc<Destination>| to.pricing.map(|pricing| pricing.input_per_million.to_string());
        let prices: Vec<String> = way.candidates().filter_map(price).collect();
        // Of what nobody knows a price, the price of the model that was asked for is the best guess.
        assert_eq!(prices, ["3", "9", "4", "1", "3"]);
        let with_headers: Vec<bool> = way.candidates().map(|to| !to.extra_headers.is_empty()).collect();
        assert_eq!(
            with_headers,
            [true, false, false, false, false],
            "headers may carry a credential of the first provider"
        );
    }

    #[test]
    fn a_split_keeps_conversations_together() {
        let table = table(serde_json::json!({"routes": [
            {"model_pattern": "claude-x", "targets": [{"provider": "ant", "weight": 3}, {"provider": "big", "upstream_model": "big-x"}]},
        ]}));
        let ask = request(Format::AnthropicMessages, "claude-x", "");
        let way = |conversation: &str| table.resolve(&ask, Some(conversation)).expect("a route");
        let mut firsts = HashMap::new();
        for number in 0..400 {
            let (name, ways) = (number.to_string(), [0, 1].map(|_| way(&number.to_string())));
            assert_eq!(places(&ways[0]), places(&ways[1]), "{name}");
            assert_eq!(ways[0].fallbacks.len(), 1, "the other one is tried next");
            *firsts.entry(ways[0].first.provider.name.clone()).or_insert(0) += 1;
        }
        assert!((260..340).contains(&firsts["ant"]), "{firsts:?}");
        // Without a name the conversation is known by its beginning.
        let [one, another] =
            ["", r#","temperature":0.5"#].map(|more| request(Format::AnthropicMessages, "claude-x", more));
        assert_eq!(places(&table.resolve(&one, None).unwrap()), places(&table.resolve(&another, None).unwrap()));
    }

    #[test]
    fn a_provider_without_what_is_required_is_no_way() {
        let route = |fallback: &str| {
            table(
                serde_json::json!({"routes": [{"model_pattern": "claude-x", "provider": "ant", "fallback_provider": fallback,
                "requires": {"european": true}}]}),
            )
        };
        let ask = request(Format::AnthropicMessages, "claude-x", "");
        let way = route("big").resolve(&ask, None).expect("one declares it");
        assert_eq!(places(&way), [("big", "claude-x-real")]);
        let error = route("ant").resolve(&ask, None).expect_err("none declares it");
        assert!(matches!(&error, NoRoute::Residency { condition: "european", .. }), "{error}");
    }

    #[test]
    fn which_routes_lead_to_a_model() {
        let table = table(serde_json::json!({"routes": [
            {"id": "tools", "model_pattern": "claude-*", "provider": "big", "when": {"requires_tools": true}},
            {"id": "dated", "model_pattern": "claude-x-2026*", "provider": "ant"},
            {"id": "gpt", "model_pattern": "gpt-*", "provider": "oai"},
            {"id": "never", "model_pattern": "gpt-x", "provider": "ant"},
        ]}));
        let routes = |id: &str| {
            let routes = table.routes_to(table.find(id).expect("it is listed")).into_iter();
            routes.map(|route| route.id.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(routes("claude-x"), ["tools", "dated", "ant"]);
        assert_eq!(routes("gpt-x"), ["gpt"]);
    }

    #[test]
    fn backend_models_are_not_advertised() {
        let table = table(serde_json::json!({"default_model": "gpt-x"}));
        let ids: Vec<_> = table.advertised().map(|listed| listed.model.id.as_str()).collect();
        assert_eq!(ids, ["gpt-x", "claude-x"]);
        assert_eq!(table.route_ids(), ["ant", "big", "oai"]);
    }
}
