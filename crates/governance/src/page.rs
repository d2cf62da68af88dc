//! Lists, page by page. Ids contain their time, so lists are read along the primary key, newest first, and a page begins
//! where the last one ended.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::ledger::text::first_id_at;

/// How far the time in an id and the time in the row may lie apart: clients may take a while to send a request.
const ID_SLACK: TimeDelta = TimeDelta::minutes(10);

/// A page of a list.
#[derive(Debug, Clone, Serialize)]
pub struct Page<T, C> {
    /// The rows, newest first.
    pub items: Vec<T>,
    /// `before` of the next page; absent on the last one.
    pub next: Option<C>,
}

/// The ids that may belong to this stretch of time and come before a cursor; the end is exclusive.
pub fn id_range(since: Option<DateTime<Utc>>, until: Option<DateTime<Utc>>, before: Option<Uuid>) -> (Uuid, Uuid) {
    let from = since.map_or(Uuid::nil(), |since| first_id_at(since - ID_SLACK));
    let to = until.map_or(Uuid::max(), |until| first_id_at(until + ID_SLACK));
    (from, before.map_or(to, |before| before.min(to)))
}

impl<T, C> Page<T, C> {
    /// The page of at most `limit` rows, of which one more was read to see whether there are more.
    pub fn cut(mut items: Vec<T>, limit: u32, cursor: impl Fn(&T) -> C) -> Self {
        let more = items.len() > limit as usize;
        items.truncate(limit as usize);
        let next = items.last().filter(|_| more).map(cursor);
        Self { items, next }
    }
}

/// The ids that begin with this text.
pub fn prefix_range(text: &str) -> Option<(Uuid, Uuid)> {
    let digits: String = text.trim().chars().filter(|c| *c != '-').collect();
    if digits.is_empty() || digits.len() > 32 || !digits.chars().all(|c| c.is_ascii_hexdigit()) {
        return None;
    }
    let bound = |fill: &str| Uuid::try_parse(&format!("{digits}{}", fill.repeat(32 - digits.len()))).ok();
    Some((bound("0")?, bound("f")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_is_a_range() {
        let (from, to) = prefix_range("0198-aB").expect("hexadecimal");
        assert_eq!(from.to_string(), "0198ab00-0000-0000-0000-000000000000");
        assert_eq!(to.to_string(), "0198abff-ffff-ffff-ffff-ffffffffffff");
        for bad in ["", "xyz", "0198ab00-0000-0000-0000-0000000000000"] {
            assert_eq!(prefix_range(bad), None, "{bad}");
        }
    }
}
