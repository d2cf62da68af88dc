//! What becomes of the system prompts of callers, as `gateway.system_prompt_overrides` describes it.

use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_model::pattern::Pattern;

/// A rule for the system prompts of callers, for some providers and models.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SystemPromptOverrideConfig {
    /// What records call it. Absent: the action and its place in the list, such as `replace-1`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The provider whose requests it is for. Absent: every provider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The models it is for, by their configured name or the one at the provider: an id, in which `*` stands for any text and
    /// `?` for one character. Absent: every model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_pattern: Option<String>,
    /// What becomes of what the caller has the model told as its operator.
    pub action: SystemPromptAction,
    /// What the model is told instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<PromptText>,
}

/// What becomes of a system prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SystemPromptAction {
    /// The model is told `prompt` in its place, and where there was none too.
    Replace,
    /// It is left out.
    Strip,
}

/// A text of the configuration, or the file it stands in.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum PromptText {
    /// The text.
    Text(String),
    /// The file, read at the start and at every reload.
    File(PromptFile),
}

/// A file that holds a text.
#[derive(Debug, Clone, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PromptFile {
    /// Its path, relative to the profile.
    pub path: PathBuf,
}

/// What a record says in the place of a name where no override was at work.
pub(crate) const NO_OVERRIDE: &str = "none";

impl SystemPromptOverrideConfig {
    /// What records call it; `index` is its place in the list, counted from zero.
    pub(crate) fn shown(&self, index: usize) -> String {
        self.name.clone().unwrap_or_else(|| {
            let action = match self.action {
                SystemPromptAction::Replace => "replace",
                SystemPromptAction::Strip => "strip",
            };
            format!("{action}-{}", index + 1)
        })
    }

    /// What is wrong with it in itself: the key, the fault, and how to mend it.
    pub(super) fn flaws(&self, read: Option<&Result<String, String>>) -> Vec<(&'static str, String, &'static str)> {
        let mut flaws = Vec::new();
        if let Some(name) = self.name.as_deref().filter(|name| name.trim().is_empty() || *name == NO_OVERRIDE) {
            flaws.push((
                "name",
                format!("`{name}` is no name for an override"),
                "choose another one, or remove the key",
            ));
        }
        if let Some(pattern) = &self.model_pattern
            && let Err(error) = Pattern::new(pattern)
        {
            let fix = "write an id, with `*` for any text and `?` for one character";
            flaws.push(("model_pattern", format!("`{pattern}` is not a pattern: {error}"), fix));
        }
        match (self.action, read) {
            (SystemPromptAction::Replace, None) => {
                flaws.push((
                    "prompt",
                    "there is nothing to replace system prompts with".to_owned(),
                    "add prompt: a text, or { path: … }; or use action: strip",
                ));
            }
            (SystemPromptAction::Strip, Some(_)) => {
                flaws.push((
                    "prompt",
                    "the prompt is not used, because the action is `strip`".to_owned(),
                    "remove the key, or use action: replace",
                ));
            }
            (SystemPromptAction::Replace, Some(Ok(text))) if text.trim().is_empty() => {
                flaws.push((
                    "prompt",
                    "the prompt is empty".to_owned(),
                    "write what the model is to be told, or use action: strip",
                ));
            }
            (SystemPromptAction::Replace, Some(Err(error))) => {
                flaws.push(("prompt", error.clone(), "name a file of UTF-8 text, relative to the profile"));
            }
            (SystemPromptAction::Replace, Some(Ok(_))) | (SystemPromptAction::Strip, None) => {}
        }
        flaws
    }
}
