//! Buckets of one process, for what must never wait: nothing is leased and nothing is asked.

use std::fmt;
use std::hash::{BuildHasher, RandomState};

use systemprompt_model::Ambient;

use super::error::Exhausted;
use super::generations::Generations;
use super::limit::{LeaseKey, Refilling, clock, units};

/// Counts what this process alone is asked for. Memory is bounded whoever comes.
pub struct LocalLimits {
    ambient: Ambient,
    /// By the hash of the key, made with a secret. Two that are the same by accident (one in 10⁹ for a full map) share one.
    buckets: Generations<u64, i64>,
    hasher: RandomState,
}

impl LocalLimits {
    /// An empty one. `limits` are all that it will be asked about: a bucket that has not been touched while it filled is as
    /// good as a new one, and forgotten.
    pub fn new<'a>(limits: impl IntoIterator<Item = &'a Refilling>, ambient: Ambient) -> Self {
        let longest = limits.into_iter().map(Refilling::fills_in).max().unwrap_or_default();
        let lifetime = units(u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX));
        Self { ambient, buckets: Generations::new(lifetime), hasher: RandomState::new() }
    }

    /// Takes one unit.
    pub fn take(&self, key: &LeaseKey, limit: &Refilling) -> Result<(), Exhausted> {
        let now = clock(&self.ambient);
        self.buckets.with(self.hasher.hash_one(key), now, |full_at| limit.take(full_at, now))
    }
}

impl fmt::Debug for LocalLimits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalLimits").field("buckets", &self.buckets).finish_non_exhaustive()
    }
}
