//! The gateway as an extension: its profile keys, its checks, its routes.

use std::path::PathBuf;
use std::sync::Arc;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use systemprompt_config::Configuration;
use systemprompt_extension::ledger::Projection;
use systemprompt_extension::prelude::*;
use systemprompt_governance::Authorizers;
use systemprompt_governance::Gate;
use systemprompt_governance::access::AccessRules;
use systemprompt_governance::config::QuotaAlertConfig;
use systemprompt_governance::ledger::GovernanceProfile;
use systemprompt_governance::quota::Quotas;
use systemprompt_governance::shipping::Shipping;
use systemprompt_identity::Sessions;
use systemprompt_model::{EntityKind, with_causes};
use systemprompt_telemetry::{Export, Ingest};

use crate::brought::Brought;
use crate::cache::AnswerCache;
use crate::config::{AiConfig, GatewayConfig, ProviderConfig, check, check_webhook};
use crate::credential::{NO_KEY, is_key};
use crate::inference::Inference;
use crate::metrics::GatewayMetrics;
use crate::request::Requests;
use crate::routes::{Gateway, table};
use crate::routing::RoutingTable;
use crate::service::AiService;
use crate::snapshot::{GatewaySnapshot, named_files, surroundings};
use crate::upstream::Webhooks;

/// The model gateway.
#[derive(Debug, Default)]
pub struct GatewayExtension;

systemprompt_extension::register_built_in!(GatewayExtension);

/// The prefix the inference endpoints are announced under; `gateway.inference_path_prefix` may move them.
const PREFIXES: &[&str] = &["/v1"];

#[async_trait]
impl Extension for GatewayExtension {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "gateway", name: "Model gateway", version: env!("CARGO_PKG_VERSION") }
    }

    fn priority(&self) -> u32 {
        50
    }

    fn dependencies(&self) -> Vec<&'static str> {
        vec!["governance", "identity", "telemetry"]
    }

    fn schemas(&self) -> Vec<SchemaDefinition> {
        vec![
            SchemaDefinition::inline("ai_requests", include_str!("../schema/requests.sql")),
            SchemaDefinition::inline("gateway_answers", include_str!("../schema/answers.sql")),
        ]
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration::new(1, "keys", include_str!("../migrations/001_keys.sql"))]
    }

    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        vec![Arc::new(Requests)]
    }

    fn config_sections(&self) -> Vec<SectionSpec> {
        let section = |key, schema: schemars::Schema| SectionSpec {
            place: Place::Profile { key },
            schema: schema.to_value(),
            extension: "gateway",
        };
        vec![
            section("providers", schemars::schema_for!(Vec<ProviderConfig>)),
            section("gateway", schemars::schema_for!(GatewayConfig)),
            SectionSpec {
                place: AiConfig::PLACE,
                schema: schemars::schema_for!(AiConfig).to_value(),
                extension: "gateway",
            },
        ]
    }

    fn section_files(&self, config: &Configuration) -> Vec<(&'static str, PathBuf)> {
        named_files(config).into_iter().map(|path| ("gateway", path)).collect()
    }

    fn validate_sections(&self, config: &Configuration) -> Vec<Problem> {
        let (Ok(providers), Ok(gateway)) = (config.section("providers"), config.section("gateway")) else {
            // The schema has said so already.
            return Vec::new();
        };
        let providers: Vec<ProviderConfig> = providers;
        let surroundings = surroundings(config);
        let alerts: Vec<QuotaAlertConfig> = config.section_at(&QuotaAlertConfig::PLACE).unwrap_or_default();
        let unreachable = alerts.iter().enumerate().filter_map(|(index, alert)| {
            let message = check_webhook(&alert.webhook.as_ref()?.url, &surroundings.trusted_hosts).err()?;
            Some(config.error(QuotaAlertConfig::PLACE.key(), &format!("/{index}/webhook/url"), message))
        });
        let governance: GovernanceProfile =
            config.section_at(&Place::Profile { key: "governance" }).unwrap_or_default();
        let unreachable = unreachable.chain(governance.shipping.iter().enumerate().filter_map(|(index, shipment)| {
            let (pointer, url) = shipment.url()?;
            let message = check_webhook(&url, &surroundings.trusted_hosts).err()?;
            Some(config.error("governance", &format!("/shipping/{index}{pointer}"), message))
        }));
        let unreachable = unreachable.chain(governance.shipping.iter().enumerate().filter_map(|(index, shipment)| {
            let store = shipment.object_store.as_ref()?;
            let secret = config.secrets.get(&store.credentials)?;
            let pointer = format!("/shipping/{index}/object_store/credentials");
            (!is_key(secret)).then(|| config.error("governance", &pointer, NO_KEY.to_owned()))
        }));
        let authorizer = governance.authz.hook.as_ref().and_then(|hook| {
            let message = check_webhook(hook.url.as_deref()?, &surroundings.trusted_hosts).err()?;
            Some(config.error("governance", "/authz/hook/url", message))
        });
        let unreachable = unreachable.chain(authorizer);
        check(&providers, &gateway, &surroundings)
            .into_iter()
            .map(|mistake| {
                let field = format!("{}{}", mistake.key, dotted(&mistake.pointer));
                Problem::error(mistake.key, field, mistake.message)
                    .suggest(mistake.fix)
                    .at_option(config.locate(mistake.key, &mistake.pointer).as_ref())
            })
            .chain(unreachable)
            .chain(AiConfig::check(config, &providers, &surroundings.catalog))
            .collect()
    }

    fn entities(&self, config: &Configuration) -> Vec<(EntityKind, Vec<String>)> {
        let (Ok(providers), Ok(gateway)) = (config.section("providers"), config.section("gateway")) else {
            return Vec::new();
        };
        let (providers, gateway): (Vec<ProviderConfig>, GatewayConfig) = (providers, gateway);
        let catalog = surroundings(config).catalog;
        vec![(EntityKind::GatewayRoute, RoutingTable::new(&providers, &gateway, &catalog, None).route_ids())]
    }

    fn regions(&self, config: &Configuration) -> Vec<String> {
        let providers: Vec<ProviderConfig> = config.section("providers").unwrap_or_default();
        providers.iter().filter_map(ProviderConfig::data_region).map(str::to_owned).collect()
    }

    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        let snapshot = GatewaySnapshot::new(ctx.configuration(), ctx.ambient(), None);
        let snapshot = snapshot.map_err(|error| failed(with_causes(&error)))?;
        let access = services.require::<AccessRules>()?;
        access
            .register_entities(EntityKind::GatewayRoute, &snapshot.table.route_ids(), "profile")
            .await
            .map_err(|error| failed(error.to_string()))?;
        let quotas = services.require::<Quotas>()?;
        if quotas.has_alert_destinations() {
            let webhooks = Webhooks::new(&surroundings(ctx.configuration()).trusted_hosts)
                .map_err(|error| failed(format!("the TLS roots cannot be loaded: {error}")))?;
            ctx.tracker().spawn(quotas.deliver_alerts(Arc::new(webhooks), ctx.shutdown().clone()));
        }
        let shipping = services.require::<Shipping>()?;
        if shipping.has_destinations() {
            let webhooks = Webhooks::new(&surroundings(ctx.configuration()).trusted_hosts)
                .map_err(|error| failed(format!("the TLS roots cannot be loaded: {error}")))?;
            ctx.tracker().spawn(shipping.run(Arc::new(webhooks), ctx.shutdown().clone()));
        }
        let authorizers = services.require::<Authorizers>()?;
        if authorizers.wants_client() {
            let client = Webhooks::keeping(&surroundings(ctx.configuration()).trusted_hosts)
                .map_err(|error| failed(format!("the TLS roots cannot be loaded: {error}")))?;
            authorizers.connect(Arc::new(client));
        }
        let sessions = services.require::<Sessions>()?;
        let telemetry = services.require::<Ingest>()?;
        let metrics = Arc::new(GatewayMetrics::new(ctx.metrics(), &snapshot.table.models()));
        let (cache, writer) =
            AnswerCache::new(ctx.db().clone(), ctx.ambient().clone(), metrics.clone(), snapshot.settings.answer_cache);
        ctx.tracker().spawn(writer.run(ctx.shutdown().clone()));
        let inference = Arc::new(Inference {
            metrics,
            cache,
            current: ArcSwap::from_pointee(snapshot),
            gate: services.require::<Gate>()?,
            brought: Brought::of(&*services.require::<ExtensionRegistry>()?, ctx)?,
            sessions: sessions.clone(),
            exporter: services.require::<Export>()?.exporter.clone(),
            ambient: ctx.ambient().clone(),
            cut: ctx.shutdown().clone(),
        });
        services.insert(Arc::new(Gateway { sessions, access, inference: inference.clone(), telemetry }));
        services.insert(Arc::new(AiService::new(inference.clone())));
        services.insert(inference);
        Ok(())
    }

    async fn reload(
        &self,
        ctx: &dyn ExtensionContext,
        configuration: &Arc<Configuration>,
    ) -> Result<Option<Reload>, LoaderError> {
        let gateway = ctx.service::<Gateway>()?;
        let before = gateway.inference.snapshot();
        let snapshot = GatewaySnapshot::new(configuration, ctx.ambient(), Some(&before));
        let snapshot = snapshot.map_err(|error| failed(with_causes(&error)))?;
        let mounted: GatewayConfig =
            ctx.configuration().section("gateway").map_err(|error| failed(error.to_string()))?;
        let restart = fixed_at_start(&mounted, &snapshot.settings);
        let providers: Vec<ProviderConfig> =
            configuration.section("providers").map_err(|error| failed(error.to_string()))?;
        let secrets: Vec<_> = providers.into_iter().filter_map(|provider| provider.api_key_secret).collect();
        let apply = async move {
            let ids = snapshot.table.route_ids();
            let registered = gateway.access.register_entities(EntityKind::GatewayRoute, &ids, "profile").await;
            registered.map_err(|error| failed(error.to_string()))?;
            gateway.inference.put_in_force(snapshot);
            Ok(())
        };
        Ok(Some(Reload::new(apply).with_restart(restart).with_secrets(secrets)))
    }

    fn router_config(&self) -> Option<ExtensionRouterConfig> {
        Some(ExtensionRouterConfig::core(PREFIXES))
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        table(&GatewayConfig { enabled: true, ..GatewayConfig::default() }).endpoints().to_vec()
    }

    fn try_router(&self, ctx: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        let gateway = ctx.service::<Gateway>()?;
        let router = ExtensionRouter::core(table(&gateway.inference.snapshot().settings), gateway, PREFIXES);
        Ok(vec![router.with_rate_limit(RateGroup::Gateway)])
    }
}

/// The settings that routes were mounted by.
fn fixed_at_start(before: &GatewayConfig, after: &GatewayConfig) -> Vec<String> {
    let moved = before.inference_path_prefix != after.inference_path_prefix;
    let opened = !before.models_public && after.models_public;
    [(moved, "gateway.inference_path_prefix"), (opened, "gateway.models_public")]
        .into_iter()
        .filter(|(changed, _)| *changed)
        .map(|(_, key)| key.to_owned())
        .collect()
}

fn failed(message: String) -> LoaderError {
    LoaderError::InitializationFailed { extension: "gateway".to_owned(), message }
}

/// `/0/name` as people write it: `[0].name`.
fn dotted(pointer: &str) -> String {
    pointer
        .split('/')
        .skip(1)
        .map(
            |part| {
                if part.bytes().all(|byte| byte.is_ascii_digit()) { format!("[{part}]") } else { format!(".{part}") }
            },
        )
        .collect()
}
