//! The facet of an extension's own settings.

use serde_json::json;

use super::kind::{Declared, Described, Facet, broken_name_rule, duplicates};
use crate::{ConfigError, Extension, JsonValue, LoaderError};

/// What one is called in messages.
const KIND: &str = "configuration prefix";

/// Keys below `extensions:` in the profile that no prefix may be called.
const RESERVED: &[&str] = &["disabled", "required", "lenient_start", "allow_env_overrides", "approved_wildcard_roles"];

/// Settings of an extension.
#[derive(Debug)]
pub enum Config {}

/// The settings an extension declares.
#[derive(Debug)]
pub struct OwnConfig {
    /// Where they are: `services/config/<prefix>.yaml` and `extensions.<prefix>` in the profile.
    pub prefix: String,
    /// Their JSON Schema.
    pub schema: Option<JsonValue>,
}

impl Facet for Config {
    type Contribution = OwnConfig;

    const ABOUT: &'static str =
        "Its settings, in `services/config/<prefix>.yaml` and `extensions.<prefix>` of the profile.";
    const METHOD: &'static str = "config_prefix";
    // What is written for a disabled extension stays valid, so its prefix stays its own.
    const EVEN_DISABLED: bool = true;

    fn of(extension: &dyn Extension) -> Vec<OwnConfig> {
        let own = |prefix: &str| OwnConfig { prefix: prefix.to_owned(), schema: extension.config_schema() };
        extension.config_prefix().map(own).into_iter().collect()
    }

    fn describe(config: &OwnConfig) -> Described {
        let note = if config.schema.is_some() { "with a schema" } else { "without a schema" };
        Described::new(&config.prefix, note, json!({ "has_schema": config.schema.is_some() }))
    }

    fn check(declared: &[Declared<'_, OwnConfig>]) -> Vec<LoaderError> {
        let mut problems = Vec::new();
        for Declared { extension, contributions } in declared {
            for OwnConfig { prefix, schema } in *contributions {
                let message = if RESERVED.contains(&prefix.as_str()) {
                    Some("it is a key of `extensions:` itself")
                } else {
                    broken_name_rule(prefix)
                };
                problems.extend(message.map(|message| LoaderError::InvalidName {
                    extension: (*extension).to_owned(),
                    kind: KIND,
                    name: prefix.clone(),
                    message: message.to_owned(),
                }));
                if let Some(Err(error)) = schema.as_ref().map(jsonschema::validator_for) {
                    problems.push(LoaderError::ConfigValidationFailed {
                        extension: (*extension).to_owned(),
                        message: ConfigError::SchemaValidation(error.to_string()).to_string(),
                    });
                }
            }
        }
        problems.extend(duplicates(KIND, declared, |config| vec![config.prefix.clone()], str::to_owned));
        problems
    }
}
