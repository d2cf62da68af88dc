//! The numbers of the limits.

use std::time::Duration;

use systemprompt_config::profile::{RateGroup, RateLimits};
use systemprompt_database::lease::{Exhausted, Refilling, Unit};
use systemprompt_extension::RateLimited;
use systemprompt_model::UserType;

/// Every rate of a profile.
#[derive(Debug)]
pub(super) struct Rates {
    by_group: [[Option<Refilling>; UserType::ALL.len()]; RateGroup::ALL.len()],
    /// What an address may send before it is known who sends it.
    pub(super) guard: Refilling,
}

impl Rates {
    pub(super) fn new(limits: &RateLimits) -> Self {
        let burst = limits.burst_multiplier.max(1);
        let mut by_group = [[None; UserType::ALL.len()]; RateGroup::ALL.len()];
        let mut highest = 1;
        for group in RateGroup::ALL {
            for tier in UserType::ALL {
                let per_second = limits.effective(group, tier);
                if let Some(per_second) = per_second.filter(|_| group.is_served()) {
                    highest = highest.max(per_second);
                }
                by_group[group as usize][tier as usize] = per_second.map(|rate| bucket(rate, burst));
            }
        }
        Self { by_group, guard: bucket(highest, burst) }
    }

    /// The rate of a kind of caller; `None` if it is blocked.
    pub(super) fn of(&self, group: RateGroup, tier: UserType) -> Option<&Refilling> {
        self.by_group[group as usize][tier as usize].as_ref()
    }

    /// All of them.
    pub(super) fn all(&self) -> impl Iterator<Item = &Refilling> {
        self.by_group.iter().flatten().flatten().chain([&self.guard])
    }
}

/// A bucket of so many requests a second.
fn bucket(per_second: u64, burst: u64) -> Refilling {
    Refilling::new(per_second.saturating_mul(burst), Unit::Requests, per_second)
}

/// The refusal of a caller whose bucket is empty.
pub(super) fn refusal(tier: UserType, rate: &Refilling, exhausted: Exhausted) -> RateLimited {
    let Exhausted { retry_after, reset } = exhausted;
    RateLimited { tier, limit: rate.capacity(), retry_after, reset }
}

/// The refusal of a kind of caller that is blocked. There is no moment at which it would not be, so
/// none is told.
pub(super) fn blocked(tier: UserType) -> RateLimited {
    let hour = Duration::from_hours(1);
    RateLimited { tier, limit: 0, retry_after: hour, reset: hour }
}

#[cfg(test)]
mod tests {
    use systemprompt_config::profile::TierMultipliers;

    use super::*;

    #[test]
    fn rates_scale_with_the_tier_and_never_fall_below_one() {
        let limits = RateLimits {
            gateway_per_second: 3,
            tier_multipliers: TierMultipliers { user: 0.5, anon: 0.01, mcp: 0.0, ..TierMultipliers::default() },
            ..RateLimits::default()
        };
        let rates = Rates::new(&limits);
        let of = |tier| rates.of(RateGroup::Gateway, tier).copied();
        assert_eq!(of(UserType::Admin), Some(bucket(30, 3)));
        assert_eq!(of(UserType::User), Some(bucket(2, 3)), "1.5 is rounded");
        assert_eq!(of(UserType::Anon), Some(bucket(1, 3)));
        assert_eq!(of(UserType::Mcp), None);
        let guard = Rates::new(&RateLimits::default()).guard;
        assert_eq!(guard, bucket(1000, 3), "administrators at the gateway");
        assert_eq!((guard.capacity(), guard.fills_in()), (3000, Duration::from_secs(3)));
    }

    #[test]
    fn numbers_nobody_needs_do_no_harm() {
        for (base, multiplier, burst) in [(u64::MAX, 10.0, u64::MAX), (1, 1e-300, 1), (1, f64::MAX, 3)] {
            let rate = bucket(RateLimits::scaled(base, multiplier).expect("is not blocked"), burst);
            assert!(rate.capacity() > 0 && rate.fills_in() > Duration::ZERO, "{rate:?}");
        }
        assert_eq!(RateLimits::scaled(5, f64::NAN), None);
    }
}
