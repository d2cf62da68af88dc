//! How an extension is doing.

use serde::Serialize;

/// How an extension is doing, as it says itself in [`Extension::health`](crate::Extension::health).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "status", content = "reason", rename_all = "lowercase")]
pub enum ExtensionHealth {
    /// Everything works.
    Healthy,
    /// It works with limits; the sentence says which.
    Degraded(String),
    /// It does not work; the sentence says why.
    Unhealthy(String),
}

impl ExtensionHealth {
    /// Whether nothing is wrong.
    pub fn is_healthy(&self) -> bool {
        *self == Self::Healthy
    }
}
