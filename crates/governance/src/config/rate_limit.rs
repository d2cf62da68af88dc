//! The settings of the policy `rate_limit`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::flaw::Flaw;
use super::mode::PolicyMode;

/// `rate_limit`: how many requests a user may make within any window, in one session and in all of them, over all
/// replicas together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitConfig {
    /// Whether it runs.
    pub enabled: bool,
    /// Overrides the mode of the section.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<PolicyMode>,
    /// The most requests of one session in a window; 0 blocks everything.
    pub requests_per_window: u32,
    /// The most requests of one user in a window, over all sessions and credentials; 0 blocks everything. Ten times
    /// `requests_per_window` if absent. Sessions and keys are the user's to make, so this is the limit that binds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests_per_user_window: Option<u32>,
    /// The length of the window in seconds; 1 to 86400.
    pub window_secs: u32,
}

impl Default for RateLimitConfig {
    fn default() -> Self {
        Self { enabled: true, mode: None, requests_per_window: 300, requests_per_user_window: None, window_secs: 60 }
    }
}

impl RateLimitConfig {
    /// Everything that is wrong with it although it fits the schema.
    pub(crate) fn flaws(&self, at: &str, flaws: &mut Vec<Flaw>) {
        if !(1..=86_400).contains(&self.window_secs) {
            flaws.push(Flaw::new(format!("{at}/window_secs"), "must be between 1 and 86400 seconds"));
        }
    }

    /// The most requests of one user in a window.
    pub(crate) fn user_limit(&self) -> u32 {
        self.requests_per_user_window.unwrap_or_else(|| self.requests_per_window.saturating_mul(10))
    }
}
