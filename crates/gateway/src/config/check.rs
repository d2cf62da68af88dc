//! What must hold of the two keys beyond their schema. All mistakes are reported at once.

use std::collections::{BTreeMap, BTreeSet};

use systemprompt_config::nearest;
use systemprompt_extension::instead_of;
use systemprompt_model::pattern::Pattern;

use super::address::check_endpoint;
use super::gateway::GatewayConfig;
use super::provider::{ProviderConfig, ProviderWire};
use super::route::strip_marker;

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

/// What the checks need to know from outside the two keys.
#[derive(Debug, Clone, Default)]
pub(crate) struct Surroundings {
    /// Whether the profile describes a production environment.
    pub production: bool,
    /// Names of the secrets that exist.
    pub secrets: BTreeSet<String>,
    /// Hosts that may be reached over plain HTTP or at private addresses.
    pub trusted_hosts: BTreeSet<String>,
}

/// Every mistake in the two keys, in document order.
pub(crate) fn check(providers: &[ProviderConfig], gateway: &GatewayConfig, around: &Surroundings) -> Vec<Mistake> {
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
        let models = provider.models();
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
                &another_name(&route.provider, &names),
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
        let id = route.route_id();
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
                "gateway/routes/0/provider",
                "gateway/routes/0/model_pattern",
                "gateway/default_provider",
                "gateway/default_model",
                "gateway/inference_path_prefix",
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
