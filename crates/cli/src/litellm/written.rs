//! What an import writes: the keys of the profile, and what has no place in it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

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
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(crate) struct Provider {
    pub(crate) name: String,
    pub(super) wire: &'static str,
    pub(super) surface: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) endpoint: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) region: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) project: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) location: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) auth: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) api_key_secret: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) identity: Option<Value>,
    /// Absent: the built-in catalog's models of the provider of this name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) models: Vec<Model>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) resilience: Option<Value>,
}

impl Provider {
    /// Whether both are the same place, whatever it is called and offers.
    pub(super) fn is_as(&self, other: &Self) -> bool {
        let bare = |provider: &Self| Self { name: String::new(), models: Vec::new(), ..provider.clone() };
        bare(self) == bare(other)
    }

    /// The names of the secrets it is shown by.
    pub(super) fn secrets(&self) -> Vec<String> {
        let identity = self.identity.iter().filter_map(Value::as_object).flatten();
        let named = identity.filter(|(key, _)| key.ends_with("_secret")).filter_map(|(_, name)| name.as_str());
        named.map(str::to_owned).chain(self.api_key_secret.clone()).collect()
    }
}

/// A model as it is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys of the profile")]
pub(crate) struct Model {
    pub(super) id: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) aliases: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream_model: Option<String>,
    pub(super) pricing: Price,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) limits: Option<Value>,
}

/// Dollars for a million tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
#[expect(clippy::struct_field_names, reason = "the keys of the profile")]
pub(super) struct Price {
    pub(super) input_per_million: f64,
    pub(super) output_per_million: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_read_per_million: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cache_write_per_million: Option<f64>,
}

/// A route as it is written.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Route {
    pub(super) id: String,
    pub(super) model_pattern: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) provider: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream_model: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) targets: Vec<Target>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) fallbacks: Vec<Fallback>,
}

/// A share of a route.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Target {
    pub(super) provider: String,
    pub(super) upstream_model: String,
    pub(super) weight: u32,
}

/// Who is asked when others fail.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Fallback {
    pub(super) provider: String,
    pub(super) upstream_model: String,
}
