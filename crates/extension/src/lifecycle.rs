//! Running the hooks of all extensions, each within its time and on its own.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use tokio::time::timeout;

use crate::panics::panic_message;
use crate::{ExtensionContext, ExtensionHealth, ExtensionRegistry, LoaderError, ServiceMap};

/// How long one extension's hooks may take.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// For [`Extension::provides`](crate::Extension::provides) and [`Extension::on_start`](crate::Extension::on_start),
    /// each.
    pub start: Duration,
    /// For [`Extension::on_shutdown`](crate::Extension::on_shutdown).
    pub shutdown: Duration,
    /// For [`Extension::health`](crate::Extension::health).
    pub health: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self { start: Duration::from_secs(30), shutdown: Duration::from_secs(10), health: Duration::from_secs(5) }
    }
}

/// What the server does with all extensions at once.
impl ExtensionRegistry {
    /// Builds every service, in load order, beginning with this registry. Stops at the first extension that fails, since
    /// later ones may need it.
    pub async fn collect_services(
        self: &Arc<Self>,
        ctx: &dyn ExtensionContext,
        timeouts: Timeouts,
    ) -> Result<ServiceMap, LoaderError> {
        let mut services = ServiceMap::new();
        services.insert(Arc::clone(self));
        for extension in self.iter() {
            guarded(extension.id(), "provides", timeouts.start, extension.provides(ctx, &mut services)).await?;
        }
        Ok(services)
    }

    /// Runs every start hook, in load order, and returns what failed. An extension behind one that failed is still
    /// started; whether a failure is fatal is for the server to say ([`Extension::is_required`](crate::Extension::is_required),
    /// `extensions.lenient_start`).
    pub async fn start(&self, ctx: &dyn ExtensionContext, timeouts: Timeouts) -> Vec<LoaderError> {
        let mut failed = Vec::new();
        for extension in self.iter() {
            let started = guarded(extension.id(), "on_start", timeouts.start, extension.on_start(ctx)).await;
            failed.extend(started.err());
        }
        failed
    }

    /// Runs every shutdown hook, in reverse load order. A hook that fails or takes too long is logged and left behind.
    pub async fn shut_down(&self, ctx: &dyn ExtensionContext, timeouts: Timeouts) {
        for extension in self.iter().rev() {
            let id = extension.id();
            let hook = extension.on_shutdown(ctx).map(Ok);
            if let Err(error) = guarded(id, "on_shutdown", timeouts.shutdown, hook).await {
                tracing::warn!(extension = id, %error, "an extension did not shut down properly");
            }
        }
    }

    /// Asks every extension how it is doing, all at the same time. The answers are in load order; no answer in time, or
    /// a panic, is [`ExtensionHealth::Unhealthy`].
    pub async fn health(&self, ctx: &dyn ExtensionContext, timeouts: Timeouts) -> Vec<(&'static str, ExtensionHealth)> {
        join_all(self.iter().map(async |extension| {
            let answer = timeout(timeouts.health, AssertUnwindSafe(extension.health(ctx)).catch_unwind()).await;
            let health = match answer {
                Ok(Ok(health)) => health,
                Ok(Err(_)) => ExtensionHealth::Unhealthy("the health check panicked".to_owned()),
                Err(_) => ExtensionHealth::Unhealthy(format!("no answer within {:?}", timeouts.health)),
            };
            (extension.id(), health)
        }))
        .await
    }
}

/// Runs a hook so that neither a panic nor endless waiting in it goes further than the extension.
async fn guarded(
    id: &str,
    hook: &str,
    limit: Duration,
    work: impl Future<Output = Result<(), LoaderError>>,
) -> Result<(), LoaderError> {
    let failed = |message: String| LoaderError::InitializationFailed { extension: id.to_owned(), message };
    match timeout(limit, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(Ok(()))) => Ok(()),
        Ok(Ok(Err(error @ LoaderError::InitializationFailed { .. }))) => Err(error),
        Ok(Ok(Err(error))) => Err(failed(error.to_string())),
        Ok(Err(panic)) => Err(failed(format!("{hook} panicked: {}", panic_message(panic.as_ref())))),
        Err(_) => Err(failed(format!("{hook} took longer than {limit:?}"))),
    }
}
