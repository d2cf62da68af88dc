//! `cloud`: the tenant a profile belongs to.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::secret_source::Validation;

/// The cloud tenant a profile belongs to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Cloud {
    /// The tenant's id.
    pub tenant_id: Option<String>,
    /// What a missing or invalid cloud login means: `strict` aborts, `warn` says so, `skip` does not look.
    pub validation: Validation,
}
