//! What must hold of the two keys beyond their schema. All mistakes are reported at once.

use std::collections::{BTreeMap, BTreeSet};

use systemprompt_config::nearest;
use systemprompt_extension::instead_of;
use systemprompt_model::pattern::Pattern;

use super::address::check_endpoint;
use super::auth::Auth;
use super::check_auth::check_auth;
use super::gateway::GatewayConfig;
use super::provider::{DataHandling, ProviderConfig};
use super::route::strip_marker;
use super::surroundings::Surroundings;
use super::wire::ProviderWire;

/// One thing that is wrong with the `providers` or `gateway` keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The profile key: `providers` or `gateway`.
    pub key: &'static str,
    /// JSON pointer below that key.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// How to mend it.
    pub fix: String,
}

/// Every mistake in the two keys, in document order.
pub(crate) fn check(providers: &[ProviderConfig], gateway: &GatewayConfig, around: &Surroundings) -> Vec<Mistake> {
    let mut mistakes = Vec::new();
    let mut complain = |key, pointer: String, message: String, fix: &str| {
        mistakes.push(Mistake { key, pointer, message, fix: fix.to_owned() });
    };
    let mut names = BTreeSet::new();
    let mut ids: BTreeMap<String, String> = BTreeMap::new();
    // Each provider's models, by all their names.
    let mut priced: BTreeSet<(String, String)> = BTreeSet::new();
    let handling: BTreeMap<&str, DataHandling> =
        providers.iter().map(|provider| (provider.name.as_str(), provider.governance)).collect();
    // What models are called at their providers.
    let upstream_names: BTreeMap<String, String> = providers
        .iter()
        .flat_map(|provider| provider.models(&around.catalog))
        .map(|model| (model.id.clone(), model.upstream_model.unwrap_or(model.id)))
        .collect();

    for flaw in &around.catalog_flaws {
        complain("gateway", "/catalog/path".to_owned(), flaw.clone(), "mend the file, or remove the key");
    }

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
        match (provider.wire, provider.base_url().as_deref()) {
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
            // What would make one is missing, and told.
            (wire, None) if wire.is_bedrock() || wire.is_vertex() => {}
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
        for (field, message, fix) in check_auth(provider, around) {
            complain("providers", at(&field), message, fix);
        }
        if let Auth::Header(name) = provider.authentication() {
            check_header(&name, "value", |reason| {
                complain(
                    "providers",
                    at("auth"),
                    reason,
                    "use letters, digits and hyphens, e.g. header:x-goog-api-key",
                );
            });
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
        let models = provider.models(&around.catalog);
        if models.is_empty() {
            complain(
                "providers",
                at("models"),
                format!("the provider `{}` lists no models and the catalog knows none for it", provider.name),
                "list at least one model with its pricing",
            );
        }
        for (position, model) in models.iter().enumerate() {
            let own = std::iter::once(("id".to_owned(), &model.id));
            let others = model.aliases.iter().enumerate().map(|(number, alias)| (format!("aliases/{number}"), alias));
            for (field, id) in own.chain(others) {
                if let Some(other) = ids.insert(id.clone(), provider.name.clone()) {
                    complain(
                        "providers",
                        at(&format!("models/{position}/{field}")),
                        format!("the model id `{id}` is already taken by the provider `{other}`"),
                        "model ids and aliases are unique over all providers; rename one, or set upstream_model",
                    );
                }
                priced.insert((provider.name.clone(), id.clone()));
            }
            priced.extend(model.upstream_model.iter().map(|name| (provider.name.clone(), name.clone())));
            if model.pricing.is_none() {
                complain(
                    "providers",
                    at(&format!("models/{position}/id")),
                    format!("the model `{}` has no price and the catalog knows none", model.id),
                    "add pricing: { input_per_million, output_per_million }",
                );
            }
        }
    }

    let mut route_ids = BTreeSet::new();
    for (index, route) in gateway.routes.iter().enumerate() {
        let at = |field: &str| format!("/routes/{index}/{field}");
        let pattern = Pattern::new(&route.model_pattern);
        if let Err(error) = &pattern {
            complain(
                "gateway",
                at("model_pattern"),
                format!("`{}` is not a pattern: {error}", route.model_pattern),
                "write an id, with `*` for any text and `?` for one character",
            );
        }
        let id = route.route_id();
        if !route_ids.insert(id.clone()) {
            complain(
                "gateway",
                at("id"),
                format!("two routes have the id `{id}`"),
                "give one of them an id of its own",
            );
        }
        match (&route.provider, route.targets.is_empty()) {
            (None, true) => complain(
                "gateway",
                at("provider"),
                format!("the route for `{}` leads nowhere", route.model_pattern),
                "name a provider, or several under targets",
            ),
            (Some(_), false) => complain(
                "gateway",
                at("provider"),
                "the route has a provider and targets".to_owned(),
                "keep one of the two keys",
            ),
            (None, false) if route.upstream_model.is_some() => complain(
                "gateway",
                at("upstream_model"),
                "the model is named without a provider".to_owned(),
                "name it in each of the targets",
            ),
            (None, false) if route.targets.iter().all(|target| target.weight == 0) => complain(
                "gateway",
                at("targets/0/weight"),
                "no target has a weight, so none gets a request".to_owned(),
                "give one of them a weight of 1 or more",
            ),
            _ => {}
        }
        if route.fallback_provider.is_none() && route.fallback_upstream_model.is_some() {
            complain(
                "gateway",
                at("fallback_upstream_model"),
                "the model is named without a provider".to_owned(),
                "add fallback_provider",
            );
        }
        if !route.stream_recovery.is_error() && route.firsts().len() + route.lasts().len() < 2 {
            complain(
                "gateway",
                at("stream_recovery"),
                "the route leads to one provider only, so nobody could go on".to_owned(),
                "add fallbacks, or remove the key",
            );
        }
        for (field, message, fix) in route.cache.iter().flat_map(|cache| cache.flaws(gateway.answer_cache)) {
            complain("gateway", at(&format!("cache/{field}")), message, fix);
        }
        let firsts = route.firsts();
        let usual = firsts.first().and_then(|first| first.upstream_model);
        // What a caller may ask for, as it is sent upstream by the first choice.
        let asked: Vec<&str> = match (usual, &pattern) {
            (Some(name), _) => vec![name],
            (None, Ok(pattern)) => ids
                .keys()
                .filter(|id| pattern.fits(id))
                .map(|id| upstream_names.get(id).unwrap_or(id).as_str())
                .collect(),
            (None, Err(_)) => Vec::new(),
        };
        let mut seen: Vec<(&str, Option<&str>)> = Vec::new();
        let lasts = route.lasts();
        let places = firsts.iter().map(|place| (place, false)).chain(lasts.iter().map(|place| (place, true)));
        for (place, is_fallback) in places {
            let within = |key: &str| format!("/routes/{index}{}/{key}", place.at);
            if !names.contains(place.provider) {
                complain(
                    "gateway",
                    within(place.provider_key),
                    format!("no provider is called `{}`", place.provider),
                    &another_name(place.provider, &names),
                );
                continue;
            }
            let model = place.upstream_model.or(if is_fallback { usual } else { None });
            if seen.contains(&(place.provider, model)) {
                complain(
                    "gateway",
                    within(place.provider_key),
                    format!("the provider `{}` with this model is in the route already", place.provider),
                    "name another provider, or another upstream_model",
                );
            }
            seen.push((place.provider, model));
            let declared = handling.get(place.provider).copied().unwrap_or_default();
            for condition in route.requires.missing(declared) {
                complain(
                    "gateway",
                    within(place.provider_key),
                    format!(
                        "the route requires `{condition}`, and the provider `{}` does not declare it",
                        place.provider
                    ),
                    &format!("set governance.{condition} of the provider if that is so, or name another provider"),
                );
            }
            let at_provider = |name: &str| priced.contains(&(place.provider.to_owned(), name.to_owned()));
            // What goes first may have the price of the model that was asked for, whoever lists it.
            let has_price = place.pricing.is_some()
                || match place.upstream_model {
                    Some(name) => at_provider(name) || ids.contains_key(name),
                    None if is_fallback => asked.iter().any(|name| at_provider(name)),
                    None => !asked.is_empty(),
                };
            if !has_price {
                let (key, what) = if is_fallback {
                    (place.model_key, format!("the fallback to `{}`", place.provider))
                } else {
                    ("pricing", format!("the route for `{}`", route.model_pattern))
                };
                complain(
                    "gateway",
                    within(key),
                    format!("{what} reaches no model with a price"),
                    "list the model with its pricing under the provider and name it as upstream_model, or add pricing here",
                );
            }
            for (name, value) in &place.extra_headers {
                check_header(name, value, |reason| {
                    complain(
                        "gateway",
                        within(&format!("extra_headers/{name}")),
                        reason,
                        "use letters, digits and hyphens in the name and one line of text as the value",
                    );
                });
            }
        }
    }
    let mut override_names = BTreeSet::new();
    for (index, config) in gateway.system_prompt_overrides.iter().enumerate() {
        let at = |field: &str| format!("/system_prompt_overrides/{index}/{field}");
        if !override_names.insert(config.shown(index)) {
            complain(
                "gateway",
                at("name"),
                format!("two overrides are called `{}`", config.shown(index)),
                "give one of them another name, so that records tell them apart",
            );
        }
        if let Some(provider) = config.provider.as_deref().filter(|name| !names.contains(name)) {
            complain(
                "gateway",
                at("provider"),
                format!("no provider is called `{provider}`"),
                &another_name(provider, &names),
            );
        }
        let read = around.prompts.get(index).and_then(Option::as_ref);
        for (field, message, fix) in config.flaws(read) {
            complain("gateway", at(field), message, fix);
        }
    }
    if let Some(provider) = gateway.default_provider.as_deref().filter(|name| !names.contains(name)) {
        complain(
            "gateway",
            "/default_provider".to_owned(),
            format!("no provider is called `{provider}`"),
            &another_name(provider, &names),
        );
    }
    if let Some(model) = gateway.default_model.as_ref().filter(|model| !ids.contains_key(strip_marker(model))) {
        complain(
            "gateway",
            "/default_model".to_owned(),
            format!("no provider offers the model `{model}`"),
            &match nearest(strip_marker(model), ids.keys().map(String::as_str)) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "name a model of a provider, or remove the key".to_owned(),
            },
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
    let everywhere = std::iter::once(("gateway", String::new(), &gateway.resilience));
    let each = providers
        .iter()
        .enumerate()
        .filter_map(|(index, provider)| Some(("providers", format!("/{index}"), provider.resilience.as_ref()?)));
    for (key, at, resilience) in everywhere.chain(each) {
        if resilience.breaker_half_open_probes == Some(0) {
            complain(
                key,
                format!("{at}/resilience/breaker_half_open_probes"),
                "a provider that is left alone would never be tried out again".to_owned(),
                "the default is 1; breaker_failure_threshold: 0 switches the breaker off",
            );
        }
        if let (Some(base), Some(most)) = (resilience.retry_base_delay_ms, resilience.retry_max_delay_ms)
            && base > most
        {
            complain(
                key,
                format!("{at}/resilience/retry_base_delay_ms"),
                format!("the first wait of {base} ms is longer than the longest one, {most} ms"),
                "lower it, or raise retry_max_delay_ms",
            );
        }
    }
    if gateway.session_pause_minutes == 0 {
        complain(
            "gateway",
            "/session_pause_minutes".to_owned(),
            "every request would be a session of its own".to_owned(),
            "the default is 30",
        );
    }
    if gateway.max_body_bytes == 0 {
        complain(
            "gateway",
            "/max_body_bytes".to_owned(),
            "no request fits into 0 bytes".to_owned(),
            "the default is 33554432",
        );
    }
    mistakes
}

fn another_name(name: &str, names: &BTreeSet<&str>) -> String {
    if names.is_empty() {
        "no provider is configured; add one under `providers`".to_owned()
    } else {
        instead_of(name, names.iter().copied())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn provider(yaml: serde_json::Value) -> ProviderConfig {
        serde_json::from_value(yaml).expect("a provider")
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
                "gateway/routes/0/model_pattern",
                "gateway/routes/0/provider",
                "gateway/default_provider",
                "gateway/default_model",
                "gateway/inference_path_prefix",
            ]
        );
    }

    #[test]
    fn what_is_wrong_with_where_routes_lead() {
        let model = |id: &str| {
            serde_json::json!([{"id": id, "aliases": [format!("{id}-latest")], "upstream_model": format!("{id}-real"),
            "pricing": {"input_per_million": 1.0, "output_per_million": 2.0}}])
        };
        let of = |name: &str, european: bool| {
            provider(serde_json::json!({"name": name, "wire": "anthropic", "surface": "anthropic",
                "endpoint": "https://a.example/v1", "models": model(&format!("{name}-1")), "governance": {"european": european}}))
        };
        let providers = [of("near", true), of("far", false)];
        for (route, expected) in [
            (serde_json::json!({"provider": "near"}), vec![]),
            (serde_json::json!({}), vec!["provider"]),
            (serde_json::json!({"provider": "near", "targets": [{"provider": "far"}]}), vec!["provider"]),
            (
                serde_json::json!({"targets": [{"provider": "near", "weight": 0}, {"provider": "fra", "weight": 0}]}),
                vec!["targets/0/weight", "targets/1/provider"],
            ),
            (serde_json::json!({"upstream_model": "x", "targets": [{"provider": "near"}]}), vec!["upstream_model"]),
            (serde_json::json!({"targets": [{"provider": "near"}, {"provider": "near"}]}), vec!["targets/1/provider"]),
            (serde_json::json!({"provider": "near", "fallback_upstream_model": "x"}), vec!["fallback_upstream_model"]),
            // It is called something else there, and nobody said what.
            (
                serde_json::json!({"provider": "near", "fallbacks": [{"provider": "far"}]}),
                vec!["fallbacks/0/upstream_model"],
            ),
            (serde_json::json!({"provider": "near", "fallback_provider": "far"}), vec!["fallback_upstream_model"]),
            (
                serde_json::json!({"provider": "near", "fallback_provider": "far", "fallback_upstream_model": "far-1-latest"}),
                vec![],
            ),
            (
                serde_json::json!({"provider": "near", "upstream_model": "far-1-real", "fallbacks": [{"provider": "far"}],
                "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}),
                vec![],
            ),
            (serde_json::json!({"provider": "near", "cache": {"ttl_seconds": 60}}), vec![]),
            (
                serde_json::json!({"provider": "near", "cache": {"ttl_seconds": 0, "max_entry_bytes": 0}}),
                vec!["cache/ttl_seconds", "cache/max_entry_bytes"],
            ),
            (serde_json::json!({"provider": "near", "fallback_provider": "near"}), vec!["fallback_provider"]),
            (serde_json::json!({"provider": "near", "stream_recovery": "continue"}), vec!["stream_recovery"]),
            (
                serde_json::json!({"provider": "near", "requires": {"european": true, "no_retain": true},
                "fallbacks": [{"provider": "far", "upstream_model": "far-1"}]}),
                vec!["provider", "fallbacks/0/provider", "fallbacks/0/provider"],
            ),
            (
                serde_json::json!({"provider": "near", "fallbacks": [{"provider": "far", "upstream_model": "far-1",
                "extra_headers": {"host": "x"}, "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}]}),
                vec!["fallbacks/0/extra_headers/host"],
            ),
        ] {
            let mut whole = route.clone();
            whole["model_pattern"] = "near-1*".into();
            let gateway: GatewayConfig =
                serde_json::from_value(serde_json::json!({"routes": [whole]})).expect("a gateway block");
            let found: Vec<_> = check(&providers, &gateway, &Surroundings::default());
            let places: Vec<_> = found.iter().map(|mistake| mistake.pointer.trim_start_matches("/routes/0/")).collect();
            assert_eq!(places, expected, "{route}: {found:#?}");
        }
    }

    #[test]
    fn what_is_wrong_with_overrides_of_system_prompts() {
        let gateway: GatewayConfig = serde_json::from_value(serde_json::json!({"system_prompt_overrides": [
            {"action": "replace", "prompt": "Be brief."},
            {"action": "replace", "provider": "nobody", "model_pattern": ""},
            {"name": "strip-4", "action": "strip", "prompt": "x"},
            {"action": "strip"},
            {"name": "none", "action": "replace", "prompt": " "},
            {"action": "replace", "prompt": {"path": "gone.md"}},
        ]}))
        .expect("a gateway block");
        let read = |text: &str| Some(Ok(text.to_owned()));
        let prompts =
            vec![read("Be brief."), None, read("x"), None, read(" "), Some(Err("`gone.md` cannot be read".to_owned()))];
        let around = Surroundings { prompts, ..Surroundings::default() };
        let found: Vec<_> = check(&[], &gateway, &around).into_iter().map(|mistake| mistake.pointer).collect();
        assert_eq!(
            found,
            [
                "/system_prompt_overrides/1/provider",
                "/system_prompt_overrides/1/model_pattern",
                "/system_prompt_overrides/1/prompt",
                "/system_prompt_overrides/2/prompt",
                "/system_prompt_overrides/3/name",
                "/system_prompt_overrides/4/name",
                "/system_prompt_overrides/4/prompt",
                "/system_prompt_overrides/5/prompt",
            ]
        );
    }

    #[test]
    fn a_name_of_nothing_comes_with_the_one_that_was_meant() {
        let providers = [provider(serde_json::json!({"name": "demo", "wire": "demo", "surface": "backend",
            "models": [{"id": "demo-1", "pricing": {"input_per_million": 1.0, "output_per_million": 2.0}}]}))];
        let gateway: GatewayConfig = serde_json::from_value(serde_json::json!({
            "routes": [{"model_pattern": "demo-1", "provider": "dmeo"}], "default_provider": "nobody",
            "default_model": "demo1"
        }))
        .expect("a gateway block");
        let found: Vec<_> = check(&providers, &gateway, &Surroundings::default())
            .into_iter()
            .map(|mistake| format!("{}: {}", mistake.message, mistake.fix))
            .collect();
        assert_eq!(
            found,
            [
                "no provider is called `dmeo`: did you mean `demo`?",
                "no provider is called `nobody`: there are: `demo`",
                "no provider offers the model `demo1`: did you mean `demo-1`?",
            ]
        );
    }
}
