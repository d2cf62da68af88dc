//! What an installation chooses about the scan.

use regex::bytes::Regex;

use crate::assignment;
use crate::pattern::{Pattern, PatternError, SHOWN};

/// As many characters at least are looked for.
const ANCHOR: usize = 3;

/// The hexadecimal digits at the end of a placeholder: 64 bits, so that two secrets of one installation do not share one.
pub const PLACEHOLDER_DIGITS: usize = 16;

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
    /// How the placeholders begin that stand for secrets which were replaced. This, the id of a rule, `_` and
    /// [`PLACEHOLDER_DIGITS`] are no secret.
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
    /// What it looks like. Without keywords it begins with three characters at least that are always the same.
    pub pattern: Pattern,
    /// Words in lower case. If there are any, one of them stands near a credential that has a beginning of its own, and in
    /// the name that one without is given to.
    pub keywords: Vec<String>,
}

impl ExtraRule {
    /// A credential recognised by how it begins; eight or more characters of `A–Z a–z 0–9 _ - . / + =` follow.
    pub fn prefixed(id: &str, prefix: &str) -> Self {
        let pattern = Pattern::after(prefix, "[A-Za-z0-9_./+=-]{8,}");
        Self { id: id.to_owned(), description: format!("Begins with {prefix}"), pattern, keywords: Vec::new() }
    }

    /// A credential that looks like `pattern`, near one of these words if there are any.
    pub fn new(id: &str, description: &str, pattern: &str, keywords: &[String]) -> Result<Self, PatternError> {
        let pattern = Pattern::parse(pattern)?;
        let keywords: Vec<String> = keywords.iter().map(|keyword| keyword.to_ascii_lowercase()).collect();
        let rule = Self { id: id.to_owned(), description: description.to_owned(), pattern, keywords };
        if rule.keywords.is_empty() && !rule.has_a_beginning() {
            let problem = "begin with three characters that are always the same, or give keywords";
            return Err(PatternError { at: 0, problem });
        }
        // What is longer would be looked for and never be found.
        let (shown, problem) = if rule.has_a_beginning() {
            (SHOWN, "use 1024 characters at most, or no upper bound")
        } else {
            (assignment::LONGEST, "use 512 characters at most for what is given to a name")
        };
        if rule.pattern.most() > shown {
            return Err(PatternError { at: 0, problem });
        }
        Ok(rule)
    }

    /// Whether it is recognised by how it begins.
    pub(crate) fn has_a_beginning(&self) -> bool {
        let beginnings = self.pattern.beginnings();
        !beginnings.is_empty() && beginnings.iter().all(|beginning| beginning.len() >= ANCHOR)
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
