//! What an operator changes about the rules of the secret scan: which are off, which are added, and what is allowed until when.

use chrono::NaiveDate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which rules of the secret scan there are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ScanRulesConfig {
    /// Ids of rules that are not looked for at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disable: Vec<String>,
    /// Rules of your own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<AddedRule>,
}

impl ScanRulesConfig {
    pub(super) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A kind of credential that is yours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AddedRule {
    /// The id its findings carry; lower-case letters, digits and hyphens.
    pub id: String,
    /// What it is, for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// All of what it looks like: characters that stand for themselves, sets such as `[A-Z2-7]`, `<b62>`, `<hex>` or `<url>`,
    /// choices of texts such as `(live|test)`, each with a number of times such as `{36}` or `{20,60}`. Instead of `prefix`,
    /// `charset` and `length`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pattern: Option<String>,
    /// How it begins, in characters that stand for themselves; case-sensitive.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The characters that follow: the name of a set, `b62` if none is given, or a set such as `[A-Z2-7]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub charset: Option<String>,
    /// How many of them there are; 8 or more if nothing is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub length: Option<LengthConfig>,
    /// Words of which one stands shortly before it, or, if it has no beginning of its own, in the name it is given to. Letter
    /// case does not matter.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keywords: Vec<String>,
    /// Texts it is tried on whenever the configuration is checked.
    #[serde(skip_serializing_if = "SamplesConfig::is_empty")]
    pub samples: SamplesConfig,
}

/// How many characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum LengthConfig {
    /// So many.
    Exactly(u16),
    /// From so many to so many.
    Between {
        /// At least.
        min: u16,
        /// At most.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        max: Option<u16>,
    },
}

/// Texts a rule is tried on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct SamplesConfig {
    /// In each of these it is found.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub found: Vec<String>,
    /// In none of these it is.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub passed: Vec<String>,
}

impl SamplesConfig {
    fn is_empty(&self) -> bool {
        self.found.is_empty() && self.passed.is_empty()
    }
}

/// What is no secret although a rule says so. What it says of a finding has to be true all together, so it has at least one
/// of `rule`, `path` and `sha256`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AllowedSecret {
    /// The rule that finds it; `*` and `?` may stand in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Where it stands in a request, such as `$.messages[*].content`; `*` stands for any text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The SHA-256 of it, in hexadecimal digits, as `governance secrets test` prints it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// Why.
    pub reason: String,
    /// The last day it counts, by UTC. Then it is a secret again, and the check of the configuration says so.
    pub expires: NaiveDate,
}
