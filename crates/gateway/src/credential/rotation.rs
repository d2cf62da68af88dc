//! Whose turn it is among several credentials.

use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};

use chrono::{DateTime, TimeDelta, Utc};

/// The turn of one of several. It stays where it is, because what providers remember of a prompt belongs to a credential,
/// until that one has to rest.
#[derive(Debug)]
pub(super) struct Rotation {
    current: AtomicUsize,
    /// Until when each rests, in milliseconds since 1970.
    rests: Vec<AtomicI64>,
}

impl Rotation {
    /// Among so many.
    pub(super) fn of(number: usize) -> Self {
        Self { current: AtomicUsize::new(0), rests: (0..number).map(|_| AtomicI64::new(0)).collect() }
    }

    /// Whose turn it is; the one that rests shortest, if all do. Nothing of none.
    pub(super) fn turn(&self, now: DateTime<Utc>) -> Option<usize> {
        let (number, current) = (self.rests.len(), self.current.load(Relaxed));
        let awake = (0..number).map(|step| (current + step) % number).find(|one| self.is_awake(*one, now));
        let turn = awake.or_else(|| (0..number).min_by_key(|one| self.rests[*one].load(Relaxed)))?;
        self.current.store(turn, Relaxed);
        Some(turn)
    }

    /// Lets one rest for so long. It rests no shorter than it does already.
    pub(super) fn rest(&self, one: usize, now: DateTime<Utc>, long: TimeDelta) {
        if let Some(rest) = self.rests.get(one) {
            rest.fetch_max((now + long).timestamp_millis(), Relaxed);
        }
    }

    /// Whether one could take the turn.
    pub(super) fn any_awake(&self, now: DateTime<Utc>) -> bool {
        (0..self.rests.len()).any(|one| self.is_awake(one, now))
    }

    fn is_awake(&self, one: usize, now: DateTime<Utc>) -> bool {
        self.rests[one].load(Relaxed) <= now.timestamp_millis()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_turn_stays_until_its_holder_rests() {
        let start = DateTime::<Utc>::UNIX_EPOCH + TimeDelta::days(20_000);
        let at = |seconds| start + TimeDelta::seconds(seconds);
        let rotation = Rotation::of(3);
        assert_eq!([0, 1, 2].map(|second| rotation.turn(at(second))), [Some(0); 3]);
        rotation.rest(0, at(3), TimeDelta::seconds(10));
        assert_eq!(rotation.turn(at(3)), Some(1));
        assert_eq!(rotation.turn(at(20)), Some(1), "it does not go back by itself");
        rotation.rest(1, at(20), TimeDelta::seconds(30));
        rotation.rest(1, at(20), TimeDelta::seconds(1));
        assert_eq!(rotation.turn(at(25)), Some(2));
        rotation.rest(2, at(25), TimeDelta::seconds(1));
        assert_eq!(rotation.turn(at(25)), Some(0), "its rest is over");
        rotation.rest(0, at(25), TimeDelta::seconds(60));
        assert!(!rotation.any_awake(at(25)));
        assert_eq!(rotation.turn(at(25)), Some(2), "the one that rests shortest");
        assert!(rotation.any_awake(at(26)));
        assert_eq!(Rotation::of(0).turn(start), None);
    }
}
