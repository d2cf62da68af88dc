//! Buckets of one process.

use std::hash::{BuildHasher, RandomState};

use futures_util::future::Either;
use systemprompt_config::profile::{RateGroup, RateLimits};
use systemprompt_extension::{Admission, ClientIp, RateLimited, RateLimiter};
use systemprompt_model::{Ambient, Principal, UserType};

use super::generations::Generations;
use super::rates::{Empty, Rate, Rates, blocked};
use crate::metrics::RefusalMetrics;

/// Whose bucket it is.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Key {
    /// `None` for the bucket of an address that counts before anything else is known.
    pub(super) group: Option<RateGroup>,
    pub(super) tier: UserType,
    /// The account, or the address of a caller without one.
    pub(super) caller: u128,
}

impl Key {
    pub(super) fn new(group: RateGroup, caller: Option<&Principal>, client: ClientIp) -> Self {
        // An anonymous account is as quickly made as an address is changed, but not as dear.
        match caller.filter(|caller| caller.user_type != UserType::Anon) {
            Some(caller) => {
                Self { group: Some(group), tier: caller.user_type, caller: caller.user_id.as_uuid().as_u128() }
            }
            None => Self { group: Some(group), tier: UserType::Anon, caller: client.network().to_bits() },
        }
    }
}

/// Counts the requests to this process.
pub(super) struct MemoryLimiter {
    pub(super) rates: Rates,
    pub(super) metrics: RefusalMetrics,
    ambient: Ambient,
    buckets: Generations<i64>,
    hasher: RandomState,
}

impl MemoryLimiter {
    pub(super) fn new(limits: &RateLimits, ambient: Ambient, metrics: RefusalMetrics) -> Self {
        let rates = Rates::new(limits);
        // A bucket that has not been touched while it filled is as good as a new one.
        let buckets = Generations::new(rates.longest());
        Self { rates, metrics, ambient, buckets, hasher: RandomState::new() }
    }

    pub(super) fn take(&self, key: Key, rate: Rate) -> Result<(), Empty> {
        let now = self.now();
        self.buckets.with(self.hash(key), now, |full_at| rate.take(full_at, now))
    }

    pub(super) fn hash(&self, key: Key) -> u64 {
        self.hasher.hash_one(key)
    }

    /// Nanoseconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.ambient.now().timestamp_nanos_opt().unwrap_or(i64::MAX)
    }
}

impl RateLimiter for MemoryLimiter {
    fn guard(&self, client: ClientIp) -> Result<(), RateLimited> {
        let key = Key { group: None, tier: UserType::Anon, caller: client.network().to_bits() };
        self.take(key, self.rates.guard).map_err(|empty| {
            self.metrics.count(None, UserType::Anon);
            self.rates.guard.refusal(UserType::Anon, empty)
        })
    }

    fn admit<'a>(&'a self, group: RateGroup, caller: Option<&Principal>, client: ClientIp) -> Admission<'a> {
        let key = Key::new(group, caller, client);
        let admitted = match self.rates.of(group, key.tier) {
            None => Err(blocked(key.tier)),
            Some(rate) => self.take(key, rate).map_err(|empty| rate.refusal(key.tier, empty)),
        };
        if admitted.is_err() {
            self.metrics.count(Some(group), key.tier);
        }
        Either::Left(std::future::ready(admitted))
    }
}
