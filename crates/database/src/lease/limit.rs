//! How much may be used in which time, of what, and by whom. Times are nanoseconds since 1970, no I/O.

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use systemprompt_model::Ambient;
use uuid::Uuid;

use super::error::Exhausted;

pub(super) const SECOND: i64 = 1_000_000_000;
/// Parts a window is cut into.
const SLOTS: i64 = 10;
/// A lease of a sliding limit that nobody takes from is given back after this time.
const LONGEST_IDLE: i64 = 10 * SECOND;
/// A lease of a refilling limit is good for this long.
const LEASE: i64 = SECOND;
/// A limit that was found exhausted is believed to be for at most this long.
const MEMO: i64 = SECOND;
/// No window is longer than this, and no bucket takes longer to fill: a hundred years.
const LONGEST: i64 = 100 * 366 * 86_400 * SECOND;
/// Windows from this length on are counted durably: what they hold must outlive a crash of PostgreSQL.
const LASTING: i64 = 3600 * SECOND;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unit {
    /// Requests of any kind.
    Requests,
    /// Tokens a model reads or writes.
    Tokens,
    /// Millionths of a US dollar.
    Microdollars,
    /// Sessions that are begun.
    Sessions,
}

impl Unit {
    /// The name used in the table and in messages.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Tokens => "tokens",
            Self::Microdollars => "microdollars",
            Self::Sessions => "sessions",
        }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whose use is counted together, for which limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LeaseKey {
    /// What is limited, e.g. `rate_limit.session`. Begins with the name of the feature that limits it.
    pub name: Cow<'static, str>,
    /// Whose use it is.
    pub subject: Uuid,
    /// A part of what the subject does, e.g. one session of a user; the nil UUID stands for all of it.
    pub part: Uuid,
}

impl LeaseKey {
    /// All that `subject` does under the limit called `name`.
    pub fn new(name: impl Into<Cow<'static, str>>, subject: Uuid) -> Self {
        Self { name: name.into(), subject, part: Uuid::nil() }
    }

    /// A part of it, which is counted for itself.
    #[must_use]
    pub fn part(self, part: Uuid) -> Self {
        Self { part, ..self }
    }
}

/// How much may be used in which time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Never more than an amount in any window.
    Sliding(Sliding),
    /// An amount at once, which comes back steadily.
    Refilling(Refilling),
}

impl From<Sliding> for Limit {
    fn from(limit: Sliding) -> Self {
        Self::Sliding(limit)
    }
}

impl From<Refilling> for Limit {
    fn from(limit: Refilling) -> Self {
        Self::Refilling(limit)
    }
}

impl Limit {
    pub(super) fn unit(&self) -> Unit {
        match self {
            Self::Sliding(limit) => limit.unit,
            Self::Refilling(limit) => limit.unit,
        }
    }

    /// The most that can be had at once.
    pub(super) fn amount(&self) -> i64 {
        match self {
            Self::Sliding(limit) => limit.amount,
            Self::Refilling(limit) => limit.capacity,
        }
    }

    /// The most that is leased at once, unless a single claim is larger.
    pub(super) fn largest_lease(&self) -> i64 {
        match self {
            Self::Sliding(limit) => limit.amount / 10,
            // A tenth of a second's worth of an ordinary rate, which allows three seconds' worth at once.
            Self::Refilling(limit) => (limit.capacity / 30).min(1_000_000),
        }
        .max(1)
    }

    /// The period a lease taken now belongs to.
    pub(super) fn period(&self, now: i64) -> i64 {
        match self {
            Self::Sliding(limit) => limit.slot_of(now),
            Self::Refilling(_) => now,
        }
    }

    /// Whether units leased in this period may be handed out now.
    pub(super) fn is_good(&self, period: i64, now: i64) -> bool {
        match self {
            Self::Sliding(limit) => limit.slot_of(now) == period,
            Self::Refilling(_) => (period..period.saturating_add(LEASE)).contains(&now),
        }
    }

    /// How long a lease may lie unused.
    pub(super) fn idle(&self) -> i64 {
        match self {
            Self::Sliding(limit) => limit.slot.min(LONGEST_IDLE),
            Self::Refilling(_) => LEASE,
        }
    }

    /// How long a limit that is exhausted need not be asked about again, though units might be given back to it.
    pub(super) fn memo(&self) -> i64 {
        match self {
            Self::Sliding(limit) => limit.slot.min(MEMO),
            Self::Refilling(_) => i64::MAX,
        }
    }

    /// The answer to a claim of more than there ever is.
    pub(super) fn never(&self) -> Exhausted {
        let window = match self {
            Self::Sliding(limit) => limit.window,
            Self::Refilling(limit) => limit.depth.max(SECOND),
        };
        Exhausted { retry_after: nanos(window), reset: nanos(window) }
    }
}

/// Within any window at most an amount.
///
/// Time is cut into *slots* of a tenth of the window, the same on every replica. A unit given out in a slot counts until the
/// **end** of that slot is a whole window in the past, so any window is covered entirely by what is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sliding {
    pub(super) amount: i64,
    pub(super) unit: Unit,
    pub(super) window: i64,
    pub(super) slot: i64,
}

impl Sliding {
    /// At most `amount` of `unit` in any `window`.
    pub fn new(amount: u64, unit: Unit, window: Duration) -> Self {
        let window = i64::try_from(window.as_nanos()).unwrap_or(LONGEST).clamp(SECOND / 100, LONGEST);
        Self { amount: units(amount), unit, window, slot: window / SLOTS }
    }

    /// The start of the slot `now` is in.
    pub(super) fn slot_of(&self, now: i64) -> i64 {
        now.div_euclid(self.slot) * self.slot
    }

    /// Slots that begin at or before this no longer count at `now`.
    pub(super) fn over_before(&self, now: i64) -> i64 {
        now - self.window - self.slot
    }

    /// When what is given out in this slot no longer counts.
    pub(super) fn ends_counting(&self, slot: i64) -> i64 {
        slot.saturating_add(self.slot).saturating_add(self.window)
    }

    /// Whether the counts must outlive a crash.
    pub(super) fn is_lasting(&self) -> bool {
        self.window >= LASTING
    }

    /// When so many units can be had, of what has used so much in these slots; and when all of them can.
    pub(super) fn free_at(&self, needed: i64, slots: &[i64], used: &[i64], now: i64) -> (i64, i64) {
        // If nothing counts and still nothing was granted, another replica has a smaller limit. Ask again in the next slot.
        let reset = slots.last().map_or(self.slot_of(now) + self.slot, |&slot| self.ends_counting(slot));
        let mut sum: i64 = used.iter().sum();
        for (&slot, &used) in slots.iter().zip(used) {
            sum -= used;
            if sum + needed <= self.amount {
                return (self.ends_counting(slot), reset);
            }
        }
        (reset, reset)
    }
}

/// An amount at once, which comes back steadily: a bucket that holds `capacity` and fills at a rate.
///
/// A bucket is one number: the time when it will be full. A request moves that time into the future by what it takes to
/// replace its units, and is refused if the bucket would then lack more than it holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refilling {
    pub(super) unit: Unit,
    pub(super) capacity: i64,
    /// Nanoseconds until a unit is replaced.
    pub(super) interval: i64,
    /// Nanoseconds until an empty bucket is full.
    pub(super) depth: i64,
}

impl Refilling {
    /// A bucket that holds `capacity` of `unit` and gets `per_second` back; either is at least one.
    pub fn new(capacity: u64, unit: Unit, per_second: u64) -> Self {
        let interval = SECOND / units(per_second).clamp(1, SECOND);
        let capacity = units(capacity).clamp(1, LONGEST / interval);
        Self { unit, capacity, interval, depth: interval * capacity }
    }

    /// How much it holds.
    pub fn capacity(&self) -> u64 {
        self.capacity.unsigned_abs()
    }

    /// How long an empty bucket takes to fill.
    pub fn fills_in(&self) -> Duration {
        nanos(self.depth)
    }

    /// Takes one unit out of a bucket.
    pub(super) fn take(&self, full_at: &mut i64, now: i64) -> Result<(), Exhausted> {
        let missing = self.missing(*full_at, now);
        if missing + self.interval > self.depth {
            return Err(self.exhausted(1, missing));
        }
        *full_at = now + missing + self.interval;
        Ok(())
    }

    /// The answer when so many units are needed of a bucket that is full in `missing` nanoseconds.
    pub(super) fn exhausted(&self, needed: i64, missing: i64) -> Exhausted {
        let wait = missing + needed * self.interval - self.depth;
        Exhausted { retry_after: nanos(wait.max(1)), reset: nanos(missing) }
    }

    /// Nanoseconds until a bucket is full. Never more than an empty one takes: a clock that was set back must not lock
    /// anybody out for as long as it was wrong.
    pub(super) fn missing(&self, full_at: i64, now: i64) -> i64 {
        full_at.saturating_sub(now).clamp(0, self.depth)
    }
}

pub(super) fn nanos(nanos: i64) -> Duration {
    Duration::from_nanos(nanos.max(0).unsigned_abs())
}

/// Now, in nanoseconds since 1970.
pub(super) fn clock(ambient: &Ambient) -> i64 {
    ambient.now().timestamp_nanos_opt().unwrap_or(i64::MAX)
}

pub(super) fn units(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use systemprompt_model::{Ambient, Entropy as _, SeededEntropy};

    use super::*;

    fn per_second(rate: u64, seconds: u64) -> Refilling {
        Refilling::new(rate.saturating_mul(seconds), Unit::Requests, rate)
    }

    #[test]
    fn a_burst_and_then_the_rate() {
        let limit = per_second(100, 3);
        let mut full_at = 0;
        let mut now = 1_000 * SECOND;
        let taken = (0..1000).filter(|_| limit.take(&mut full_at, now).is_ok()).count();
        assert_eq!(taken, 300);
        let empty = limit.take(&mut full_at, now).expect_err("it is empty");
        assert_eq!(empty, Exhausted { retry_after: Duration::from_millis(10), reset: Duration::from_secs(3) });
        now += SECOND / 100;
        assert_eq!(limit.take(&mut full_at, now), Ok(()), "what was told holds");
        assert!(limit.take(&mut full_at, now).is_err());
        now += SECOND;
        assert_eq!((0..1000).filter(|_| limit.take(&mut full_at, now).is_ok()).count(), 100);
        now += 10 * SECOND;
        assert_eq!((0..1000).filter(|_| limit.take(&mut full_at, now).is_ok()).count(), 300);
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
            let limit = per_second(1 + random(500), 1 + random(5));
            let (mut full_at, mut now) = (0, SECOND);
            let mut admitted = Vec::new();
            for _ in 0..2000 {
                now += random(4 * limit.interval.unsigned_abs() / 3 + 1).cast_signed();
                match limit.take(&mut full_at, now) {
                    Ok(()) => admitted.push(now),
                    Err(empty) => {
                        let wait = i64::try_from(empty.retry_after.as_nanos()).expect("fits");
                        let mut copy = full_at;
                        assert!(limit.take(&mut copy, now + wait - 1).is_err());
                        assert!(limit.take(&mut copy, now + wait).is_ok());
                    }
                }
            }
            for (first, begin) in admitted.iter().enumerate().step_by(37) {
                for (last, end) in admitted.iter().enumerate().skip(first) {
                    let refilled = (end - begin) / limit.interval;
                    assert!((last - first) as i64 <= limit.capacity + refilled, "{limit:?}");
                }
            }
        }
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let limit = per_second(10, 3);
        let mut full_at = 0;
        assert_eq!(limit.take(&mut full_at, 3600 * SECOND), Ok(()));
        let empty = limit.take(&mut full_at, SECOND).expect_err("for a moment");
        assert_eq!(empty.retry_after, Duration::from_millis(100));
    }

    #[test]
    fn numbers_nobody_needs_do_no_harm() {
        let now = Ambient::system().now().timestamp_nanos_opt().expect("before 2262");
        for (capacity, rate) in [(u64::MAX, u64::MAX), (0, 0), (u64::MAX, 1), (1, u64::MAX)] {
            let limit = Refilling::new(capacity, Unit::Requests, rate);
            let mut full_at = 0;
            assert_eq!(limit.take(&mut full_at, now), Ok(()), "{limit:?}");
            assert!(limit.interval > 0 && limit.depth > 0 && limit.capacity > 0, "{limit:?}");
        }
        let limit = Sliding::new(u64::MAX, Unit::Tokens, Duration::MAX);
        assert!(limit.over_before(now) < limit.slot_of(now) && limit.slot_of(now) <= now, "{limit:?}");
        assert!(Sliding::new(0, Unit::Tokens, Duration::ZERO).slot > 0);
    }
}
