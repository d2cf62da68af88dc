//! What a server gives its extensions to work with.

use std::any::Any;
use std::sync::Arc;

use systemprompt_config::Configuration;
use systemprompt_database::lease::Leases;
use systemprompt_database::notify::NotificationHub;
use systemprompt_database::{Database, DbPool};
use systemprompt_model::{Ambient, InstanceId};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::{ExtensionConfigs, JsonValue, Metrics, ServiceMap};

/// What a server gives its extensions to work with. There is no other way to reach any of it: nothing is process-wide.
pub trait ExtensionContext: Send + Sync {
    /// The whole configuration, fixed for the life of the server.
    fn configuration(&self) -> &Arc<Configuration>;

    /// The configuration of every extension, merged and validated.
    fn extension_configs(&self) -> &ExtensionConfigs;

    /// The database: `read()` and `write()` are its pools.
    fn db(&self) -> &DbPool;

    /// Counts limits of any kind, over all replicas: rates, quotas, budgets.
    fn leases(&self) -> &Leases;

    /// The clock and the randomness. Take time and ids from here, so that tests can set them.
    fn ambient(&self) -> &Ambient;

    /// Where metrics are registered.
    fn metrics(&self) -> &Metrics;

    /// Messages from other replicas, through PostgreSQL's `NOTIFY`.
    fn notifications(&self) -> &NotificationHub;

    /// Owns every task an extension spawns; the server waits for it when it stops.
    fn tracker(&self) -> &TaskTracker;

    /// Cancelled when the server has served its last request, or the time for finishing requests is over. Every task on
    /// the tracker must end soon after; what must be written before that is written in
    /// [`Extension::on_shutdown`](crate::Extension::on_shutdown).
    fn shutdown(&self) -> &CancellationToken;

    /// The services of all extensions, and their [`ExtensionRegistry`](crate::ExtensionRegistry). Empty during
    /// [`Extension::provides`](crate::Extension::provides), which is given those that are there already.
    fn services(&self) -> &ServiceMap;

    /// This run of this server.
    fn instance_id(&self) -> InstanceId;

    /// The settings of the extension with this [prefix](crate::Extension::config_prefix): merged, validated, defaults filled in.
    fn extension_config(&self, prefix: &str) -> Option<&JsonValue> {
        self.extension_configs().get(prefix)
    }

    /// The configuration behind a narrow interface.
    fn config(&self) -> Arc<dyn ConfigProvider> {
        self.configuration().clone()
    }

    /// The database behind a narrow interface: `ctx.database().as_any().downcast_ref::<Database>()`.
    /// [`db`](Self::db) gives the same without the detour.
    fn database(&self) -> Arc<dyn DatabaseHandle> {
        self.db().clone()
    }
}

/// A context that can be kept.
pub type DynExtensionContext = Arc<dyn ExtensionContext>;

/// Configuration values by dotted key, for code that does not know the types.
pub trait ConfigProvider: Send + Sync {
    /// The value at this dotted key of the profile, as text: `server.port` gives `8080`. Maps and lists have none.
    fn get(&self, key: &str) -> Option<String>;

    /// The project directory that relative paths start from.
    fn system_path(&self) -> String;

    /// The port the server listens on.
    fn api_port(&self) -> u16;

    /// The concrete [`Configuration`].
    fn as_any(&self) -> &dyn Any;
}

/// A database without its type.
pub trait DatabaseHandle: Send + Sync {
    /// Whether connections may still be taken.
    fn is_connected(&self) -> bool;

    /// The concrete [`Database`].
    fn as_any(&self) -> &dyn Any;
}

impl ConfigProvider for Configuration {
    fn get(&self, key: &str) -> Option<String> {
        let profile = serde_json::to_value(&self.profile).ok()?;
        match profile.pointer(&format!("/{}", key.replace('.', "/")))? {
            JsonValue::String(text) => Some(text.clone()),
            JsonValue::Bool(flag) => Some(flag.to_string()),
            JsonValue::Number(number) => Some(number.to_string()),
            JsonValue::Null | JsonValue::Array(_) | JsonValue::Object(_) => None,
        }
    }

    fn system_path(&self) -> String {
        self.profile.paths.system.display().to_string()
    }

    fn api_port(&self) -> u16 {
        self.profile.server.port
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl DatabaseHandle for Database {
    fn is_connected(&self) -> bool {
        !self.read().is_closed() && !self.write().is_closed()
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}
