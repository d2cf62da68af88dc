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
    /// What it is for.
    pub category: Category,
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
    /// That name says whose it is, and the value has the length and the characters of those.
    Named,
    /// A form that nothing else has.
    High,
}

impl Confidence {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium | Self::Named => "medium",
            Self::High => "high",
        }
    }
}

/// What a kind of credential is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Models and what is built on them.
    Ai,
    /// Clouds, hosts and databases.
    Cloud,
    /// Source code, packages and builds.
    Code,
    /// Payments and money.
    Payment,
    /// Messages, mail and telephony.
    Messaging,
    /// Logs, metrics and analytics.
    Monitoring,
    /// People, programs and their sessions.
    Identity,
    /// What else companies use.
    Business,
    /// Keys, passwords and fields of any product.
    General,
    /// The operator's own.
    Own,
}

impl Category {
    /// In words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ai => "models",
            Self::Cloud => "clouds and databases",
            Self::Code => "code and builds",
            Self::Payment => "payments",
            Self::Messaging => "messages",
            Self::Monitoring => "monitoring",
            Self::Identity => "identity",
            Self::Business => "business",
            Self::General => "any product",
            Self::Own => "your own",
        }
    }
}
