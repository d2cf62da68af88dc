//! How guards of extensions are asked.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flaw::Flaw;
use super::mode::FaultMode;

/// How the guards that extensions bring are asked about requests to models.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RequestGuardsConfig {
    /// How long a guard has to answer, in milliseconds; 1 or more.
    pub timeout_ms: u64,
    /// What happens to a request of which a guard says nothing: because it fails, panics or does not answer in time.
    pub fault_mode: FaultMode,
}

impl Default for RequestGuardsConfig {
    fn default() -> Self {
        Self { timeout_ms: 2000, fault_mode: FaultMode::Closed }
    }
}

impl RequestGuardsConfig {
    /// Whether it is what is in force without it.
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        if self.timeout_ms == 0 {
            flaws.push(Flaw::new(
                format!("{at}/timeout_ms"),
                "no guard could answer in 0 ms; the default is 2000".to_owned(),
            ));
        }
    }
}
