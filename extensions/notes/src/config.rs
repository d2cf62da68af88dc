//! The settings: what an operator may write, and the rule a schema cannot say.

use serde::Deserialize;
use systemprompt::extension::prelude::*;
use systemprompt::schemars::{self, JsonSchema, schema_for};

/// Where the settings are: `services/config/notes.yaml` and `extensions.notes` in the profile.
pub(crate) const PREFIX: &str = "notes";

/// How the notes of a team are kept.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Settings {
    /// The longest text of a note, in characters.
    #[schemars(range(min = 1, max = 10_000))]
    pub max_length: usize,
    /// How many pinned notes everyone sees.
    #[schemars(range(min = 1, max = 100))]
    pub board_size: i64,
    /// Words no note may contain, in lower case.
    #[schemars(inner(length(min = 1)))]
    pub forbidden_words: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Self { max_length: 500, board_size: 10, forbidden_words: Vec::new() }
    }
}

pub(crate) fn schema() -> JsonValue {
    schema_for!(Settings).to_value()
}

/// The schema says what the values look like; that a word is in lower case is for us to say.
pub(crate) fn validate(config: &JsonValue) -> Result<(), ConfigError> {
    let words = config["forbidden_words"].as_array().into_iter().flatten().filter_map(JsonValue::as_str);
    let problems = words
        .enumerate()
        .filter(|(_, word)| *word != word.to_lowercase())
        .map(|(at, _)| ConfigError::InvalidValue {
            key: format!("forbidden_words.{at}"),
            message: "must be in lower case, because texts are compared in lower case".to_owned(),
        })
        .collect();
    ConfigError::collect(problems)
}
