//! `spec.safety` of `services/gateway/policies.yaml`: what is looked for in prompts and answers, and what comes of it.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use systemprompt_extension::instead_of;

use super::flaw::Flaw;
use super::mode::PolicyMode;

/// The built-in scanners and what each finds.
pub(crate) const BUILT_IN: [(&str, &[&str]); 2] = [
    (SafetyConfig::HEURISTIC, &["jailbreak", "pii_email", "pii_credit_card", "pii_ssn", "pii_phone"]),
    (SafetyConfig::SECRETS, &["secret"]),
];

/// The smallest and the largest window of a guarded stream, in characters.
const WINDOWS: std::ops::RangeInclusive<u32> = 32..=16_384;

/// Most phrases of an installation, and the longest.
const PHRASES: usize = 1000;
const LONGEST_PHRASE: usize = 200;

/// What is looked for in prompts and answers, and what comes of it. Of several policies that are enabled, what one of them
/// looks for is looked for, and what one of them blocks is blocked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SafetyConfig {
    /// `enforce`: what `block_categories` and `block_response_categories` name is refused or withheld. `warn`: all is
    /// recorded only. A scanner that cannot look refuses in `enforce`, and is recorded in `warn`.
    pub mode: PolicyMode,
    /// Which scanners run: `heuristic`, `secrets`, and those of extensions by their names.
    pub scanners: BTreeSet<String>,
    /// What the scanner `heuristic` looks for.
    pub heuristic: HeuristicConfig,
    /// Categories that refuse a request: `jailbreak`, `pii_email`, `pii_credit_card`, `pii_ssn`, `pii_phone`, `secret`, and
    /// those of extensions. Everything found is recorded, named here or not.
    pub block_categories: BTreeSet<String>,
    /// Categories that withhold an answer that is given in whole, and cut one that is streamed if `stream_guard` is
    /// `window`.
    pub block_response_categories: BTreeSet<String>,
    /// What happens with the turns of a conversation that came before the newest.
    pub history: HistoryScan,
    /// How an answer is looked at that is given as it comes.
    pub stream_guard: StreamGuardMode,
    /// How many characters of a guarded stream are held back: the longest thing that is surely found before any of it is
    /// given. 32 to 16384.
    #[schemars(range(min = 32, max = 16_384))]
    pub stream_guard_window: u32,
    /// How long one scanner may take, in milliseconds; after that it has failed. 1 to 60000.
    #[schemars(range(min = 1, max = 60_000))]
    pub scanner_timeout_ms: u32,
}

impl Default for SafetyConfig {
    fn default() -> Self {
        Self {
            mode: PolicyMode::Enforce,
            scanners: [Self::HEURISTIC, Self::SECRETS].map(str::to_owned).into(),
            heuristic: HeuristicConfig::default(),
            block_categories: BTreeSet::new(),
            block_response_categories: BTreeSet::new(),
            history: HistoryScan::Off,
            stream_guard: StreamGuardMode::Off,
            stream_guard_window: 256,
            scanner_timeout_ms: 5000,
        }
    }
}

/// What the scanner `heuristic` looks for besides personal data.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct HeuristicConfig {
    /// Phrases of the category `jailbreak` in the stead of the built-in ones. Case does not count, nor how words are
    /// divided.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phrases: Option<Vec<String>>,
    /// Phrases besides those.
    pub extra_phrases: Vec<String>,
    /// Whether the built-in phrases are left out.
    pub disable_builtin: bool,
}

/// What happens with the turns of a conversation that came before the newest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum HistoryScan {
    /// They are not looked at: each was when it was new, unless the caller brings along a conversation held elsewhere.
    #[default]
    Off,
    /// They are looked at, and what is found is recorded.
    Audit,
    /// What is found refuses as in the newest turn.
    Block,
}

/// How an answer is looked at that is given as it comes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum StreamGuardMode {
    /// When it is over: what is found is recorded.
    #[default]
    Off,
    /// As it comes, with its last characters held back: what is found in a blocking category cuts it with an error.
    Window,
}

impl SafetyConfig {
    /// The name of the scanner of phrases and personal data.
    pub const HEURISTIC: &'static str = "heuristic";
    /// The name of the scanner of credentials.
    pub const SECRETS: &'static str = "secrets";

    /// Everything that is wrong with it although it fits its schema, names of extensions apart.
    pub(super) fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        if self.scanners.is_empty() {
            flaws.push(Flaw::new(format!("{at}/scanners"), "is empty; name a scanner, or remove `safety`"));
        }
        for (key, phrases) in [
            ("phrases", self.heuristic.phrases.as_deref().unwrap_or_default()),
            ("extra_phrases", &self.heuristic.extra_phrases),
        ] {
            let at = format!("{at}/heuristic/{key}");
            if phrases.len() > PHRASES {
                flaws.push(Flaw::new(&at, format!("has more than {PHRASES} phrases; an extension can look for more")));
            }
            for (index, phrase) in phrases.iter().enumerate() {
                if phrase.trim().chars().count() < 4 || phrase.len() > LONGEST_PHRASE {
                    let message = format!("use 4 to {LONGEST_PHRASE} characters; a shorter phrase is in every text");
                    flaws.push(Flaw::new(format!("{at}/{index}"), message));
                }
            }
        }
        if self.history == HistoryScan::Block && self.block_categories.is_empty() {
            let message = "is `block`, and no category blocks; name some in `block_categories`, or write `audit`";
            flaws.push(Flaw::new(format!("{at}/history"), message));
        }
        if self.stream_guard == StreamGuardMode::Window && self.block_response_categories.is_empty() {
            let message = "is `window`, and no category cuts an answer; name some in `block_response_categories`";
            flaws.push(Flaw::new(format!("{at}/stream_guard"), message));
        }
        if !WINDOWS.contains(&self.stream_guard_window) {
            let message = format!("must be between {} and {} characters", WINDOWS.start(), WINDOWS.end());
            flaws.push(Flaw::new(format!("{at}/stream_guard_window"), message));
        }
        if !(1..=60_000).contains(&self.scanner_timeout_ms) {
            flaws.push(Flaw::new(format!("{at}/scanner_timeout_ms"), "must be between 1 and 60000 milliseconds"));
        }
    }

    /// Every name in it that nobody has. `brought` are the scanners of extensions, with what they find.
    pub(super) fn unknown_names(&self, at: &str, brought: &BTreeMap<String, BTreeSet<String>>, flaws: &mut Vec<Flaw>) {
        let scanners = || BUILT_IN.iter().map(|(name, _)| *name).chain(brought.keys().map(String::as_str));
        for name in self.scanners.iter().filter(|name| scanners().all(|known| known != name.as_str())) {
            let message = format!("there is no safety scanner `{name}`; {}", instead_of(name, scanners()));
            flaws.push(Flaw::new(format!("{at}/scanners"), message));
        }
        let mut categories: BTreeSet<&str> = BTreeSet::new();
        for name in &self.scanners {
            let built_in = BUILT_IN.iter().filter(|(scanner, _)| scanner == name).flat_map(|(_, found)| *found);
            categories.extend(built_in);
            categories.extend(brought.get(name).into_iter().flatten().map(String::as_str));
        }
        for (key, named) in [
            ("block_categories", &self.block_categories),
            ("block_response_categories", &self.block_response_categories),
        ] {
            for name in named.iter().filter(|name| !categories.contains(name.as_str())) {
                let message = format!(
                    "no scanner of this policy finds the category `{name}`; {}",
                    instead_of(name, categories.iter().copied())
                );
                flaws.push(Flaw::new(format!("{at}/{key}"), message));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(safety: Value) -> SafetyConfig {
        serde_json::from_value(safety).expect("fits")
    }

    #[test]
    fn the_documented_keys_are_read() {
        let read_back = read(json!({
            "mode": "warn",
            "scanners": ["heuristic", "secrets", "acme.codename"],
            "heuristic": {"phrases": ["one phrase"], "extra_phrases": ["another phrase"], "disable_builtin": true},
            "block_categories": ["jailbreak", "secret", "codename"],
            "block_response_categories": ["pii_credit_card"],
            "history": "block",
            "stream_guard": "window",
            "stream_guard_window": 64,
        }));
        let mut flaws = Vec::new();
        read_back.flaws("", &mut flaws);
        let brought = BTreeMap::from([("acme.codename".to_owned(), BTreeSet::from(["codename".to_owned()]))]);
        read_back.unknown_names("", &brought, &mut flaws);
        assert_eq!(flaws, []);
        assert_eq!(read(json!({})), SafetyConfig::default());
        assert!(serde_json::from_value::<SafetyConfig>(json!({"scaners": []})).is_err());
    }

    #[test]
    fn what_cannot_be_meant_is_named() {
        for (safety, pointer, word) in [
            (json!({"scanners": []}), "/scanners", "empty"),
            (json!({"heuristic": {"extra_phrases": ["ok phrase", "a"]}}), "/heuristic/extra_phrases/1", "shorter"),
            (json!({"history": "block"}), "/history", "audit"),
            (json!({"stream_guard": "window"}), "/stream_guard", "block_response_categories"),
            (json!({"stream_guard_window": 1}), "/stream_guard_window", "between"),
            (json!({"scanner_timeout_ms": 0}), "/scanner_timeout_ms", "between"),
        ] {
            let mut flaws = Vec::new();
            read(safety.clone()).flaws("", &mut flaws);
            assert_eq!(flaws.len(), 1, "{safety}: {flaws:?}");
            assert!(flaws[0].pointer == pointer && flaws[0].message.contains(word), "{safety}: {flaws:?}");
        }
    }

    #[test]
    fn a_name_nobody_has_is_told_with_the_nearest() {
        for (safety, pointer, word) in [
            (json!({"scanners": ["heuristics"]}), "/scanners", "did you mean `heuristic`?"),
            (json!({"block_categories": ["jailbraek"]}), "/block_categories", "did you mean `jailbreak`?"),
            (
                json!({"scanners": ["heuristic"], "block_response_categories": ["secret"]}),
                "/block_response_categories",
                "no scanner of this policy",
            ),
        ] {
            let mut flaws = Vec::new();
            read(safety.clone()).unknown_names("", &BTreeMap::new(), &mut flaws);
            assert_eq!(flaws.len(), 1, "{safety}: {flaws:?}");
            assert!(flaws[0].pointer == pointer && flaws[0].message.contains(word), "{safety}: {flaws:?}");
        }
    }
}
