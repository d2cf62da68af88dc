//! What a configuration has of providers and routes, for commands that show and change it.

use std::io;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Serialize;
use systemprompt_config::{Configuration, SectionError};
use systemprompt_governance::HttpClient;

use crate::config::{GatewayConfig, ProviderConfig};
use crate::snapshot::surroundings;
use crate::upstream::Webhooks;

/// A provider of the configuration.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConfiguredProvider {
    /// Its name.
    pub name: String,
    /// What it speaks.
    pub wire: String,
    /// Where it is.
    pub endpoint: Option<String>,
    /// The secret that holds its key, or the first of several.
    pub api_key_secret: Option<String>,
    /// Whether it lists its models itself; otherwise they are the built-in catalog's.
    pub lists_models: bool,
    /// The ids of its models.
    pub models: Vec<String>,
}

/// A route of the configuration.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ConfiguredRoute {
    /// Its id, which access rules name.
    pub id: String,
    /// The models it is for.
    pub model_pattern: String,
    /// Where it leads: the providers a request may go to first.
    pub providers: Vec<String>,
    /// The model name sent upstream.
    pub upstream_model: Option<String>,
    /// Where requests go if those fail.
    pub fallbacks: Vec<String>,
}

/// What asks an authorizer as the server does: over connections that lead to no private address but those of trusted hosts.
pub fn authorizer_client(configuration: &Configuration) -> io::Result<Arc<dyn HttpClient>> {
    Ok(Arc::new(Webhooks::new(&surroundings(configuration).trusted_hosts)?))
}

/// The providers, in their order.
pub fn providers(configuration: &Configuration) -> Result<Vec<ConfiguredProvider>, SectionError> {
    let providers: Vec<ProviderConfig> = configuration.section("providers")?;
    let catalog = surroundings(configuration).catalog;
    let shown = providers.into_iter().map(|provider| ConfiguredProvider {
        models: provider.models(&catalog).into_iter().map(|model| model.id).collect(),
        lists_models: !provider.models.is_empty(),
        wire: provider.wire.as_str().to_owned(),
        endpoint: provider.base_url(),
        api_key_secret: provider.secrets().next().map(|(_, secret)| secret.to_owned()),
        name: provider.name.clone(),
    });
    Ok(shown.collect())
}

/// The routes, in the order in which they are tried.
pub fn routes(configuration: &Configuration) -> Result<Vec<ConfiguredRoute>, SectionError> {
    let gateway: GatewayConfig = configuration.section("gateway")?;
    let shown = gateway.routes.into_iter().map(|route| ConfiguredRoute {
        id: route.route_id(),
        providers: route.firsts().into_iter().map(|place| place.provider.to_owned()).collect(),
        fallbacks: route
            .fallbacks
            .iter()
            .map(|fallback| fallback.provider.clone())
            .chain(route.fallback_provider.clone())
            .collect(),
        model_pattern: route.model_pattern,
        upstream_model: route.upstream_model,
    });
    Ok(shown.collect())
}
