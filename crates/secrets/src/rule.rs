//! What is known of a kind of credential.

/// The id of matches by distribution rather than form.
pub const HIGH_ENTROPY_TOKEN: &str = "high-entropy-token";

/// A kind of credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Its id, lower-case words with hyphens.
    pub id: String,
    /// What it is, in words.
    pub description: String,
    /// How sure a match is.
    pub confidence: Confidence,
    /// Whether matches are acted on; others are told only.
    pub acts: bool,
}

/// How sure a match is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Confidence {
    /// The distribution of its characters, under a name that fits.
    Low,
    /// The name it is given to, and that it looks like a secret.
    Medium,
    /// A form that nothing else has.
    High,
}
