//! What `*` means, wherever an operator may write one: in names of models, tools and entities, and in names of files.
//!
//! `*` stands for any text, also for none, and `?` for one character. Every other character stands for itself: there are no
//! classes, no alternatives and no escapes, so `claude-x[1m]` is a pattern that fits itself only.

use regex::{Regex, RegexBuilder};

/// The longest pattern, in bytes.
const LONGEST: usize = 1024;

/// A text with `*` and `?` in it, ready to be compared with names.
#[derive(Debug, Clone)]
pub struct Pattern {
    text: String,
    expression: Regex,
}

/// The text cannot serve as a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a pattern may have 1 to {LONGEST} bytes")]
pub struct InvalidPattern;

impl Pattern {
    /// A pattern in which letter case matters.
    pub fn new(text: &str) -> Result<Self, InvalidPattern> {
        Self::build(text, false)
    }

    /// A pattern in which it does not.
    pub fn ignoring_case(text: &str) -> Result<Self, InvalidPattern> {
        Self::build(text, true)
    }

    /// The pattern `*`.
    pub fn any() -> Self {
        Self::new("*").expect("a star is a pattern")
    }

    /// Whether a text has a `*` or `?` in it, so that as a pattern it may fit other names than itself.
    pub fn is_wild(text: &str) -> bool {
        text.contains(['*', '?'])
    }

    fn build(text: &str, ignoring_case: bool) -> Result<Self, InvalidPattern> {
        if !(1..=LONGEST).contains(&text.len()) {
            return Err(InvalidPattern);
        }
        let expression = regex::escape(text).replace(r"\*", ".*").replace(r"\?", ".");
        // A regular expression, because that is matched in linear time whatever is written.
        let expression = RegexBuilder::new(&format!("^(?:{expression})$"))
            .case_insensitive(ignoring_case)
            .dot_matches_new_line(true)
            .build()
            .map_err(|_| InvalidPattern)?;
        Ok(Self { text: text.to_owned(), expression })
    }

    /// Whether all of `name` fits.
    pub fn fits(&self, name: &str) -> bool {
        self.expression.is_match(name)
    }

    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_meaning_everywhere() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "anything/at all\n", true),
            ("gpt-*", "gpt-5", true),
            ("gpt-*", "gpt-", true),
            ("gpt-*", "claude", false),
            ("*-mini*", "gpt-5-mini-2025", true),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxbyy", false),
            ("ab*ba", "aba", false),
            ("**a", "bba", true),
            ("a?c", "aéc", true),
            ("a?c", "ac", false),
            ("a?c", "abbc", false),
            ("x", "x", true),
            ("x", "xy", false),
            ("x", "X", false),
            ("*.yaml", "a.yaml", true),
            ("*.yaml", "a.yml", false),
            ("*.yaml", "ayaml", false),
            ("claude-x[1m]", "claude-x[1m]", true),
            ("claude-x[1m]", "claude-x1", false),
            ("{a,b}", "a", false),
            ("a\\*", "a\\b", true),
            ("(?i)a", "A", false),
        ] {
            assert_eq!(Pattern::new(pattern).expect("is one").fits(name), expected, "{pattern} {name}");
        }
        for (pattern, name, expected) in
            [("*delete*", "mcp__db__DELETE_row", true), ("straße*", "STRASSE", false), ("Ü?", "üX", true)]
        {
            assert_eq!(Pattern::ignoring_case(pattern).expect("is one").fits(name), expected, "{pattern} {name}");
        }
        assert!(Pattern::new("").is_err() && Pattern::new(&"a".repeat(LONGEST + 1)).is_err());
        let long = "a".repeat(100_000);
        assert!(!Pattern::new("*a*a*a*a*b").expect("is one").fits(&long));
        assert!(Pattern::is_wild("a*") && Pattern::is_wild("?") && !Pattern::is_wild("claude-x[1m]"));
    }
}
