//! What an installation chooses about the scan.

use regex::bytes::Regex;

use crate::pattern::{Pattern, PatternError};

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

/// A rule of the operator's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtraRule {
    /// The id of its matches.
    pub id: String,
    /// What it is.
    pub description: String,
    /// What it looks like; it begins with three characters at least that are always the same.
    pub pattern: Pattern,
}

impl ExtraRule {
    /// A credential recognised by how it begins; eight or more characters of `A–Z a–z 0–9 _ - . / + =` follow.
    pub fn prefixed(id: &str, prefix: &str) -> Self {
        let pattern = Pattern::after(prefix, "[A-Za-z0-9_./+=-]{8,}");
        Self { id: id.to_owned(), description: format!("Begins with {prefix}"), pattern }
    }

    /// A credential that looks like `pattern`.
    pub fn new(id: &str, description: &str, pattern: &str) -> Result<Self, PatternError> {
        let pattern = Pattern::parse(pattern)?;
        if pattern.beginnings().iter().any(|beginning| beginning.len() < 3) {
            return Err(PatternError { at: 0, problem: "begin with three characters that are always the same" });
        }
        Ok(Self { id: id.to_owned(), description: description.to_owned(), pattern })
    }
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
