//! What a running server gives its extensions.

use std::sync::{Arc, OnceLock};

use systemprompt_config::Configuration;
use systemprompt_database::DbPool;
use systemprompt_database::lease::Leases;
use systemprompt_database::notify::NotificationHub;
use systemprompt_extension::{ExtensionConfigs, ExtensionContext, ExtensionRegistry, Metrics, ServiceMap};
use systemprompt_model::{Ambient, InstanceId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// One server's state, as its extensions see it.
pub struct ServerContext {
    pub(crate) configuration: Arc<Configuration>,
    pub(crate) extension_configs: ExtensionConfigs,
    pub(crate) db: DbPool,
    pub(crate) leases: Leases,
    pub(crate) ambient: Ambient,
    pub(crate) metrics: Metrics,
    pub(crate) notifications: NotificationHub,
    pub(crate) tracker: TaskTracker,
    pub(crate) shutdown: CancellationToken,
    pub(crate) services: OnceLock<ServiceMap>,
    pub(crate) no_services: ServiceMap,
    pub(crate) registry: Arc<ExtensionRegistry>,
    pub(crate) instance_id: InstanceId,
    /// What people call this instance.
    pub(crate) instance_name: String,
}

impl ServerContext {
    /// The extensions of this server.
    pub fn registry(&self) -> &Arc<ExtensionRegistry> {
        &self.registry
    }
}

impl ExtensionContext for ServerContext {
    fn configuration(&self) -> &Arc<Configuration> {
        &self.configuration
    }

    fn extension_configs(&self) -> &ExtensionConfigs {
        &self.extension_configs
    }

    fn db(&self) -> &DbPool {
        &self.db
    }

    fn leases(&self) -> &Leases {
        &self.leases
    }

    fn ambient(&self) -> &Ambient {
        &self.ambient
    }

    fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    fn notifications(&self) -> &NotificationHub {
        &self.notifications
    }

    fn tracker(&self) -> &TaskTracker {
        &self.tracker
    }

    fn shutdown(&self) -> &CancellationToken {
        &self.shutdown
    }

    /// Empty until every extension has provided its services.
    fn services(&self) -> &ServiceMap {
        self.services.get().unwrap_or(&self.no_services)
    }

    fn instance_id(&self) -> InstanceId {
        self.instance_id
    }
}
