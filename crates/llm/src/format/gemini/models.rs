//! What Google's models take, told by their names.

use serde_json::{Map, Value, json};

use crate::neutral::Reasoning;
use crate::request::facts::Effort;

/// A model, by its generation and its size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Model {
    /// The generation in tenths: 25 for `gemini-2.5-flash`. Names without one mean the latest.
    generation: u32,
    size: Size,
    /// It is a Gemini model at all: Gemma and others can be told neither how much to think nor anything else of these.
    gemini: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Pro,
    Flash,
    Lite,
}

/// The generation of names that have none, such as `gemini-flash-latest`.
const LATEST: u32 = 1000;

impl Model {
    /// By its name.
    pub(super) fn of(name: &str) -> Self {
        let name = name.to_ascii_lowercase();
        let name = name.rsplit('/').next().unwrap_or(&name);
        let size = match () {
            () if name.contains("lite") => Size::Lite,
            () if name.contains("flash") => Size::Flash,
            () => Size::Pro,
        };
        let rest = name.strip_prefix("gemini-");
        let digits: String =
            rest.unwrap_or("").chars().take_while(|letter| letter.is_ascii_digit() || *letter == '.').collect();
        let (major, minor) = digits.split_once('.').unwrap_or((&digits, "0"));
        let generation = match (major.parse::<u32>(), minor.parse::<u32>()) {
            (Ok(major), minor) if major < 100 => major * 10 + minor.unwrap_or(0).min(9),
            _ => LATEST,
        };
        Self { generation, size, gemini: rest.is_some() }
    }

    /// A call has to come with the signature of the thought that led to it.
    pub(super) fn wants_signatures(self) -> bool {
        self.gemini && self.generation >= 30
    }

    /// The result of a tool may have images and documents in it.
    pub(super) fn takes_media_in_results(self) -> bool {
        self.generation >= 30
    }

    /// An answer can be held to a schema while tools are offered.
    pub(super) fn takes_schemas_with_tools(self) -> bool {
        self.generation >= 30
    }

    /// The setting for how much it thinks; and whether it does not say all that was asked for.
    pub(super) fn thinking(self, reasoning: Reasoning, most: Option<u64>) -> (Option<Value>, bool) {
        let mut config = Map::new();
        let mut exact = true;
        if !self.gemini || self.generation < 25 || most == Some(0) {
            return (None, !reasoning.off);
        }
        if self.generation < 30 {
            let (least, largest) = match self.size {
                Size::Pro => (128, 32_768),
                Size::Flash => (0, 24_576),
                Size::Lite => (512, 24_576),
            };
            let largest = most.unwrap_or(largest).min(largest);
            let budget = match (reasoning.off, reasoning.budget()) {
                // The large ones always think.
                (true, _) if self.size == Size::Pro => {
                    exact = false;
                    json!(least)
                }
                (true, _) => json!(0),
                (false, Some(budget)) => json!(budget.min(largest).max(least)),
                (false, None) => json!(-1),
            };
            config.insert("thinkingBudget".to_owned(), budget);
        } else if let Some(effort) = reasoning.effort() {
            let is_pro = self.size == Size::Pro;
            let level = match effort {
                Effort::None | Effort::Minimal if !is_pro => "minimal",
                Effort::None | Effort::Minimal | Effort::Low => "low",
                Effort::Medium if is_pro && self.generation == 30 => "high",
                Effort::Medium => "medium",
                Effort::High | Effort::Xhigh | Effort::Max => "high",
            };
            // None of them can be told not to think at all.
            exact = effort != Effort::None;
            config.insert("thinkingLevel".to_owned(), level.into());
        }
        if !reasoning.off {
            config.insert("includeThoughts".to_owned(), reasoning.told.unwrap_or(true).into());
        }
        (Some(config.into()), !exact)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_what_a_model_takes() {
        for (name, generation, size) in [
            ("gemini-2.5-pro", 25, Size::Pro),
            ("models/gemini-2.5-flash-lite", 25, Size::Lite),
            ("gemini-3-pro-preview", 30, Size::Pro),
            ("gemini-3.8-flash", 38, Size::Flash),
            ("gemini-4-argon", 40, Size::Pro),
            ("gemini-flash-latest", LATEST, Size::Flash),
        ] {
            assert_eq!(Model::of(name), Model { generation, size, gemini: true }, "{name}");
        }
        assert!(!Model::of("gemma-3-27b-it").wants_signatures());
    }

    #[test]
    fn how_much_to_think_is_said_in_the_words_of_the_generation() {
        let budget = |tokens| Reasoning { budget: Some(tokens), ..Reasoning::default() };
        let effort = |effort| Reasoning { effort: Some(effort), ..Reasoning::default() };
        let off = Reasoning { off: true, ..Reasoning::default() };
        let adaptive = Reasoning { adaptive: true, told: Some(false), ..Reasoning::default() };
        for (name, reasoning, expected, inexact) in [
            ("gemini-2.5-pro", budget(60_000), json!({ "thinkingBudget": 32_768, "includeThoughts": true }), false),
            ("gemini-2.5-pro", off, json!({ "thinkingBudget": 128 }), true),
            ("gemini-2.5-flash", off, json!({ "thinkingBudget": 0 }), false),
            ("gemini-2.5-flash", adaptive, json!({ "thinkingBudget": -1, "includeThoughts": false }), false),
            ("gemini-2.5-flash-lite", budget(10), json!({ "thinkingBudget": 512, "includeThoughts": true }), false),
            (
                "gemini-3-pro",
                effort(Effort::Medium),
                json!({ "thinkingLevel": "high", "includeThoughts": true }),
                false,
            ),
            ("gemini-3.5-flash", budget(4_096), json!({ "thinkingLevel": "medium", "includeThoughts": true }), false),
            ("gemini-3.5-flash", off, json!({ "thinkingLevel": "minimal" }), true),
            ("gemini-3.5-flash", adaptive, json!({ "includeThoughts": false }), false),
        ] {
            assert_eq!(Model::of(name).thinking(reasoning, None), (Some(expected), inexact), "{name}");
        }
        assert_eq!(Model::of("gemini-2.0-flash").thinking(budget(1), None), (None, true));
        assert_eq!(Model::of("gemini-2.0-flash").thinking(off, None), (None, false));
    }
}
