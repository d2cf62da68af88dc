//! Another configuration while the server runs.

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::LoaderError;

type Applying = Pin<Box<dyn Future<Output = Result<(), LoaderError>> + Send>>;

/// An extension that is ready for another configuration. Nothing of it is in force before it is
/// [applied](Self::apply), and the server applies it only when every extension is ready.
pub struct Reload {
    apply: Applying,
    restart: Vec<String>,
    secrets: BTreeSet<String>,
}

impl Reload {
    /// What `apply` puts in force. It should be a swap that cannot fail; if it does, what other extensions have applied
    /// before stays.
    pub fn new(apply: impl Future<Output = Result<(), LoaderError>> + Send + 'static) -> Self {
        Self { apply: Box::pin(apply), restart: Vec::new(), secrets: BTreeSet::new() }
    }

    /// Keys of its sections that say otherwise now and that only a restart puts in force.
    #[must_use]
    pub fn with_restart(mut self, keys: impl IntoIterator<Item = String>) -> Self {
        self.restart.extend(keys);
        self
    }

    /// Secrets whose values it takes from the new configuration.
    #[must_use]
    pub fn with_secrets(mut self, names: impl IntoIterator<Item = String>) -> Self {
        self.secrets.extend(names);
        self
    }

    /// Keys that only a restart puts in force.
    pub fn restart(&self) -> &[String] {
        &self.restart
    }

    /// Secrets it takes from the new configuration.
    pub fn secrets(&self) -> &BTreeSet<String> {
        &self.secrets
    }

    /// Puts it in force.
    pub async fn apply(self) -> Result<(), LoaderError> {
        self.apply.await
    }
}

impl fmt::Debug for Reload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reload").field("restart", &self.restart).field("secrets", &self.secrets).finish_non_exhaustive()
    }
}
