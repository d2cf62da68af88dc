//! What a violation of a policy does.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a violation of a policy does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PolicyMode {
    /// It refuses the request.
    #[default]
    Enforce,
    /// It is recorded with the decision, and the request goes on.
    Warn,
}
