//! What the configuration of a LiteLLM proxy means here: its deployments as providers with models, several of one name as a
//! route with shares, its fallbacks, aliases, time limits and budgets. What has no place here is listed, not dropped.
//!
//! Pure: a value in, values out. Keys of providers become names of secrets; their values are only told apart.

mod place;
mod written;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};
use systemprompt_llm::catalog;

use place::{Literals, Parameters, Place};
pub(crate) use written::Imported;
use written::{Fallback, Model, Price, Provider, Route, Target, Unmapped};

/// The part of LiteLLM's parameters of a deployment that is read.
const READ: [&str; 8] = [
    "weight",
    "input_cost_per_token",
    "output_cost_per_token",
    "cache_read_input_token_cost",
    "cache_creation_input_token_cost",
    "timeout",
    "stream_timeout",
    "max_retries",
];

/// A deployment: one entry of `model_list`.
struct Deployment {
    /// The name callers use.
    name: String,
    /// What its prefix says it is.
    kind: String,
    provider: usize,
    upstream: String,
    weight: f64,
    price: Price,
    /// The configuration says the price itself.
    is_priced: bool,
    limits: Option<Value>,
}

/// Translates a configuration. `taken` are the names of the providers there are already.
pub(crate) fn import(config: &Value, taken: &BTreeSet<String>) -> Imported {
    let literals = Literals::default();
    let mut importing = Importing { taken, literals: &literals, imported: Imported::default() };
    let mut deployments: Vec<Deployment> = Vec::new();
    let root = config.as_object().cloned().unwrap_or_default();
    for (key, value) in &root {
        match (key.as_str(), value) {
            ("model_list", Value::Array(list)) => {
                for (index, entry) in list.iter().enumerate() {
                    deployments.extend(importing.deployment(entry, &format!("model_list[{index}]")));
                }
            }
            ("litellm_settings" | "router_settings" | "general_settings", Value::Object(_)) => {}
            _ => importing.unmapped(key, "it has no counterpart"),
        }
    }
    let aliases = importing.settings(&root);
    importing.arrange(&deployments, &aliases);
    importing.fallbacks(&root, &deployments);
    let mut imported = importing.imported;
    // What offers nothing is of no use.
    imported.providers.retain(|provider| !provider.models.is_empty());
    let used: BTreeSet<String> = imported.providers.iter().flat_map(Provider::secrets).collect();
    imported.secrets.retain(|name, _| used.contains(name));
    imported
}

struct Importing<'a> {
    taken: &'a BTreeSet<String>,
    literals: &'a Literals,
    imported: Imported,
}

impl Importing<'_> {
    fn unmapped(&mut self, path: &str, note: &str) {
        self.imported.unmapped.push(Unmapped { path: path.to_owned(), note: note.to_owned() });
    }

    fn deployment(&mut self, entry: &Value, at: &str) -> Option<Deployment> {
        let empty = Map::new();
        let parameters = entry["litellm_params"].as_object().unwrap_or(&empty);
        let text = |key: &str| parameters.get(key).and_then(Value::as_str);
        let (Some(name), Some(model)) = (entry["model_name"].as_str(), text("model")) else {
            self.unmapped(at, "it has no model_name, or its litellm_params no model");
            return None;
        };
        let (prefix, upstream) = match (text("custom_llm_provider"), model.split_once('/')) {
            (Some(kind), _) => (kind, model.strip_prefix(&format!("{kind}/")).unwrap_or(model)),
            (None, Some((prefix, upstream))) => (prefix, upstream),
            (None, None) if model.starts_with("claude") => ("anthropic", model),
            (None, None) if model.starts_with("gemini") => ("gemini", model),
            (None, None) => ("openai", model),
        };
        let at_parameters = format!("{at}.litellm_params");
        let parameters = Parameters { all: parameters, at: at_parameters, literals: self.literals };
        let Place { kind, mut provider, upstream, secrets, notes } = match parameters.place(prefix, upstream) {
            Ok(place) => place,
            Err(unmapped) => {
                self.imported.unmapped.push(unmapped);
                return None;
            }
        };
        self.imported.unmapped.extend(notes);
        for (name, origin) in secrets {
            self.imported.secrets.entry(name).or_insert(origin);
        }
        let parameters = parameters.all;
        provider.resilience = self.resilience(parameters);
        let provider = self.provider(&kind, provider);
        for key in parameters.keys().filter(|key| !READ.contains(&key.as_str()) && !place::READ.contains(&key.as_str()))
        {
            let note = match key.as_str() {
                "rpm" | "tpm" => "limits are of users, keys and models here: services/gateway/policies.yaml",
                "temperature" | "max_tokens" | "top_p" | "seed" | "stop" => "callers say this themselves",
                "extra_headers" => "write it as `extra_headers` of the provider; it may hold secrets",
                _ => "it has no counterpart",
            };
            self.unmapped(&format!("{at}.litellm_params.{key}"), note);
        }
        let info = entry["model_info"].as_object().unwrap_or(&empty);
        for key in info.keys() {
            if !["id", "mode", "base_model", "max_tokens", "max_input_tokens", "max_output_tokens"]
                .contains(&key.as_str())
                && !key.ends_with("_cost_per_token")
                && !key.ends_with("_token_cost")
            {
                self.unmapped(&format!("{at}.model_info.{key}"), "it has no counterpart");
            }
        }
        for key in entry.as_object().into_iter().flat_map(Map::keys) {
            if !["model_name", "litellm_params", "model_info"].contains(&key.as_str()) {
                self.unmapped(&format!("{at}.{key}"), "it has no counterpart");
            }
        }
        let wild = upstream.contains('*');
        let price = self.price(parameters, info, &upstream, wild, at);
        let size = |key: &str| info.get(key).and_then(Value::as_u64);
        let limits = limits(size("max_input_tokens"), size("max_output_tokens").or_else(|| size("max_tokens")));
        let weight = parameters.get("weight").and_then(Value::as_f64).map_or(1.0, |weight| weight.max(0.0));
        let is_priced = parameters.contains_key("input_cost_per_token") || info.contains_key("input_cost_per_token");
        Some(Deployment { name: name.to_owned(), kind, provider, upstream, weight, price, is_priced, limits })
    }

    fn resilience(&self, parameters: &Map<String, Value>) -> Option<Value> {
        let seconds = |key: &str| parameters.get(key).and_then(Value::as_f64).map(|seconds| (seconds * 1000.0) as u64);
        let mut settings = Map::new();
        for (key, value) in [
            ("request_timeout_ms", seconds("timeout")),
            ("first_byte_timeout_ms", seconds("stream_timeout")),
            ("retry_attempts", parameters.get("max_retries").and_then(Value::as_u64)),
        ] {
            settings.extend(value.map(|value| (key.to_owned(), json!(value))));
        }
        (!settings.is_empty()).then_some(Value::Object(settings))
    }

    /// The provider of this kind with these properties; a new one if there is none yet.
    fn provider(&mut self, kind: &str, provider: Provider) -> usize {
        if let Some(index) = self.imported.providers.iter().position(|known| known.is_as(&provider)) {
            return index;
        }
        let kind = slug(kind);
        let used = |name: &String| {
            self.taken.contains(name) || self.imported.providers.iter().any(|provider| provider.name == *name)
        };
        let numbered = (1..).map(|number| if number == 1 { kind.clone() } else { format!("{kind}-{number}") });
        let name = numbered.into_iter().find(|name| !used(name)).unwrap_or_default();
        self.imported.providers.push(Provider { name, ..provider });
        self.imported.providers.len() - 1
    }

    fn price(
        &mut self,
        parameters: &Map<String, Value>,
        info: &Map<String, Value>,
        upstream: &str,
        wild: bool,
        at: &str,
    ) -> Price {
        let given = |key: &str| {
            let cost = parameters.get(key).or_else(|| info.get(key)).and_then(Value::as_f64)?;
            // Of a token there, of a million here; without the noise of binary fractions.
            Some((cost * 1e6 * 1e6).round() / 1e6)
        };
        let base = info.get("base_model").and_then(Value::as_str).unwrap_or(upstream);
        let base = base.rsplit('/').next().unwrap_or(base);
        let known = catalog::default_catalog().find(base).and_then(|model| model.pricing);
        let input = given("input_cost_per_token").or_else(|| known.map(|price| price.input_per_million.as_f64()));
        let output = given("output_cost_per_token").or_else(|| known.map(|price| price.output_per_million.as_f64()));
        if (input.is_none() || output.is_none()) && !wild {
            self.unmapped(
                at,
                &format!("the price of `{upstream}` is not known and written as 0; correct it under `pricing`"),
            );
        }
        let cached = |key: &str, known: Option<f64>| given(key).or(known);
        Price {
            input_per_million: input.unwrap_or(0.0),
            output_per_million: output.unwrap_or(0.0),
            cache_read_per_million: cached(
                "cache_read_input_token_cost",
                known.map(|price| price.cache_read_per_million.as_f64()),
            ),
            cache_write_per_million: cached(
                "cache_creation_input_token_cost",
                known.map(|price| price.cache_write_per_million.as_f64()),
            ),
        }
    }

    /// The settings of the proxy. Gives the aliases.
    fn settings(&mut self, root: &Map<String, Value>) -> BTreeMap<String, String> {
        let mut aliases = BTreeMap::new();
        let mut budget = (None, None);
        for section in ["litellm_settings", "router_settings", "general_settings"] {
            for (key, value) in root.get(section).and_then(Value::as_object).into_iter().flatten() {
                let path = format!("{section}.{key}");
                match key.as_str() {
                    "fallbacks" | "context_window_fallbacks" | "content_policy_fallbacks" | "default_fallbacks" => {}
                    "model_group_alias" | "model_alias_map" => {
                        for (alias, target) in value.as_object().into_iter().flatten() {
                            let target = target.as_str().or_else(|| target["model"].as_str());
                            match target {
                                Some(target) => drop(aliases.insert(alias.clone(), target.to_owned())),
                                None => self.unmapped(&format!("{path}.{alias}"), "it names no model"),
                            }
                        }
                    }
                    "num_retries" => self.put("resilience.retry_attempts", value.clone()),
                    "retry_after" => {
                        let milliseconds = value.as_f64().map(|seconds| (seconds * 1000.0) as u64);
                        self.put("resilience.retry_base_delay_ms", json!(milliseconds));
                    }
                    "timeout" | "request_timeout" => {
                        let milliseconds = value.as_f64().map(|seconds| (seconds * 1000.0) as u64);
                        self.put("resilience.request_timeout_ms", json!(milliseconds));
                    }
                    "stream_timeout" => {
                        let milliseconds = value.as_f64().map(|seconds| (seconds * 1000.0) as u64);
                        self.put("resilience.first_byte_timeout_ms", json!(milliseconds));
                    }
                    "allowed_fails" => self.put("resilience.breaker_failure_threshold", value.clone()),
                    "cooldown_time" => {
                        let milliseconds = value.as_f64().map(|seconds| (seconds * 1000.0) as u64);
                        self.put("resilience.breaker_open_cooldown_ms", json!(milliseconds));
                    }
                    "max_parallel_requests" | "default_max_parallel_requests" | "global_max_parallel_requests" => {
                        self.put("resilience.max_concurrent", value.clone());
                    }
                    "max_budget" => budget.0 = value.as_f64(),
                    "budget_duration" => budget.1 = value.as_str().map(str::to_owned),
                    "routing_strategy" if value == "simple-shuffle" => {}
                    "master_key" => {
                        self.unmapped(&path, "the administrator has a key of its own; `connect` issues others");
                    }
                    "database_url" => {
                        self.unmapped(&path, "the secret `database_url` names a database, which is ours alone");
                    }
                    "set_verbose" | "drop_params" | "json_logs" | "modify_params" => {
                        self.unmapped(&path, "it needs no setting here");
                    }
                    _ => self.unmapped(&path, "it has no counterpart"),
                }
            }
        }
        self.budget(budget.0, budget.1.as_deref());
        aliases
    }

    fn put(&mut self, key: &str, value: Value) {
        if !value.is_null() {
            self.imported.settings.insert(key.to_owned(), value);
        }
    }

    fn budget(&mut self, dollars: Option<f64>, duration: Option<&str>) {
        let Some(dollars) = dollars else { return };
        let mut window = Map::new();
        match duration.map(|text| (text, seconds(text))) {
            Some((text, _)) if text == "1mo" || text == "monthly" => {
                drop(window.insert("period".to_owned(), json!("month")));
            }
            Some((_, Some(seconds))) => drop(window.insert("window_seconds".to_owned(), json!(seconds))),
            Some((text, None)) => {
                self.unmapped(
                    "litellm_settings.budget_duration",
                    &format!("`{text}` is no duration; a month is taken"),
                );
                window.insert("period".to_owned(), json!("month"));
            }
            None => {
                self.unmapped(
                    "litellm_settings.max_budget",
                    "it has no budget_duration and would never end; a month is taken",
                );
                window.insert("period".to_owned(), json!("month"));
            }
        }
        window.insert("subject".to_owned(), json!("installation"));
        window.insert("max_cost_microdollars".to_owned(), json!((dollars * 1e6).round() as u64));
        self.imported.policies.push(json!({"name": "litellm-budget", "spec": {"quota_windows": [window]}}));
    }

    /// Gives each provider its models, and each name with several deployments, or a pattern, its route.
    fn arrange(&mut self, deployments: &[Deployment], aliases: &BTreeMap<String, String>) {
        let mut names: Vec<&str> = Vec::new();
        for deployment in deployments {
            if !names.contains(&deployment.name.as_str()) {
                names.push(&deployment.name);
            }
        }
        for (alias, target) in aliases.iter().filter(|(_, target)| !names.contains(&target.as_str())) {
            self.unmapped(
                &format!("router_settings.model_group_alias.{alias}"),
                &format!("there is no model `{target}`"),
            );
        }
        let mut patterns = Vec::new();
        for name in names {
            let of_name: Vec<_> = deployments.iter().filter(|deployment| deployment.name == name).collect();
            let aliases: Vec<_> =
                aliases.iter().filter(|(_, target)| *target == name).map(|(alias, _)| alias.clone()).collect();
            if name.contains('*') {
                patterns.push((name, of_name));
                continue;
            }
            for (index, deployment) in of_name.iter().enumerate() {
                let provider = &mut self.imported.providers[deployment.provider];
                // Ids are unique over all providers: the first has the name, the others are reached by the route.
                let id =
                    if index == 0 { name.to_owned() } else { format!("{}/{}", provider.name, deployment.upstream) };
                let upstream_model = (id != deployment.upstream).then(|| deployment.upstream.clone());
                if provider.models.iter().any(|model| model.id == id) {
                    continue;
                }
                provider.models.push(Model {
                    id,
                    aliases: if index == 0 { aliases.clone() } else { Vec::new() },
                    upstream_model,
                    pricing: deployment.price,
                    limits: deployment.limits.clone(),
                });
            }
            if of_name.len() > 1 {
                let weights = whole(of_name.iter().map(|deployment| deployment.weight));
                let targets = of_name.iter().zip(weights).map(|(deployment, weight)| Target {
                    provider: self.imported.providers[deployment.provider].name.clone(),
                    upstream_model: deployment.upstream.clone(),
                    weight,
                });
                let route = Route {
                    id: slug(name),
                    model_pattern: name.to_owned(),
                    provider: None,
                    upstream_model: None,
                    targets: targets.collect(),
                    fallbacks: Vec::new(),
                };
                self.imported.routes.push(route);
            }
        }
        for (name, deployment) in patterns.iter().flat_map(|(name, all)| all.iter().map(move |one| (name, one))) {
            self.pattern(name, deployment);
        }
    }

    /// Lists what the built-in catalog has for a pattern: the models that are listed by name are the more exact ones.
    fn pattern(&mut self, name: &str, deployment: &Deployment) {
        let known = |id: &String| {
            self.imported
                .providers
                .iter()
                .flat_map(|provider| &provider.models)
                .any(|model| model.id == *id || model.aliases.contains(id))
        };
        let catalog = catalog::default_catalog();
        let of_kind: Vec<_> = catalog.iter().filter(|model| model.provider == deployment.kind).collect();
        let models: Vec<_> = of_kind
            .iter()
            .filter_map(|model| {
                let id = name.replacen('*', captured(&deployment.upstream, &model.id)?, 1);
                let price = model.pricing?;
                let of_catalog = Price {
                    input_per_million: price.input_per_million.as_f64(),
                    output_per_million: price.output_per_million.as_f64(),
                    cache_read_per_million: Some(price.cache_read_per_million.as_f64()),
                    cache_write_per_million: Some(price.cache_write_per_million.as_f64()),
                };
                let model = Model {
                    aliases: Vec::new(),
                    upstream_model: (id != model.id).then(|| model.id.clone()),
                    pricing: if deployment.is_priced { deployment.price } else { of_catalog },
                    limits: deployment.limits.clone().or(limits(model.context_window, model.max_output_tokens)),
                    id,
                };
                (!known(&model.id)).then_some(model)
            })
            .collect();
        let provider = &mut self.imported.providers[deployment.provider];
        let note = match models.len() {
            0 if of_kind.is_empty() => format!(
                "`{name}` is a pattern, and the built-in catalog has no models of `{0}`: add the provider with \
                 `admin config catalog provider add`, and its models with `admin config catalog model add`, which gives them \
                 prices",
                deployment.kind
            ),
            0 => format!(
                "`{name}` is a pattern of which every model of `{}` is there from elsewhere: write shares as `targets` of a \
                 route",
                deployment.kind
            ),
            number => format!(
                "`{name}` is a pattern: {number} models of the built-in catalog stand for it; others are added with \
                 `admin config catalog model add`"
            ),
        };
        provider.models.extend(models);
        self.unmapped(&format!("model_list ({name})"), &note);
    }

    /// Where a model of this name is, if it is one of these or of those that a pattern brought.
    fn place_of(&self, name: &str, deployments: &[Deployment]) -> Option<Fallback> {
        let exact = deployments.iter().find(|deployment| deployment.name == name && !name.contains('*'));
        if let Some(deployment) = exact {
            let provider = self.imported.providers[deployment.provider].name.clone();
            return Some(Fallback { provider, upstream_model: deployment.upstream.clone() });
        }
        self.imported.providers.iter().find_map(|provider| {
            let model = provider.models.iter().find(|model| model.id == name)?;
            let upstream_model = model.upstream_model.clone().unwrap_or_else(|| model.id.clone());
            Some(Fallback { provider: provider.name.clone(), upstream_model })
        })
    }

    fn fallbacks(&mut self, root: &Map<String, Value>, deployments: &[Deployment]) {
        for section in ["litellm_settings", "router_settings"] {
            let Some(settings) = root.get(section).and_then(Value::as_object) else { continue };
            for kind in ["context_window_fallbacks", "content_policy_fallbacks", "default_fallbacks"] {
                if settings.contains_key(kind) {
                    self.unmapped(
                        &format!("{section}.{kind}"),
                        "a route has `fallbacks` for every failure of a provider alike",
                    );
                }
            }
            for (index, entry) in settings.get("fallbacks").and_then(Value::as_array).into_iter().flatten().enumerate()
            {
                for (name, others) in entry.as_object().into_iter().flatten() {
                    let at = format!("{section}.fallbacks[{index}].{name}");
                    let mut fallbacks = Vec::new();
                    for other in others.as_array().into_iter().flatten().filter_map(Value::as_str) {
                        match self.place_of(other, deployments) {
                            None => self.unmapped(&at, &format!("there is no model `{other}`")),
                            Some(place) => fallbacks.push(place),
                        }
                    }
                    if let Some(route) = self.imported.routes.iter_mut().find(|route| route.model_pattern == *name) {
                        route.fallbacks = fallbacks;
                        continue;
                    }
                    let Some(own) = self.place_of(name, deployments) else {
                        self.unmapped(&at, &format!("there is no model `{name}`"));
                        continue;
                    };
                    self.imported.routes.push(Route {
                        id: slug(name),
                        model_pattern: name.clone(),
                        provider: Some(own.provider),
                        upstream_model: Some(own.upstream_model),
                        targets: Vec::new(),
                        fallbacks,
                    });
                }
            }
        }
    }
}

/// What a model can take, if anything of it is known.
fn limits(context_window: Option<u64>, max_output_tokens: Option<u64>) -> Option<Value> {
    let sizes = [("context_window", context_window), ("max_output_tokens", max_output_tokens)];
    let limits: Map<_, _> =
        sizes.into_iter().filter_map(|(key, value)| Some((key.to_owned(), Value::from(value?)))).collect();
    (!limits.is_empty()).then_some(Value::Object(limits))
}

/// What of a name stands where its pattern has a star.
fn captured<'a>(pattern: &str, name: &'a str) -> Option<&'a str> {
    let (before, after) = pattern.split_once('*')?;
    name.strip_prefix(before)?.strip_suffix(after)
}

/// Shares as whole numbers. What has a share at all keeps one.
fn whole(weights: impl Iterator<Item = f64> + Clone) -> Vec<u32> {
    let factor = if weights.clone().all(|weight| weight.fract() == 0.0) { 1.0 } else { 100.0 };
    weights.map(|weight| if weight > 0.0 { (weight * factor).round().max(1.0) as u32 } else { 0 }).collect()
}

/// `30s`, `15m`, `24h`, `7d`.
fn seconds(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 604_800,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor).filter(|seconds| *seconds > 0)
}

fn slug(name: &str) -> String {
    let mut slug = String::new();
    for character in name.chars() {
        if character.is_ascii_alphanumeric() {
            slug.push(character.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use systemprompt_config::edit::YamlText;

    use super::*;

    fn imported(yaml: &str) -> Imported {
        import(YamlText::new(yaml).expect("YAML").value(), &BTreeSet::new())
    }

    const CONFIG: &str = r#"
model_list:
  - model_name: gpt-4o
    litellm_params:
      model: openai/gpt-4o
      api_key: os.environ/OPENAI_API_KEY
      rpm: 480
      timeout: 300
  - model_name: claude
    litellm_params:
      model: anthropic/claude-sonnet-5
      api_key: "os.environ/ANTHROPIC_API_KEY"
  - model_name: llama
    litellm_params:
      model: hosted_vllm/meta-llama/Llama-3.3-70B
      api_base: http://10.0.0.5:8000/v1
      weight: 9
      input_cost_per_token: 0.0000002
      output_cost_per_token: 0.0000006
    model_info:
      max_input_tokens: 131072
      max_output_tokens: 8192
  - model_name: llama
    litellm_params:
      model: groq/llama-3.3-70b-versatile
      api_key: literal-key-of-groq
      input_cost_per_token: 0.00000059
      output_cost_per_token: 0.00000079
  - model_name: azure-gpt
    litellm_params:
      model: azure/my-deployment
      api_base: https://x.openai.azure.com
      api_version: "2025-01-01"
  - model_name: "openai/*"
    litellm_params:
      model: "openai/*"
      api_key: os.environ/OPENAI_API_KEY
litellm_settings:
  drop_params: true
  num_retries: 3
  request_timeout: 60
  max_budget: 100
  budget_duration: 30d
  fallbacks: [{"claude": ["gpt-4o", "nothing"]}, {"llama": ["gpt-4o"]}]
  context_window_fallbacks: [{"gpt-4o": ["claude"]}]
router_settings:
  routing_strategy: simple-shuffle
  model_group_alias: {"gpt-4": "gpt-4o", "lost": "nobody"}
  redis_host: os.environ/REDIS_HOST
general_settings:
  master_key: sk-1234
environment_variables:
  X: y
"#;

    #[test]
    fn deployments_become_providers_with_models_and_shares() {
        let Imported { providers, routes, settings, policies, secrets, .. } = imported(CONFIG);
        let shown: Vec<_> = providers.iter().map(|provider| serde_json::to_value(provider).expect("JSON")).collect();
        assert_eq!(
            shown[0],
            json!({"name": "openai", "wire": "openai-chat", "surface": "openai", "endpoint": "https://api.openai.com/v1",
                "api_key_secret": "openai", "resilience": {"request_timeout_ms": 300_000},
                "models": [shown[0]["models"][0]]})
        );
        let gpt = &shown[0]["models"][0];
        assert_eq!(
            (&gpt["id"], &gpt["aliases"], &gpt["pricing"]["cache_read_per_million"]),
            (&json!("gpt-4o"), &json!(["gpt-4"]), &json!(1.25))
        );
        assert_eq!(shown[1]["models"][0]["upstream_model"], "claude-sonnet-5");
        assert_eq!(
            shown[2],
            json!({"name": "hosted-vllm", "wire": "openai-chat", "surface": "openai", "endpoint": "http://10.0.0.5:8000/v1",
                "models": [{"id": "llama", "upstream_model": "meta-llama/Llama-3.3-70B",
                    "pricing": {"input_per_million": 0.2, "output_per_million": 0.6},
                    "limits": {"context_window": 131_072, "max_output_tokens": 8192}}]})
        );
        assert_eq!(shown[3]["models"][0]["id"], "groq/llama-3.3-70b-versatile");
        assert_eq!(
            serde_json::to_value(&routes).expect("JSON"),
            json!([
                {"id": "llama", "model_pattern": "llama", "targets": [
                    {"provider": "hosted-vllm", "upstream_model": "meta-llama/Llama-3.3-70B", "weight": 9},
                    {"provider": "groq", "upstream_model": "llama-3.3-70b-versatile", "weight": 1}],
                 "fallbacks": [{"provider": "openai", "upstream_model": "gpt-4o"}]},
                {"id": "claude", "model_pattern": "claude", "provider": "anthropic", "upstream_model": "claude-sonnet-5",
                 "fallbacks": [{"provider": "openai", "upstream_model": "gpt-4o"}]},
            ])
            .as_array()
            .map(|list| {
                let mut list = list.clone();
                list.sort_by_key(|route| routes.iter().position(|known| route["id"] == *known.id));
                Value::Array(list)
            })
            .unwrap_or_default()
        );
        assert_eq!(
            settings.into_iter().collect::<Vec<_>>(),
            [
                ("resilience.request_timeout_ms".to_owned(), json!(60_000)),
                ("resilience.retry_attempts".to_owned(), json!(3))
            ]
        );
        assert_eq!(
            policies,
            [json!({"name": "litellm-budget", "spec": {"quota_windows": [
                {"window_seconds": 2_592_000, "subject": "installation", "max_cost_microdollars": 100_000_000}]}})]
        );
        assert_eq!(secrets.keys().collect::<Vec<_>>(), ["anthropic", "azure_api_key", "groq_key", "openai"]);
    }

    #[test]
    fn what_has_no_place_is_listed_and_no_key_is_repeated() {
        let imported = imported(CONFIG);
        let paths: Vec<_> = imported.unmapped.iter().map(|unmapped| unmapped.path.as_str()).collect();
        for path in [
            "model_list[0].litellm_params.rpm",
            "model_list[4].litellm_params.api_version",
            "model_list (openai/*)",
            "environment_variables",
            "litellm_settings.context_window_fallbacks",
            "litellm_settings.fallbacks[0].claude",
            "router_settings.model_group_alias.lost",
            "router_settings.redis_host",
            "general_settings.master_key",
        ] {
            assert!(paths.contains(&path), "{path} is not among {paths:?}");
        }
        let all = serde_json::to_string(&imported).expect("JSON");
        assert!(!all.contains("literal-key-of-groq") && !all.contains("sk-1234"), "{all}");
    }

    #[test]
    fn a_pattern_is_what_the_catalog_has_for_it() {
        let yaml = r#"
model_list:
  - {model_name: "anthropic/*", litellm_params: {model: "anthropic/*", api_key: os.environ/ANTHROPIC_API_KEY}}
  - {model_name: "anthropic/claude-opus-5", litellm_params: {model: bedrock/anthropic.claude-opus-5, aws_region_name: eu-west-1}}
  - {model_name: "flash-*", litellm_params: {model: "gemini/gemini-2.5-*", api_key: os.environ/GEMINI_API_KEY}}
  - {model_name: "bedrock/*", litellm_params: {model: "bedrock/*", aws_region_name: eu-west-1}}
  - {model_name: mine, litellm_params: {model: hosted_vllm/mine, api_base: "http://10.0.0.5/v1"}}
litellm_settings:
  fallbacks: [{"mine": ["anthropic/claude-sonnet-5"]}]
"#;
        let imported = imported(yaml);
        let models = |name: &str| -> Vec<(&str, Option<&str>)> {
            let provider = imported.providers.iter().find(|provider| provider.name == name).expect("a provider");
            provider.models.iter().map(|model| (model.id.as_str(), model.upstream_model.as_deref())).collect()
        };
        let anthropic = models("anthropic");
        assert!(anthropic.contains(&("anthropic/claude-sonnet-5", Some("claude-sonnet-5"))), "{anthropic:?}");
        assert!(!anthropic.iter().any(|(id, _)| *id == "anthropic/claude-opus-5"), "it stands by itself");
        assert_eq!(models("bedrock"), [("anthropic/claude-opus-5", Some("anthropic.claude-opus-5"))]);
        assert_eq!(
            models("gemini"),
            [
                ("flash-pro", Some("gemini-2.5-pro")),
                ("flash-flash", Some("gemini-2.5-flash")),
                ("flash-flash-lite", Some("gemini-2.5-flash-lite"))
            ]
        );
        assert_eq!(imported.providers.len(), 4, "what has no models is not written");
        assert_eq!(
            serde_json::to_value(&imported.routes).expect("JSON")[0]["fallbacks"],
            json!([{"provider": "anthropic", "upstream_model": "claude-sonnet-5"}])
        );
        let paths: Vec<_> = imported.unmapped.iter().map(|unmapped| unmapped.path.as_str()).collect();
        assert!(paths.contains(&"model_list (bedrock/*)") && paths.contains(&"model_list (anthropic/*)"), "{paths:?}");
    }

    #[test]
    fn names_that_are_taken_are_left_alone() {
        let yaml = "model_list: [{model_name: a, litellm_params: {model: openai/a, input_cost_per_token: 0, output_cost_per_token: 0}}]";
        let imported = import(YamlText::new(yaml).expect("YAML").value(), &BTreeSet::from(["openai".to_owned()]));
        assert_eq!(imported.providers[0].name, "openai-2");
        assert_eq!(imported.unmapped, []);
    }

    #[test]
    fn durations() {
        for (text, expected) in
            [("30s", Some(30)), ("24h", Some(86_400)), ("7d", Some(604_800)), ("x", None), ("", None), ("0d", None)]
        {
            assert_eq!(seconds(text), expected, "{text}");
        }
    }

    #[test]
    fn each_key_that_stands_in_the_file_is_a_secret_of_its_own() {
        let model = |name: &str, base: &str, key: &str| {
            format!(
                "  - {{model_name: {name}, litellm_params: {{model: azure/{name}, api_base: {base}, api_key: {key}}}}}\n"
            )
        };
        let (one, other) = ("https://one.openai.azure.com", "https://other.openai.azure.com");
        let yaml = format!(
            "model_list:\n{}{}{}{}",
            model("a", one, "key-of-the-first"),
            model("b", other, "key-of-the-second"),
            model("a", one, "key-of-the-third"),
            model("c", other, "key-of-the-second"),
        );
        let imported = imported(&yaml);
        let named =
            |provider: &Provider| (provider.endpoint.clone().unwrap(), provider.api_key_secret.clone().unwrap());
        let providers: Vec<_> = imported.providers.iter().map(named).collect();
        let expected = [(one, "azure_key"), (other, "azure_key_2"), (one, "azure_key_3")];
        assert_eq!(providers, expected.map(|(base, key)| (format!("{base}/openai/v1"), key.to_owned())));
        assert_eq!(imported.secrets.keys().collect::<Vec<_>>(), ["azure_key", "azure_key_2", "azure_key_3"]);
    }

    #[test]
    fn every_deployment_of_a_pattern_counts_and_keeps_its_price() {
        let imported = imported(
            r#"
model_list:
  - model_name: "*"
    litellm_params: {model: "anthropic/*", api_key: os.environ/ONE}
  - model_name: "*"
    litellm_params: {model: "openai/*", api_key: os.environ/TWO, input_cost_per_token: 0.000777, output_cost_per_token: 0.000002}
  - model_name: "*"
    litellm_params: {model: "anthropic/*", api_key: os.environ/THREE}
  - model_name: "groq/*"
    litellm_params: {model: "groq/*", api_key: os.environ/FOUR}
"#,
        );
        let names: Vec<_> = imported.providers.iter().map(|provider| provider.name.as_str()).collect();
        assert_eq!(names, ["anthropic", "openai"]);
        let is_as_given = |at: usize| {
            imported.providers[at].models.iter().map(|model| (model.pricing.input_per_million - 777.0).abs() < 1e-6)
        };
        assert!(is_as_given(1).all(|same| same) && !is_as_given(0).any(|same| same));
        assert_eq!(
            imported.secrets.keys().collect::<Vec<_>>(),
            ["one", "two"],
            "what no provider needs is not asked for"
        );
        let notes: Vec<_> = imported.unmapped.iter().filter(|one| one.path.starts_with("model_list (")).collect();
        assert_eq!(notes.len(), 4, "{notes:#?}");
        assert!(notes[2].note.contains("from elsewhere") && notes[3].note.contains("provider add"), "{notes:#?}");
    }

    #[test]
    fn shares_are_whole_numbers() {
        let whole = |weights: &[f64]| whole(weights.iter().copied());
        assert_eq!(whole(&[9.0, 1.0, 0.0]), [9, 1, 0]);
        assert_eq!(whole(&[0.9, 0.1, 0.0]), [90, 10, 0]);
        assert_eq!(whole(&[0.4, 0.004]), [40, 1]);
    }
}
