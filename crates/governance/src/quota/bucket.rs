//! What travels to PostgreSQL: which buckets a request wants to count in, and what it used at its end.

use std::cmp::Ordering;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use systemprompt_extension::policy::Usage;
use systemprompt_model::ActionId;

use super::meter::Meter;

/// One subject in one window of one meter.
#[derive(Debug, Clone)]
pub(super) struct Bucket {
    pub(super) kind: String,
    pub(super) subject: String,
    pub(super) meter: String,
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
    pub(super) subject_name: String,
    /// What counts it.
    pub(super) counted_by: Arc<Meter>,
}

impl Bucket {
    fn key(&self) -> (&str, &str, &str, DateTime<Utc>) {
        (&self.kind, &self.subject, &self.meter, self.start)
    }
}

impl PartialEq for Bucket {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Bucket {}

impl PartialOrd for Bucket {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Bucket {
    /// As the table has them: by their key.
    fn cmp(&self, other: &Self) -> Ordering {
        self.key().cmp(&other.key())
    }
}

/// A request wants to count in a bucket.
#[derive(Debug, Clone)]
pub(super) struct Claim {
    pub(super) bucket: Bucket,
    /// Whether tokens and cost must fit below the limit, instead of finding it not reached yet.
    pub(super) strict: bool,
    /// The most requests, input tokens, output tokens and microdollars.
    pub(super) most: [Option<i64>; 4],
}

/// A request wants to count in all of these buckets.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) action: ActionId,
    /// Counted until its end is known.
    pub(super) set_aside: Usage,
    pub(super) claims: Vec<Claim>,
}

/// A request has ended, and used this.
#[derive(Debug, Clone)]
pub(super) struct Ended {
    pub(super) action: ActionId,
    pub(super) used: Usage,
    /// The buckets it counted in, where this server knows them.
    pub(super) buckets: Vec<(i64, Bucket)>,
}
