//! This crate as a feature of the server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::schema_for;
use systemprompt_config::{Configuration, Problem, SectionSpec};
use systemprompt_extension::prelude::*;
use systemprompt_extension::register_built_in;
use systemprompt_governance::config::GovernanceConfig;
use systemprompt_governance::secret_scan::SecretScanner;
use tokio::sync::Mutex;

use crate::config::{PLACE, TelemetryConfig};
use crate::export::{Exporter, Worker};
use crate::ingest::{Ingest, sweep};

const ID: &str = "telemetry";

/// Telemetry. Publishes [`Ingest`] and [`Export`].
#[derive(Debug, Default, Clone, Copy)]
pub struct TelemetryExtension;

register_built_in!(TelemetryExtension);

/// What sends telemetry to a collector, if the configuration names one.
pub struct Export {
    /// Takes what is to be sent.
    pub exporter: Option<Arc<Exporter>>,
    /// Held by the task that sends, and at the end by who sends the rest.
    worker: Option<Mutex<Worker>>,
}

/// How long a stopping server waits for the collector. The hook has ten seconds.
const FINISH_WITHIN: Duration = Duration::from_secs(5);

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

    fn validate_sections(&self, config: &Configuration) -> Vec<Problem> {
        // What does not fit the type was reported with its place.
        let telemetry: Result<TelemetryConfig, _> = config.section(PLACE.key());
        telemetry.map(|telemetry| telemetry.export.problems(config)).unwrap_or_default()
    }

    async fn provides(&self, ctx: &dyn ExtensionContext, services: &mut ServiceMap) -> Result<(), LoaderError> {
        let configuration = ctx.configuration();
        let config: TelemetryConfig =
            configuration.section(PLACE.key()).map_err(|error| LoaderError::failed(ID, &error))?;
        let policies = GovernanceConfig::read(configuration).map_err(|error| LoaderError::failed(ID, &error))?;
        let scanner = SecretScanner::of(&policies).map_err(|error| LoaderError::failed(ID, &error))?;
        let scanner = Arc::new(scanner);
        let (db, ambient, metrics) = (Arc::clone(ctx.db()), ctx.ambient(), ctx.metrics());
        services.insert(Arc::new(Ingest::new(&config.ingest, db, ambient.clone(), scanner.clone(), metrics)));
        let exporter = Exporter::new(&config.export, configuration, scanner, ambient, ctx.instance_id(), metrics)
            .map_err(|error| LoaderError::failed(ID, &error))?;
        let (exporter, worker) = exporter.unzip();
        services.insert(Arc::new(Export { exporter: exporter.map(Arc::new), worker: worker.map(Mutex::new) }));
        Ok(())
    }

    async fn on_start(&self, ctx: &dyn ExtensionContext) -> Result<(), LoaderError> {
        let config: TelemetryConfig =
            ctx.configuration().section(PLACE.key()).map_err(|error| LoaderError::failed(ID, &error))?;
        let (db, ambient) = (Arc::clone(ctx.db()), ctx.ambient().clone());
        // Also where nothing is taken any more: what was taken does not stay.
        ctx.tracker().spawn(sweep(db, ambient, config.ingest.retention_days, ctx.shutdown().clone()));
        let (export, cancel) = (ctx.services().require::<Export>()?, ctx.shutdown().clone());
        if export.worker.is_some() {
            ctx.tracker().spawn(async move {
                if let Some(worker) = &export.worker {
                    worker.lock().await.run(&cancel).await;
                }
            });
        }
        Ok(())
    }

    async fn on_shutdown(&self, ctx: &dyn ExtensionContext) {
        let Some(export) = ctx.services().get::<Export>() else { return };
        if let Some(worker) = &export.worker {
            worker.lock().await.finish(FINISH_WITHIN).await;
        }
    }
}
