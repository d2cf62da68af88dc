//! What the configuration of a LiteLLM proxy means here: its deployments as providers with models, several of one name as a
//! route with shares, its fallbacks, aliases, time limits and budgets. What has no place here is listed, not dropped.
//!
//! Pure: a value in, values out. Keys of providers become names of secrets; their values are not looked at.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value, json};
use systemprompt_config::Secrets;
use systemprompt_llm::catalog;

/// A LiteLLM configuration in our words.
#[derive(Debug, Default, PartialEq, Serialize)]
pub(crate) struct Imported {
    /// Entries of `providers`.
    pub(crate) providers: Vec<Provider>,
    /// Entries of `gateway.routes`.
    pub(crate) routes: Vec<Route>,
    /// Keys of `gateway`, dotted.
    pub(crate) settings: BTreeMap<String, Value>,
    /// Entries of `policies` in `services/gateway/policies.yaml`.
    pub(crate) policies: Vec<Value>,
    /// Secrets that must be set, with where LiteLLM had them.
    #[serde(rename = "secret_sources")]
    pub(crate) secrets: BTreeMap<String, String>,
    /// What was not taken over: where it stands, and why or what to do.
    pub(crate) unmapped: Vec<Unmapped>,
}

/// Something that has no place here.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Unmapped {
    /// Its key path in the file.
    pub(crate) path: String,
    /// Why, or what to do.
    pub(crate) note: String,
}

/// A provider as it is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Provider {
    pub(crate) name: String,
    wire: &'static str,
    surface: &'static str,
    endpoint: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key_secret: Option<String>,
    /// Absent: the built-in catalog's models of the provider of this name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<Model>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resilience: Option<Value>,
}

/// A model as it is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys of the profile")]
pub(crate) struct Model {
    id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_model: Option<String>,
    pricing: Price,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Price {
    input_per_million: f64,
    output_per_million: f64,
}

/// A route as it is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Route {
    id: String,
    model_pattern: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_model: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    targets: Vec<Target>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    fallbacks: Vec<Fallback>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Target {
    provider: String,
    upstream_model: String,
    weight: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
struct Fallback {
    provider: String,
    upstream_model: String,
}

/// What a LiteLLM model prefix stands for: wire, surface, endpoint, variable of the key.
const KINDS: &[(&str, &str, &str, &str, &str)] = &[
    ("openai", "openai-chat", "openai", "https://api.openai.com/v1", "OPENAI_API_KEY"),
    ("anthropic", "anthropic", "anthropic", "https://api.anthropic.com/v1", "ANTHROPIC_API_KEY"),
    ("gemini", "openai-chat", "openai", "https://generativelanguage.googleapis.com/v1beta/openai", "GEMINI_API_KEY"),
    ("groq", "openai-chat", "openai", "https://api.groq.com/openai/v1", "GROQ_API_KEY"),
    ("mistral", "openai-chat", "openai", "https://api.mistral.ai/v1", "MISTRAL_API_KEY"),
    ("deepseek", "openai-chat", "openai", "https://api.deepseek.com/v1", "DEEPSEEK_API_KEY"),
    ("openrouter", "openai-chat", "openai", "https://openrouter.ai/api/v1", "OPENROUTER_API_KEY"),
    ("together_ai", "openai-chat", "openai", "https://api.together.xyz/v1", "TOGETHERAI_API_KEY"),
    ("fireworks_ai", "openai-chat", "openai", "https://api.fireworks.ai/inference/v1", "FIREWORKS_AI_API_KEY"),
    ("xai", "openai-chat", "openai", "https://api.x.ai/v1", "XAI_API_KEY"),
    ("perplexity", "openai-chat", "openai", "https://api.perplexity.ai", "PERPLEXITYAI_API_KEY"),
    ("ollama", "openai-chat", "openai", "http://localhost:11434/v1", ""),
    ("ollama_chat", "openai-chat", "openai", "http://localhost:11434/v1", ""),
    ("hosted_vllm", "openai-chat", "openai", "", ""),
    ("openai_like", "openai-chat", "openai", "", ""),
    ("custom_openai", "openai-chat", "openai", "", ""),
    ("lm_studio", "openai-chat", "openai", "http://localhost:1234/v1", ""),
];

/// The part of LiteLLM's parameters of a deployment that is read.
const READ: &[&str] = &[
    "model",
    "api_key",
    "api_base",
    "base_url",
    "weight",
    "input_cost_per_token",
    "output_cost_per_token",
    "timeout",
    "stream_timeout",
    "max_retries",
    "custom_llm_provider",
];

/// A deployment: one entry of `model_list`.
struct Deployment {
    /// The name callers use.
    name: String,
    provider: usize,
    upstream: String,
    weight: u32,
    price: Price,
    limits: Option<Value>,
}

/// Translates a configuration. `taken` are the names of the providers there are already.
pub(crate) fn import(config: &Value, taken: &BTreeSet<String>) -> Imported {
    let mut importing = Importing { taken, imported: Imported::default() };
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
    importing.imported
}

struct Importing<'a> {
    taken: &'a BTreeSet<String>,
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
        // A base URL makes anything that is not known one of the compatible endpoints.
        let base = text("api_base").or_else(|| text("base_url"));
        let Some((kind, wire, surface, usual, variable)) = KINDS.iter().find(|kind| kind.0 == prefix).copied() else {
            let note = match prefix {
                "azure" | "azure_ai" | "bedrock" | "vertex_ai" | "vertex_ai_beta" | "sagemaker" => {
                    "its credentials and addresses are written otherwise here; see the guide to providers"
                }
                _ => "this kind of provider is not known; add it with `admin config catalog provider add`",
            };
            self.unmapped(&format!("{at}.litellm_params.model"), note);
            return None;
        };
        let endpoint = base.map_or(usual, |base| base).trim_end_matches('/').to_owned();
        if endpoint.is_empty() {
            self.unmapped(
                &format!("{at}.litellm_params.api_base"),
                "it is missing, and this kind of provider has no usual one",
            );
            return None;
        }
        let endpoint = if kind == "anthropic" && !endpoint.ends_with("/v1") { endpoint + "/v1" } else { endpoint };
        let secret = self.secret(text("api_key"), kind, variable, at);
        let resilience = self.resilience(parameters);
        let provider = self.provider(kind, wire, surface, endpoint, secret, resilience);
        for key in parameters.keys().filter(|key| !READ.contains(&key.as_str())) {
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
        let price = self.price(parameters, info, upstream, wild, at);
        let size = |key: &str| info.get(key).and_then(Value::as_u64);
        let mut limits = Map::new();
        for (key, value) in [
            ("context_window", size("max_input_tokens")),
            ("max_output_tokens", size("max_output_tokens").or_else(|| size("max_tokens"))),
        ] {
            limits.extend(value.map(|value| (key.to_owned(), json!(value))));
        }
        let weight =
            parameters.get("weight").and_then(Value::as_f64).map_or(1, |weight| weight.max(0.0).round() as u32);
        Some(Deployment {
            name: name.to_owned(),
            provider,
            upstream: upstream.to_owned(),
            weight,
            price,
            limits: (!limits.is_empty()).then_some(Value::Object(limits)),
        })
    }

    /// The name of the secret for a key.
    fn secret(&mut self, key: Option<&str>, kind: &str, variable: &str, at: &str) -> Option<String> {
        let (name, origin) = match key {
            Some(reference) => match reference.strip_prefix("os.environ/") {
                Some(variable) => (Secrets::name_of(variable), format!("the variable {variable}")),
                None if reference.is_empty() || variable.is_empty() && reference.len() < 8 => return None,
                // Its value stays where it is.
                None => (format!("{}_key", slug(kind)), format!("the value of {at}.litellm_params.api_key")),
            },
            None if variable.is_empty() => return None,
            None => (Secrets::name_of(variable), format!("the variable {variable}")),
        };
        self.imported.secrets.entry(name.clone()).or_insert(origin);
        Some(name)
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

    /// The provider with these properties; a new one if there is none yet.
    fn provider(
        &mut self,
        kind: &str,
        wire: &'static str,
        surface: &'static str,
        endpoint: String,
        api_key_secret: Option<String>,
        resilience: Option<Value>,
    ) -> usize {
        let same = |provider: &Provider| {
            provider.wire == wire
                && provider.endpoint == endpoint
                && provider.api_key_secret == api_key_secret
                && provider.resilience == resilience
        };
        if let Some(index) = self.imported.providers.iter().position(same) {
            return index;
        }
        let kind = slug(kind);
        let used = |name: &String| {
            self.taken.contains(name) || self.imported.providers.iter().any(|provider| provider.name == *name)
        };
        let numbered = (1..).map(|number| if number == 1 { kind.clone() } else { format!("{kind}-{number}") });
        let name = numbered.into_iter().find(|name| !used(name)).unwrap_or_default();
        let models = Vec::new();
        self.imported.providers.push(Provider { name, wire, surface, endpoint, api_key_secret, models, resilience });
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
        Price { input_per_million: input.unwrap_or(0.0), output_per_million: output.unwrap_or(0.0) }
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
        for name in names {
            let of_name: Vec<_> = deployments.iter().filter(|deployment| deployment.name == name).collect();
            let aliases: Vec<_> =
                aliases.iter().filter(|(_, target)| *target == name).map(|(alias, _)| alias.clone()).collect();
            if name.contains('*') {
                self.pattern(name, &of_name);
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
                let targets = of_name.iter().map(|deployment| Target {
                    provider: self.imported.providers[deployment.provider].name.clone(),
                    upstream_model: deployment.upstream.clone(),
                    weight: deployment.weight,
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
    }

    fn pattern(&mut self, name: &str, deployments: &[&Deployment]) {
        let Some(first) = deployments.first() else { return };
        let provider = self.imported.providers[first.provider].name.clone();
        let note = format!(
            "`{name}` is a pattern: list the models of `{provider}` with `admin config catalog model add`, which gives them prices"
        );
        self.unmapped(&format!("model_list ({name})"), &note);
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
                        match deployments.iter().find(|deployment| deployment.name == other) {
                            None => self.unmapped(&at, &format!("there is no model `{other}`")),
                            Some(deployment) => fallbacks.push(Fallback {
                                provider: self.imported.providers[deployment.provider].name.clone(),
                                upstream_model: deployment.upstream.clone(),
                            }),
                        }
                    }
                    if let Some(route) = self.imported.routes.iter_mut().find(|route| route.model_pattern == *name) {
                        route.fallbacks = fallbacks;
                        continue;
                    }
                    let Some(own) = deployments.iter().find(|deployment| deployment.name == *name) else {
                        self.unmapped(&at, &format!("there is no model `{name}`"));
                        continue;
                    };
                    self.imported.routes.push(Route {
                        id: slug(name),
                        model_pattern: name.clone(),
                        provider: Some(self.imported.providers[own.provider].name.clone()),
                        upstream_model: Some(own.upstream.clone()),
                        targets: Vec::new(),
                        fallbacks,
                    });
                }
            }
        }
    }
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
                "models": [{"id": "gpt-4o", "aliases": ["gpt-4"], "pricing": shown[0]["models"][0]["pricing"]}]})
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
        assert_eq!(secrets.keys().collect::<Vec<_>>(), ["anthropic", "groq_key", "openai"]);
    }

    #[test]
    fn what_has_no_place_is_listed_and_no_key_is_repeated() {
        let imported = imported(CONFIG);
        let paths: Vec<_> = imported.unmapped.iter().map(|unmapped| unmapped.path.as_str()).collect();
        for path in [
            "model_list[0].litellm_params.rpm",
            "model_list[4].litellm_params.model",
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
}
