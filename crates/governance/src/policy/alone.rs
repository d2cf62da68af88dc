//! Counting without the database, for one server alone: while nobody can be asked what others granted.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use uuid::Uuid;

/// Most keys that are counted; with more, those whose window is over go.
const KEYS: usize = 10_000;

/// How long nobody is asked after nobody could be: who asks in vain waits for seconds.
const IN_CHARGE_FOR: Duration = Duration::from_secs(10);

/// Requests in windows of a fixed length that begin with the first of them.
#[derive(Debug, Default)]
pub(super) struct Alone {
    counts: Mutex<HashMap<(&'static str, Uuid), Window>>,
    /// When nobody could be asked last.
    since: Mutex<Option<Instant>>,
}

#[derive(Debug)]
struct Window {
    began: Instant,
    taken: u32,
}

impl Alone {
    /// Nobody could be asked.
    pub(super) fn takes_charge(&self) {
        *self.since.lock().expect("no panic while the lock is held") = Some(Instant::now());
    }

    /// Whether that was a moment ago.
    pub(super) fn is_in_charge(&self) -> bool {
        let since = *self.since.lock().expect("no panic while the lock is held");
        since.is_some_and(|since| since.elapsed() < IN_CHARGE_FOR)
    }

    /// Takes one of each of these limits, or none and says how long to wait.
    pub(super) fn take(&self, limits: &[(&'static str, Uuid, u32)], window: Duration) -> Result<(), Duration> {
        let mut counts = self.counts();
        let now = Instant::now();
        if counts.len() >= KEYS {
            counts.retain(|_, known| now.duration_since(known.began) < window);
        }
        for (name, whose, limit) in limits {
            let known = counts.get(&(*name, *whose)).filter(|known| now.duration_since(known.began) < window);
            match known {
                Some(known) if known.taken >= *limit => {
                    return Err(window.saturating_sub(now.duration_since(known.began)));
                }
                None if counts.len() >= KEYS => return Err(window),
                Some(_) | None => {}
            }
        }
        for (name, whose, _) in limits {
            let known = counts.entry((*name, *whose)).or_insert(Window { began: now, taken: 0 });
            if now.duration_since(known.began) >= window {
                *known = Window { began: now, taken: 0 };
            }
            known.taken += 1;
        }
        Ok(())
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<(&'static str, Uuid), Window>> {
        self.counts.lock().expect("no panic while the lock is held")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_all_limits_one_is_taken_or_none() {
        let alone = Alone::default();
        let window = Duration::from_hours(1);
        let (first, second) = (Uuid::from_u128(1), Uuid::from_u128(2));
        let take = |session| alone.take(&[("session", session, 2), ("user", first, 3)], window);
        assert_eq!([take(first), take(first)], [Ok(()), Ok(())]);
        assert!(take(first).is_err_and(|wait| wait <= window), "the session has two");
        assert!(take(second).is_ok());
        assert!(take(second).is_err(), "the user has three");
        assert!(alone.take(&[("session", second, 2)], window).is_ok(), "what was refused took nothing");
        assert!(alone.take(&[("user", first, 3)], Duration::ZERO).is_ok(), "another window");
    }
}
