//! What one configuration makes of the gateway. A reload makes another; calls that have begun keep theirs.

use std::path::PathBuf;
use std::sync::Arc;

use chrono::NaiveDate;
use serde::de::DeserializeOwned;
use systemprompt_config::Configuration;
use systemprompt_llm::catalog::{self, Catalog};
use systemprompt_model::Ambient;

use crate::config::{AiConfig, GatewayConfig, PromptText, ProviderConfig, Surroundings};
use crate::credential::{Credentials, Transport, Unusable};
use crate::routing::{PromptOverrides, RoutingTable};
use crate::upstream::{Fetcher, Upstreams};

/// Everything of the gateway that follows from its configuration.
pub(crate) struct GatewaySnapshot {
    /// The key `gateway`.
    pub settings: GatewayConfig,
    /// `services/ai/config.yaml`.
    pub ai: AiConfig,
    /// The version of the models and prices.
    pub prices: NaiveDate,
    /// Where requests go.
    pub table: RoutingTable,
    /// What providers are shown.
    pub credentials: Credentials,
    /// What tokens are fetched by.
    fetcher: Arc<Fetcher>,
    /// The clients of the providers.
    pub upstreams: Arc<Upstreams>,
}

/// Why a checked configuration cannot be served.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SnapshotError {
    /// A section does not fit its type.
    #[error(transparent)]
    Section(#[from] systemprompt_config::SectionError),
    /// There is nothing to check certificates against.
    #[error("the TLS roots cannot be loaded")]
    Tls(#[source] std::io::Error),
    /// A credential that cannot be shown.
    #[error(transparent)]
    Credential(#[from] Unusable),
}

impl GatewaySnapshot {
    /// What `config` makes of the gateway. Connections of `before` are kept where the limits they were made with still
    /// hold.
    pub(crate) fn new(
        config: &Configuration,
        ambient: &Ambient,
        before: Option<&GatewaySnapshot>,
    ) -> Result<Self, SnapshotError> {
        let providers: Vec<ProviderConfig> = section(config, "providers")?;
        let settings: GatewayConfig = section(config, "gateway")?;
        let ai: AiConfig = config.section_at(&AiConfig::PLACE)?;
        let Surroundings { trusted_hosts: trusted, catalog, prompts, .. } = surroundings(config);
        let table = RoutingTable::new(&providers, &settings, &catalog, before.map(|before| &before.table))
            .with_prompts(PromptOverrides::new(&settings, &prompts));
        let connections = before.map(|before| before.upstreams.as_ref());
        let upstreams = Upstreams::new(&table.providers(), &trusted, ambient.clone(), connections);
        let upstreams = Arc::new(upstreams.map_err(SnapshotError::Tls)?);
        let fetcher = match before {
            Some(before) => before.fetcher.clone(),
            None => Arc::new(Fetcher::new(&trusted).map_err(SnapshotError::Tls)?),
        };
        let transport: Arc<dyn Transport> = fetcher.clone();
        let secret = |name: &str| config.secrets.get(name);
        let kept = before.map(|before| &before.credentials);
        let credentials = Credentials::new(&providers, secret, &transport, ambient, kept)?;
        Ok(Self { settings, ai, prices: catalog.version, table, credentials, fetcher, upstreams })
    }
}

/// What the checks of the configuration need to know besides the two keys.
pub(crate) fn surroundings(config: &Configuration) -> Surroundings {
    let (catalog, catalog_flaws) = match read_catalog(config) {
        Ok(catalog) => {
            let flaws = catalog.flaws();
            (catalog, flaws)
        }
        Err(flaw) => (catalog::default_catalog(), vec![flaw]),
    };
    Surroundings {
        catalog: Arc::new(catalog),
        catalog_flaws,
        prompts: read_prompts(config),
        production: config.profile.is_production(),
        secrets: config.secrets.names().map(str::to_owned).collect(),
        trusted_hosts: config.environment.trusted_http_hosts(),
    }
}

/// The files that the key `gateway` names.
pub(crate) fn named_files(config: &Configuration) -> Vec<PathBuf> {
    let gateway: GatewayConfig = config.section("gateway").unwrap_or_default();
    let prompts = gateway.system_prompt_overrides.into_iter().filter_map(|config| match config.prompt? {
        PromptText::File(file) => Some(file.path),
        PromptText::Text(_) => None,
    });
    prompts.chain(gateway.catalog.map(|catalog| catalog.path)).map(|path| config.profile_path(&path)).collect()
}

/// The operator's models and prices, or the built-in ones.
fn read_catalog(config: &Configuration) -> Result<Catalog, String> {
    let gateway: GatewayConfig = config.section("gateway").unwrap_or_default();
    let Some(file) = gateway.catalog else { return Ok(catalog::default_catalog()) };
    let path = config.profile_path(&file.path);
    let shown = path.display();
    let text = std::fs::read_to_string(&path).map_err(|error| format!("`{shown}` cannot be read: {error}"))?;
    Catalog::parse(&text).map_err(|error| format!("`{shown}` is not a catalog: {error}"))
}

/// The prompts of the overrides of system prompts.
fn read_prompts(config: &Configuration) -> Vec<Option<Result<String, String>>> {
    let gateway: GatewayConfig = config.section("gateway").unwrap_or_default();
    let read = |text| match text {
        PromptText::Text(text) => Ok(text),
        PromptText::File(file) => {
            let path = config.profile_path(&file.path);
            std::fs::read_to_string(&path).map_err(|error| format!("`{}` cannot be read: {error}", path.display()))
        }
    };
    gateway.system_prompt_overrides.into_iter().map(|config| config.prompt.map(read)).collect()
}

fn section<T: DeserializeOwned + Default>(config: &Configuration, key: &str) -> Result<T, SnapshotError> {
    Ok(config.section(key)?)
}
