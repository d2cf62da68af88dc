//! Hooks as a feature of the server.

use std::sync::Arc;

use async_trait::async_trait;
use systemprompt_config::Configuration;
use systemprompt_extension::ledger::Projection;
use systemprompt_extension::prelude::*;
use systemprompt_extension::register_built_in;
use systemprompt_governance::Gate;
use systemprompt_governance::access::AccessRules;
use systemprompt_governance::config::GovernanceConfig;
use systemprompt_governance::secret_scan::SecretScanner;
use systemprompt_identity::{Authenticator, Sessions};
use systemprompt_model::EntityKind;

use crate::earlier::{self, Earlier};
use crate::events::HookEvents;
use crate::hooks::{GOVERN, Hooks, TRACK};
use crate::metrics::HookMetrics;
use crate::routes::{PREFIXES, table};

const ID: &str = "hooks";

/// The endpoints that coding clients ask before they use a tool, and report to.
#[derive(Debug, Default, Clone, Copy)]
pub struct HooksExtension;

register_built_in!(HooksExtension);

#[async_trait]
impl Extension for HooksExtension {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: ID, name: "Hooks of coding clients", version: env!("CARGO_PKG_VERSION") }
    }

    fn priority(&self) -> u32 {
        45
    }

    fn dependencies(&self) -> Vec<&'static str> {
        vec!["governance", "identity"]
    }

    fn schemas(&self) -> Vec<SchemaDefinition> {
        vec![
            SchemaDefinition::inline("hook_events", include_str!("../schema/hook_events.sql")),
            SchemaDefinition::inline("hook_claims", earlier::SCHEMA),
        ]
    }

    fn migrations(&self) -> Vec<Migration> {
        vec![Migration::new(1, "keys", include_str!("../migrations/001_keys.sql"))]
    }

    fn projections(&self) -> Vec<Arc<dyn Projection>> {
        vec![Arc::new(HookEvents)]
    }

    fn entities(&self, _: &Configuration) -> Vec<(EntityKind, Vec<String>)> {
        vec![(EntityKind::Hook, entities())]
    }

    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        let access = services.require::<AccessRules>()?;
        access
            .register_open_entities(EntityKind::Hook, &entities(), ID)
            .await
            .map_err(|error| LoaderError::failed(ID, &error))?;
        let policies = GovernanceConfig::read(ctx.configuration()).map_err(|error| LoaderError::failed(ID, &error))?;
        let scanner = SecretScanner::of(&policies).map_err(|error| LoaderError::failed(ID, &error))?;
        let (earlier, looking) = Earlier::new(Arc::clone(ctx.db()), ctx.instance_id().as_uuid());
        ctx.tracker().spawn(earlier::until(ctx.shutdown().clone(), looking));
        services.insert(Arc::new(Hooks {
            authenticator: services.require::<Authenticator>()?,
            sessions: services.require::<Sessions>()?,
            gate: services.require::<Gate>()?,
            scanner: Arc::new(scanner),
            earlier,
            metrics: HookMetrics::new(ctx.metrics()),
            ambient: ctx.ambient().clone(),
        }));
        Ok(())
    }

    fn router_config(&self) -> Option<ExtensionRouterConfig> {
        Some(ExtensionRouterConfig::core(PREFIXES))
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        table().endpoints().to_vec()
    }

    fn try_router(&self, ctx: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        Ok(vec![ExtensionRouter::core(table(), ctx.service::<Hooks>()?, PREFIXES)])
    }
}

fn entities() -> Vec<String> {
    [GOVERN, TRACK].map(str::to_owned).to_vec()
}
