//! The numbers of the limits, and what a bucket is.

use std::time::Duration;

use systemprompt_config::profile::{RateGroup, RateLimits};
use systemprompt_extension::RateLimited;
use systemprompt_model::UserType;

const SECOND: i64 = 1_000_000_000;
/// A request per nanosecond is no limit any more.
const FASTEST: f64 = 1e9;
/// No bucket takes longer than this to fill: a hundred years, in nanoseconds.
const LONGEST: i64 = 100 * 366 * 86_400 * SECOND;

const TIERS: [UserType; 6] =
    [UserType::Admin, UserType::User, UserType::Service, UserType::A2a, UserType::Mcp, UserType::Anon];

/// Every rate of a profile.
#[derive(Debug)]
pub(super) struct Rates {
    by_group: [[Option<Rate>; TIERS.len()]; RateGroup::ALL.len()],
    /// What an address may send before it is known who sends it.
    pub(super) guard: Rate,
}

impl Rates {
    pub(super) fn new(limits: &RateLimits) -> Self {
        let burst = limits.burst_multiplier;
        let mut by_group = [[None; TIERS.len()]; RateGroup::ALL.len()];
        let mut highest = 1;
        for group in RateGroup::ALL {
            for tier in TIERS {
                let rate = Rate::scaled(limits.rate(group), limits.tier_multipliers.of(tier), burst);
                if let Some(rate) = rate.filter(|_| group.is_served()) {
                    highest = highest.max(rate.per_second);
                }
                by_group[group as usize][tier as usize] = rate;
            }
        }
        Self { by_group, guard: Rate::new(highest, burst) }
    }

    /// The rate of a kind of caller; `None` if it is blocked.
    pub(super) fn of(&self, group: RateGroup, tier: UserType) -> Option<Rate> {
        self.by_group[group as usize][tier as usize]
    }

    /// The longest time, in nanoseconds, that any bucket takes to fill.
    pub(super) fn longest(&self) -> i64 {
        self.by_group.iter().flatten().flatten().chain([&self.guard]).map(|rate| rate.depth).max().unwrap_or(SECOND)
    }
}

/// How fast a bucket fills and how much it holds.
///
/// A bucket is one number: the time, in nanoseconds since 1970, when it will be full. A request moves that time into the
/// future by what it takes to replace its token, and is refused if the bucket would then lack more than it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rate {
    pub(super) per_second: u64,
    /// Tokens in a full bucket.
    pub(super) capacity: u64,
    /// Nanoseconds until a token is replaced.
    pub(super) interval: i64,
    /// Nanoseconds until an empty bucket is full.
    pub(super) depth: i64,
}

/// A bucket had no token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Empty {
    /// Nanoseconds until it has one.
    pub(super) wait: i64,
    /// Nanoseconds until it is full.
    pub(super) fill: i64,
}

impl Rate {
    /// The rate of a tier with this multiplier: at least one request per second, or none at all.
    fn scaled(base: u64, multiplier: f64, burst: u64) -> Option<Self> {
        let effective = (base as f64 * multiplier).round().clamp(1.0, FASTEST);
        (multiplier > 0.0).then(|| Self::new(effective as u64, burst))
    }

    pub(super) fn new(per_second: u64, burst: u64) -> Self {
        let interval = SECOND / i64::try_from(per_second).unwrap_or(SECOND).clamp(1, SECOND);
        let wanted = per_second.saturating_mul(burst.max(1));
        let capacity = wanted.min((LONGEST / interval) as u64);
        Self { per_second, capacity, interval, depth: interval * capacity as i64 }
    }

    /// Takes a token out of a bucket.
    pub(super) fn take(self, full_at: &mut i64, now: i64) -> Result<(), Empty> {
        let missing = self.missing(*full_at, now);
        let wait = missing + self.interval - self.depth;
        if wait > 0 {
            return Err(Empty { wait, fill: missing });
        }
        *full_at = now + missing + self.interval;
        Ok(())
    }

    /// Nanoseconds until a bucket is full. Never more than an empty one takes: a clock that was set back must not lock
    /// anybody out for as long as it was wrong.
    pub(super) fn missing(self, full_at: i64, now: i64) -> i64 {
        full_at.saturating_sub(now).clamp(0, self.depth)
    }

    pub(super) fn refusal(self, tier: UserType, empty: Empty) -> RateLimited {
        let nanos = |nanos: i64| Duration::from_nanos(nanos.max(0).cast_unsigned());
        RateLimited { tier, limit: self.capacity, retry_after: nanos(empty.wait), reset: nanos(empty.fill) }
    }
}

/// The refusal of a kind of caller that is blocked. There is no moment at which it would not be; clients that insist on one
/// are told an hour.
pub(super) fn blocked(tier: UserType) -> RateLimited {
    let hour = Duration::from_hours(1);
    RateLimited { tier, limit: 0, retry_after: hour, reset: hour }
}

#[cfg(test)]
mod tests {
    use systemprompt_config::profile::TierMultipliers;
    use systemprompt_model::{Ambient, Entropy as _, SeededEntropy};

    use super::*;

    #[test]
    fn rates_scale_with_the_tier_and_never_fall_below_one() {
        let limits = RateLimits {
            gateway_per_second: 3,
            tier_multipliers: TierMultipliers { user: 0.5, anon: 0.01, mcp: 0.0, ..TierMultipliers::default() },
            ..RateLimits::default()
        };
        let rates = Rates::new(&limits);
        let of = |tier| rates.of(RateGroup::Gateway, tier).map(|rate| (rate.per_second, rate.capacity));
        assert_eq!(of(UserType::Admin), Some((30, 90)));
        assert_eq!(of(UserType::User), Some((2, 6)), "1.5 is rounded");
        assert_eq!(of(UserType::Anon), Some((1, 3)));
        assert_eq!(of(UserType::Mcp), None);
        let guard = Rates::new(&RateLimits::default()).guard;
        assert_eq!((guard.per_second, guard.capacity), (1000, 3000), "administrators at the gateway");
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let rate = Rate::new(100, 3);
        let mut full_at = 0;
        let mut now = 1_000 * SECOND;
        let taken = (0..1000).filter(|_| rate.take(&mut full_at, now).is_ok()).count();
        assert_eq!(taken, 300);
        let empty = rate.take(&mut full_at, now).expect_err("it is empty");
        assert_eq!(empty, Empty { wait: SECOND / 100, fill: 3 * SECOND });
        now += empty.wait;
        assert_eq!(rate.take(&mut full_at, now), Ok(()), "what was told holds");
        assert!(rate.take(&mut full_at, now).is_err());
        now += SECOND;
        assert_eq!((0..1000).filter(|_| rate.take(&mut full_at, now).is_ok()).count(), 100);
        now += 10 * SECOND;
        assert_eq!((0..1000).filter(|_| rate.take(&mut full_at, now).is_ok()).count(), 300);
    }

    /// Whatever comes when: in no stretch of time are more admitted than a full bucket and the refill of that stretch, and a
    /// refused request is admitted exactly when it was told.
    #[test]
    fn no_stretch_of_time_admits_more_than_it_should() {
        let entropy = SeededEntropy::new(7);
        let random = |below: u64| {
            let mut bytes = [0; 8];
            entropy.fill(&mut bytes);
            u64::from_le_bytes(bytes) % below
        };
        for _ in 0..50 {
            let rate = Rate::new(1 + random(500), 1 + random(5));
            let (mut full_at, mut now) = (0, SECOND);
            let mut admitted = Vec::new();
            for _ in 0..2000 {
                now += random(4 * rate.interval.cast_unsigned() / 3 + 1).cast_signed();
                match rate.take(&mut full_at, now) {
                    Ok(()) => admitted.push(now),
                    Err(empty) => {
                        let mut copy = full_at;
                        assert!(rate.take(&mut copy, now + empty.wait - 1).is_err());
                        assert!(rate.take(&mut copy, now + empty.wait).is_ok());
                    }
                }
            }
            for (first, begin) in admitted.iter().enumerate().step_by(37) {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let refilled = (end - begin) / rate.interval;
                    assert!((last - first) as i64 <= rate.capacity as i64 + refilled, "{rate:?}");
                }
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let rate = Rate::new(10, 3);
        let mut full_at = 0;
        assert_eq!(rate.take(&mut full_at, 3600 * SECOND), Ok(()));
        let empty = rate.take(&mut full_at, SECOND).expect_err("for a moment");
        assert_eq!(empty.wait, SECOND / 10);
    }

    #[test]
    fn numbers_nobody_needs_do_no_harm() {
        for (base, multiplier, burst) in [(u64::MAX, 10.0, u64::MAX), (1, 1e-300, 1), (1, f64::MAX, 3)] {
            let rate = Rate::scaled(base, multiplier, burst).expect("is not blocked");
            let mut full_at = 0;
            let now = Ambient::system().now().timestamp_nanos_opt().expect("before 2262");
            assert_eq!(rate.take(&mut full_at, now), Ok(()), "{rate:?}");
            assert!(rate.interval > 0 && rate.depth > 0 && rate.capacity > 0, "{rate:?}");
        }
        assert_eq!(Rate::scaled(5, f64::NAN, 3), None);
    }
}
