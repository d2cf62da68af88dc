//! This crate as a feature of the server.

use std::sync::Arc;

use async_trait::async_trait;
use schemars::schema_for;
use systemprompt_config::SectionSpec;
use systemprompt_extension::prelude::*;
use systemprompt_extension::register_built_in;
use systemprompt_governance::config::GovernanceConfig;
use systemprompt_governance::secret_scan::SecretScanner;

use crate::config::{PLACE, TelemetryConfig};
use crate::ingest::{Ingest, sweep};

const ID: &str = "telemetry";

/// Telemetry. Publishes [`Ingest`].
#[derive(Debug, Default, Clone, Copy)]
pub struct TelemetryExtension;

register_built_in!(TelemetryExtension);

#[async_trait]
impl Extension for TelemetryExtension {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: ID, name: "Telemetry", version: env!("CARGO_PKG_VERSION") }
    }

    fn priority(&self) -> u32 {
        20
    }

    fn is_required(&self) -> bool {
        true
    }

    fn dependencies(&self) -> Vec<&'static str> {
        vec!["governance"]
    }

    fn schemas(&self) -> Vec<SchemaDefinition> {
        vec![SchemaDefinition::inline("telemetry", include_str!("../schema/telemetry.sql"))]
    }

    fn config_sections(&self) -> Vec<SectionSpec> {
        vec![SectionSpec { place: PLACE, schema: schema_for!(TelemetryConfig).into(), extension: ID }]
    }

    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        let configuration = ctx.configuration();
        let config: TelemetryConfig =
            configuration.section(PLACE.key()).map_err(|error| LoaderError::failed(ID, &error))?;
        let policies = GovernanceConfig::read(configuration).map_err(|error| LoaderError::failed(ID, &error))?;
        let scanner = SecretScanner::of(&policies).map_err(|error| LoaderError::failed(ID, &error))?;
        let ingest = Ingest::new(&config.ingest, Arc::clone(ctx.db()), ctx.ambient().clone(), scanner, ctx.metrics());
        services.insert(Arc::new(ingest));
        Ok(())
    }

    async fn on_start(&self, ctx: &dyn ExtensionContext) -> Result<(), LoaderError> {
        let config: TelemetryConfig =
            ctx.configuration().section(PLACE.key()).map_err(|error| LoaderError::failed(ID, &error))?;
        let (db, ambient) = (Arc::clone(ctx.db()), ctx.ambient().clone());
        // Also where nothing is taken any more: what was taken does not stay.
        ctx.tracker().spawn(sweep(db, ambient, config.ingest.retention_days, ctx.shutdown().clone()));
        Ok(())
    }
}
