use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use chrono::{DateTime, Utc};
use systemprompt_model::ApiKeyId;

/// New sessions that one key may begin in a minute of the clock, on each replica: more than programs that ask one question
/// per conversation need, and little for a table.
pub(crate) const LIMIT: u32 = 600;

/// Counts the sessions that keys begin, minute by minute.
#[derive(Default)]
pub(crate) struct Newcomers(Mutex<Minute>);

#[derive(Default)]
struct Minute {
    /// Since 1970.
    number: i64,
    begun: HashMap<ApiKeyId, u32>,
}

/// A session that may be begun, and counts unless it [leaves](Newcomers::leave).
#[must_use]
pub(crate) struct Place {
    key: ApiKeyId,
    minute: i64,
}

impl Newcomers {
    /// A place for one more session of `key`, if there is one.
    pub(crate) fn enter(&self, key: ApiKeyId, now: DateTime<Utc>) -> Option<Place> {
        let minute = now.timestamp().div_euclid(60);
        let mut current = self.lock();
        if current.number != minute {
            *current = Minute { number: minute, begun: HashMap::new() };
        }
        let begun = current.begun.entry(key).or_default();
        (*begun < LIMIT).then(|| {
            *begun += 1;
            Place { key, minute }
        })
    }

    /// Gives a place back: the session was there already.
    pub(crate) fn leave(&self, place: Place) {
        let mut current = self.lock();
        if current.number == place.minute
            && let Some(begun) = current.begun.get_mut(&place.key)
        {
            *begun = begun.saturating_sub(1);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Minute> {
        self.0.lock().expect("no panic while the lock is held")
    }
}
