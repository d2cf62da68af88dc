//! Which servers were not heard of, by a clock that nobody sets.
//!
//! Whether a server lives is told by the database's clock. When that jumps forward by two minutes, everybody looks dead. So a
//! server is dead only if it is silent by that clock and has said nothing while we listened ourselves.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Two signs of life, which come every ten seconds, would have been heard in this time.
const LISTENED_FOR: Duration = Duration::from_secs(20);

/// The last signs of life of servers that are silent by the database's clock, and since when there was no other.
#[derive(Debug, Default)]
pub(super) struct Silences(Mutex<HashMap<Uuid, (DateTime<Utc>, Instant)>>);

impl Silences {
    /// Whether nothing was heard of a server since it was looked at first, which may be now.
    pub(super) fn is_dead(&self, chain: Uuid, heard_at: DateTime<Utc>, now: Instant) -> bool {
        let mut silences = self.0.lock().expect("no panic while the lock is held");
        let (last, since) = silences.entry(chain).or_insert((heard_at, now));
        if *last != heard_at {
            (*last, *since) = (heard_at, now);
        }
        now.duration_since(*since) >= LISTENED_FOR
    }

    /// As if we had listened for so long.
    #[cfg(test)]
    pub(super) fn pass(&self, time: Duration) {
        for (_, since) in self.0.lock().expect("no panic while the lock is held").values_mut() {
            *since = since.checked_sub(time).expect("the machine runs for longer");
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn a_jump_of_the_database_clock_kills_nobody_who_speaks() {
        let silences = Silences::default();
        let (alive, dead) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let start = Instant::now();
        let mut heard = DateTime::UNIX_EPOCH;
        for seconds in [0, 10, 20, 30, 40] {
            heard += TimeDelta::seconds(10);
            let now = start + Duration::from_secs(seconds);
            assert!(!silences.is_dead(alive, heard, now), "after {seconds} s");
            assert_eq!(silences.is_dead(dead, DateTime::UNIX_EPOCH, now), seconds >= 20, "after {seconds} s");
        }
    }
}
