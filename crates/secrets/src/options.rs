//! What an installation chooses about the scan.

use regex::bytes::Regex;

/// The settings of a [`Scanner`](crate::Scanner).
#[derive(Debug, Clone)]
pub struct Options {
    /// Rules of the operator's own.
    pub extra: Vec<ExtraRule>,
    /// Ids of rules that are left out.
    pub disabled: Vec<String>,
    /// Ids of rules whose matches are told and not acted on.
    pub only_told: Vec<String>,
    /// The rule for credentials no other knows. `None` leaves it out.
    pub entropy: Option<Entropy>,
    /// How the placeholders begin that stand for secrets which were replaced. What begins so is none.
    pub placeholder_prefix: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            extra: Vec::new(),
            disabled: Vec::new(),
            only_told: Vec::new(),
            entropy: Some(Entropy::default()),
            placeholder_prefix: "SECRET_".to_owned(),
        }
    }
}

/// A credential recognised by how it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraRule {
    /// The id of its matches.
    pub id: String,
    /// How it begins; eight or more characters of `A–Z a–z 0–9 _ - . / + =` follow.
    pub prefix: String,
}

/// The settings of the rule that goes by the distribution of characters.
#[derive(Debug, Clone)]
pub struct Entropy {
    /// The shortest token looked at.
    pub min_len: usize,
    /// The Shannon entropy from which a token counts as random, as a part of the most a token of its length over 64
    /// characters can have.
    pub threshold: f64,
    /// Tokens that are fine.
    pub allowed: Vec<Regex>,
    /// Whether its matches are acted on.
    pub acts: bool,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { min_len: 32, threshold: 0.80, allowed: Vec::new(), acts: false }
    }
}
