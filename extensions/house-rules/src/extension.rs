//! What the extension declares, and its registration.

use serde::Deserialize;
use systemprompt::extension::policy::Policy;
use systemprompt::extension::prelude::*;
use systemprompt::serde_json::json;

use crate::budget::Budget;
use crate::words::Words;

/// Where the settings are: `services/config/house_rules.yaml` and `extensions.house_rules` in the profile.
const PREFIX: &str = "house_rules";

/// What is not allowed in this house.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// Words that may be neither sent nor answered.
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
        Some(json!({
            "type": "object",
            "properties": {
                "words": {
                    "description": "Words that may be neither sent nor answered.",
                    "type": "array", "items": { "type": "string", "minLength": 1 }, "default": [],
                },
                "tokens_per_day": {
                    "description": "Tokens of an account in any twenty-four hours; 0 for as many as it likes.",
                    "type": "integer", "minimum": 0, "default": 0,
                },
            },
        }))
    }

    fn governance_policies(&self, ctx: &dyn ExtensionContext) -> Result<Vec<Arc<dyn Policy>>, LoaderError> {
        let settings: Settings = ctx.typed_config(PREFIX)?;
        Ok(vec![
            Arc::new(Budget::new(ctx.leases().clone(), settings.tokens_per_day)),
            Arc::new(Words::new(&settings.words)),
        ])
    }
}
