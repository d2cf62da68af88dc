//! The settings of the policy `secret_scan`.

use regex::bytes::{Regex, RegexBuilder};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};

use super::flaw::Flaw;
use super::mode::PolicyMode;
use super::secret_rules::{AllowedSecret, ScanRulesConfig};

/// `secret_scan`: no credential leaves, in any string or object key of what is sent. Applies to everybody, administrators
/// included.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SecretScanConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// Overrides the mode of the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// What happens to a credential in what a session carries. Where nothing can be replaced, such as in the input of a tool,
    /// it is refused whatever this says.
    pub action: SecretAction,
    /// Ids of patterns that are refused all the same where the others are replaced.
    pub deny: Vec<String>,
    /// What happens to a credential that a model writes into an answer by itself; `warn` if absent. What a request carried is
    /// none: that has its placeholder there.
    #[serde(skip_serializing_if = "AnswerAction::is_default")]
    pub answers: AnswerAction,
    /// Credentials of your own: a prefix, followed by eight or more characters of `A–Z a–z 0–9 _ - . / + =`.
    pub extra_patterns: Vec<ExtraPattern>,
    /// Ids of patterns that are recorded and do not refuse, whatever the mode: where a pattern is wrong about your texts. By
    /// default `google-api-key`, which stands in every page with a map, and `stripe-test-key`; a list of yours replaces that.
    pub warn_only: Vec<String>,
    /// Rules that are off, and rules of your own.
    #[serde(skip_serializing_if = "ScanRulesConfig::is_default")]
    pub rules: ScanRulesConfig,
    /// What is no secret although a rule says so, each until a day.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowedSecret>,
    /// The rule for credentials that no pattern knows.
    pub entropy: EntropyConfig,
}

impl Default for SecretScanConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            mode: None,
            action: SecretAction::default(),
            deny: Vec::new(),
            answers: AnswerAction::default(),
            extra_patterns: Vec::new(),
            warn_only: ["google-api-key", "stripe-test-key"].map(str::to_owned).into(),
            rules: ScanRulesConfig::default(),
            allow: Vec::new(),
            entropy: EntropyConfig::default(),
        }
    }
}

/// What happens to a credential that was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SecretAction {
    /// A placeholder leaves in its place, the same for the same credential, and the answer has the original again.
    #[default]
    Redact,
    /// The request is refused.
    Deny,
}

/// What happens to a credential in an answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AnswerAction {
    /// Answers are not looked through.
    Off,
    /// It is recorded, and the caller has the answer: models make up examples that look like credentials.
    #[default]
    Warn,
    /// The caller gets a placeholder in its place. A stream is held back a little for that.
    Redact,
    /// The answer is withheld, and a stream cut before it.
    Deny,
}

impl AnswerAction {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A credential recognised by how it begins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExtraPattern {
    /// The id findings carry; lower-case letters, digits and hyphens.
    pub name: String,
    /// How the credential begins; at least three characters, case-sensitive.
    pub prefix: String,
}

/// `high-entropy-token`: a run of `A–Z a–z 0–9 + / _ -` that is long, mixed and evenly distributed, and that is given to a
/// name like `token`, `secret` or `api_key`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct EntropyConfig {
    /// Whether the rule runs.
    pub enabled: bool,
    /// What a finding does: `warn` records it, `enforce` refuses the request. Randomness alone proves nothing, so the default
    /// is `warn`.
    pub mode: PolicyMode,
    /// The shortest token looked at, in characters; 16 to 256.
    pub min_len: usize,
    /// The Shannon entropy from which a token counts as random, as a part of the most a token of its length over 64
    /// characters can have; 0 to 1.
    pub threshold: f64,
    /// Regular expressions of tokens that are fine. A single one may be given without a list.
    #[serde(deserialize_with = "one_or_many")]
    #[schemars(with = "OneOrMany")]
    pub allowlist: Vec<String>,
}

impl Default for EntropyConfig {
    fn default() -> Self {
        Self { enabled: true, mode: PolicyMode::Warn, min_len: 32, threshold: 0.80, allowlist: Vec::new() }
    }
}

impl EntropyConfig {
    /// The allow-list, compiled. Errors carry the position in the list.
    pub(crate) fn allowed(&self) -> Result<Vec<Regex>, (usize, regex::Error)> {
        let compile = |(index, pattern): (usize, &String)| {
            RegexBuilder::new(pattern).size_limit(1 << 20).build().map_err(|error| (index, error))
        };
        self.allowlist.iter().enumerate().map(compile).collect()
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(pattern) => vec![pattern],
        OneOrMany::Many(patterns) => patterns,
    })
}

impl SecretScanConfig {
    pub(crate) fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        for (index, pattern) in self.extra_patterns.iter().enumerate() {
            let at = format!("{at}/extra_patterns/{index}");
            let slug = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
            if pattern.name.is_empty() || pattern.name.len() > 64 || !pattern.name.bytes().all(slug) {
                let message = "use 1 to 64 lower-case letters, digits and hyphens";
                flaws.push(Flaw::new(format!("{at}/name"), message));
            }
            if !(3..=64).contains(&pattern.prefix.len()) || pattern.prefix.contains(char::is_whitespace) {
                let message = "use 3 to 64 characters without spaces; a shorter prefix would find ordinary words";
                flaws.push(Flaw::new(format!("{at}/prefix"), message));
            }
        }
        let at = format!("{at}/entropy");
        if !(16..=256).contains(&self.entropy.min_len) {
            flaws.push(Flaw::new(format!("{at}/min_len"), "must be between 16 and 256 characters"));
        }
        if !(0.0..=1.0).contains(&self.entropy.threshold) {
            flaws.push(Flaw::new(format!("{at}/threshold"), "must be between 0 and 1"));
        }
        if let Err((index, error)) = self.entropy.allowed() {
            flaws.push(Flaw::new(format!("{at}/allowlist/{index}"), format!("not a regular expression: {error}")));
        }
    }
}
