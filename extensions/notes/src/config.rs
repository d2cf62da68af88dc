use serde::Deserialize;
use systemprompt::extension::prelude::*;
use systemprompt::serde_json::json;

/// Where the settings are: `services/config/notes.yaml` and `extensions.notes` in the profile.
pub(crate) const PREFIX: &str = "notes";

/// How the notes of a team are kept.
#[derive(Debug, Clone, Deserialize)]
pub struct Settings {
    /// The longest text of a note, in characters.
    pub max_length: usize,
    /// How many pinned notes everyone sees.
    pub board_size: i64,
    /// Words no note may contain, in lower case.
    pub forbidden_words: Vec<String>,
}

pub(crate) fn schema() -> JsonValue {
    json!({
        "type": "object",
        "properties": {
            "max_length": {
                "description": "The longest text of a note, in characters.",
                "type": "integer", "minimum": 1, "maximum": 10000, "default": 500,
            },
            "board_size": {
                "description": "How many pinned notes everyone sees.",
                "type": "integer", "minimum": 1, "maximum": 100, "default": 10,
            },
            "forbidden_words": {
                "description": "Words no note may contain, in lower case.",
                "type": "array", "items": { "type": "string", "minLength": 1 }, "default": [],
            },
        },
    })
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
