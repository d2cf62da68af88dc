//! What a violation of a policy does, and what happens where nobody can say whether there is one.

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

/// What happens to a prompt that offers a model tools which the caller may not have called.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum OfferedMode {
    /// That is recorded with the decision. What the model asks for is judged when it does.
    #[default]
    Note,
    /// It is refused.
    Deny,
}

impl OfferedMode {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What happens to a request of which somebody who is to judge it cannot say anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum FaultMode {
    /// It is refused.
    #[default]
    Closed,
    /// It goes on as if nobody had been asked.
    Open,
}
