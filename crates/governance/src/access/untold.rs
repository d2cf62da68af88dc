//! What an extension knows of somebody and does not say.

use std::fmt;
use std::time::Duration;

/// The values of a dimension could not be got.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the {dimension} of the account is not known: the extension `{extension}` {why}")]
pub struct Untold {
    /// The dimension.
    pub dimension: &'static str,
    /// The extension that knows it.
    pub extension: &'static str,
    /// Why it is not known.
    pub why: Silence,
}

/// What an extension did instead of answering. Details are in the log, for those who keep the installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Silence {
    /// It took too long.
    TooLate(Duration),
    /// It panicked.
    Panicked,
    /// It failed.
    Failed,
    /// It was not asked: no account is named.
    Unnamed,
}

impl fmt::Display for Silence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLate(limit) => write!(f, "did not answer within {} s", limit.as_secs()),
            Self::Panicked => f.write_str("panicked"),
            Self::Failed => f.write_str("failed"),
            Self::Unnamed => f.write_str("cannot be asked, because no account is named"),
        }
    }
}
