//! What the extension declares, and its registration.

use serde::Deserialize;
use systemprompt::extension::policy::PolicyDef;
use systemprompt::extension::prelude::*;
use systemprompt::schemars::{self, JsonSchema, schema_for};

use crate::budget::{self, Budget};
use crate::words::{self, Words};

/// Where the settings are: `services/config/house_rules.yaml` and `extensions.house_rules` in the profile.
const PREFIX: &str = "house_rules";

/// What is not allowed in this house.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// Words that may be neither sent nor answered.
    #[schemars(inner(length(min = 1)))]
    pub words: Vec<String>,
    /// Tokens of an account in any twenty-four hours; 0 for as many as it likes.
    pub tokens_per_day: u64,
}

/// The extension.
#[derive(Debug, Default)]
pub struct HouseRules;

register_extension!(HouseRules);

impl Extension for HouseRules {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "house_rules", name: "House rules", version: env!("CARGO_PKG_VERSION") }
    }

    fn config_prefix(&self) -> Option<&str> {
        Some(PREFIX)
    }

    fn config_schema(&self) -> Option<JsonValue> {
        Some(schema_for!(Settings).to_value())
    }

    fn governance_policies(&self) -> Vec<PolicyDef> {
        vec![
            PolicyDef::new(budget::ID, "An account may use so many tokens in any twenty-four hours", |ctx| {
                let settings: Settings = ctx.typed_config(PREFIX)?;
                Ok(Arc::new(Budget::new(ctx.leases().clone(), settings.tokens_per_day)))
            }),
            PolicyDef::new(words::ID, "Some words may be neither sent nor answered", |ctx| {
                let settings: Settings = ctx.typed_config(PREFIX)?;
                Ok(Arc::new(Words::new(&settings.words)))
            }),
        ]
    }
}
