//! The figures of a session.

use chrono::{DateTime, Utc};
use systemprompt_model::Microdollars;

/// What a session did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionActivity {
    pub last_at: DateTime<Utc>,
    pub requests: u64,
    pub input_tokens: u64,
    pub output_tokens: u64,
    pub cost: Microdollars,
}

impl SessionActivity {
    pub(crate) fn add(&mut self, other: Self) {
        self.last_at = self.last_at.max(other.last_at);
        self.requests += other.requests;
        self.input_tokens += other.input_tokens;
        self.output_tokens += other.output_tokens;
        self.cost += other.cost;
    }
}
