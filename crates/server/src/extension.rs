//! The server's own endpoints and its log table, as an extension like any other.

use std::sync::{Arc, Weak};

use async_trait::async_trait;
use systemprompt_extension::prelude::*;
use systemprompt_extension::register_built_in;

use crate::context::ServerContext;
use crate::health::{self, Readiness};
use crate::reload::{Reloaded, Reloader};

/// Health, metrics, discovery and the log.
#[derive(Debug, Default)]
pub struct ServerExtension;

register_built_in!(ServerExtension);

/// The context as something that can be kept: handlers outlive the call that builds their router. Weak, because the
/// context owns the service map this is in.
pub(crate) struct ContextHandle(pub(crate) Weak<ServerContext>);

const PREFIXES: &[&str] = &["/health", "/livez", "/readyz", "/metrics", "/api/v1/health", "/api/v1"];

#[async_trait]
impl Extension for ServerExtension {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "server", name: "Server", version: env!("CARGO_PKG_VERSION") }
    }

    fn priority(&self) -> u32 {
        10
    }

    fn is_required(&self) -> bool {
        true
    }

    fn schemas(&self) -> Vec<SchemaDefinition> {
        vec![SchemaDefinition::inline("logs", include_str!("../schema/logs.sql"))]
    }

    fn router_config(&self) -> Option<ExtensionRouterConfig> {
        Some(ExtensionRouterConfig::core(PREFIXES))
    }

    fn endpoints(&self) -> Vec<Endpoint> {
        health::table().endpoints().to_vec()
    }

    fn try_router(&self, ctx: &dyn ExtensionContext) -> Result<Vec<ExtensionRouter>, LoaderError> {
        let failed = |message: &str| LoaderError::InitializationFailed {
            extension: "server".to_owned(),
            message: message.to_owned(),
        };
        let handle = ctx.service::<ContextHandle>()?;
        let context: Arc<ServerContext> = handle.0.upgrade().ok_or_else(|| failed("the server is already gone"))?;
        let site = health::site(context, ctx.service::<Readiness>()?);
        Ok(vec![ExtensionRouter::core(health::table(), site, PREFIXES)])
    }

    async fn health(&self, ctx: &dyn ExtensionContext) -> ExtensionHealth {
        let Some(reloader) = ctx.services().get::<Reloader>() else { return ExtensionHealth::Healthy };
        let waiting = reloader.waiting();
        match reloader.last() {
            Some((_, Reloaded::Refused { problems })) => ExtensionHealth::Degraded(format!(
                "the configuration on disk is refused, the one before is in force: {}",
                problems.join("; ")
            )),
            _ if waiting.is_empty() => ExtensionHealth::Healthy,
            _ => ExtensionHealth::Degraded(format!("waits for a restart: {}", waiting.join(", "))),
        }
    }
}
