//! Answers that are given once more, as `gateway.routes[].cache` and `gateway.answer_cache` describe it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which answers of a route are kept for the same request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RouteCacheConfig {
    /// How long an answer is given once more, in seconds; 1 or more.
    pub ttl_seconds: u64,
    /// A larger answer is not kept.
    #[serde(default = "one_mebibyte")]
    pub max_entry_bytes: usize,
    /// Among whom answers are shared.
    #[serde(default)]
    pub scope: CacheScope,
    /// Answers to requests with a temperature above 0 are kept too. One that names no temperature is kept anyway.
    #[serde(default)]
    pub sampled: bool,
}

/// Among whom the answers of a route are shared. Whoever asks passes the Gate as if nothing were kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum CacheScope {
    /// Each account has its own.
    #[default]
    User,
    /// Accounts of the same class that have the same roles and attributes, such as the department, share theirs.
    Entitlements,
}

/// The answers of all routes that are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct AnswerCacheConfig {
    /// The most they shall take in the database, in bytes; the oldest go first. Each server looks when it has written an
    /// eighth of it, and every minute.
    pub max_total_bytes: u64,
}

impl Default for AnswerCacheConfig {
    fn default() -> Self {
        Self { max_total_bytes: 256 * 1024 * 1024 }
    }
}

/// An answer that reaches the caller whole may have this size, so a larger one is never kept.
const LARGEST: usize = 32 * 1024 * 1024;

impl RouteCacheConfig {
    /// What is wrong with it: the key, the fault, and how to mend it.
    pub(super) fn flaws(&self, all: AnswerCacheConfig) -> Vec<(&'static str, String, &'static str)> {
        let mut flaws = Vec::new();
        if self.ttl_seconds == 0 {
            flaws.push((
                "ttl_seconds",
                "no answer would be given once more".to_owned(),
                "name a time, or remove cache",
            ));
        }
        if self.ttl_seconds > 366 * 86_400 {
            let message = format!("{} seconds are more than a year", self.ttl_seconds);
            flaws.push(("ttl_seconds", message, "name a shorter time"));
        }
        let largest = LARGEST.min(usize::try_from(all.max_total_bytes).unwrap_or(usize::MAX));
        if !(1..=largest).contains(&self.max_entry_bytes) {
            let message = format!("{} bytes are not between 1 and {largest}", self.max_entry_bytes);
            flaws.push(("max_entry_bytes", message, "stay below 32 MiB and gateway.answer_cache.max_total_bytes"));
        }
        flaws
    }
}

const fn one_mebibyte() -> usize {
    1024 * 1024
}
