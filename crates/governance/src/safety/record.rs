//! What is recorded of something a scanner found.

use std::borrow::Cow;

use systemprompt_extension::safety::Severity;

/// Where something was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SafetyPhase {
    /// In what is new in a request.
    Request,
    /// In the turns before.
    RequestHistory,
    /// In an answer.
    Response,
}

impl SafetyPhase {
    /// The name used in records.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Request => "request",
            Self::RequestHistory => "request_history",
            Self::Response => "response",
        }
    }
}

/// Something a scanner found, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SafetyRecord {
    /// Where.
    pub phase: SafetyPhase,
    /// What it is.
    pub category: Cow<'static, str>,
    /// How bad it is.
    pub severity: Severity,
    /// Who found it.
    pub scanner: Cow<'static, str>,
    /// Whether it refused the request, or withheld the answer.
    pub blocked: bool,
    /// Its number among all that was found of one action.
    pub sequence: usize,
    /// What stands around it, with everything sensitive masked. Not in the log: content, which expires.
    pub excerpt: Option<String>,
}
