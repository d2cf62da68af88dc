//! What this server wrote last, kept until it is applied, so that its projector need not read it back.
//!
//! Nothing depends on what is kept here: whatever is missing, or was written by others, is read from the log.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard};

use uuid::Uuid;

use super::read::LoggedEntry;

/// Most bytes of entries that are kept. A projector that is further behind reads the log.
const LIMIT: usize = 16 * 1024 * 1024;

/// The newest entries of one chain, without a gap.
#[derive(Debug)]
pub(super) struct Recent {
    chain: Uuid,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    entries: VecDeque<LoggedEntry>,
    bytes: usize,
}

impl Recent {
    /// Nothing yet of this chain.
    pub(super) fn of(chain: Uuid) -> Self {
        Self { chain, kept: Mutex::default() }
    }

    /// The chain they are of.
    pub(super) fn chain(&self) -> Uuid {
        self.chain
    }

    /// Keeps entries that are committed.
    pub(super) fn keep(&self, entries: impl Iterator<Item = LoggedEntry>) {
        let mut kept = self.kept();
        for entry in entries {
            let follows = kept.entries.back().is_none_or(|last| last.seq + 1 == entry.seq);
            if !follows || kept.bytes + entry.body.len() > LIMIT {
                *kept = Kept::default();
            }
            kept.bytes += entry.body.len();
            kept.entries.push_back(entry);
        }
    }

    /// Keeps nothing of what was written: after a database was away, its log may end earlier than it did.
    pub(super) fn forget(&self) {
        *self.kept() = Kept::default();
    }

    /// The entries behind the place `after`, at most `limit`, if all of them up to `at_least` are here. They are here no
    /// more afterwards, nor is what lies before them.
    pub(super) fn take(&self, after: i64, at_least: i64, limit: usize) -> Option<Vec<LoggedEntry>> {
        let mut kept = self.kept();
        while kept.entries.front().is_some_and(|entry| entry.seq <= after) {
            kept.pop();
        }
        let begins = kept.entries.front().is_some_and(|entry| entry.seq == after + 1);
        let ends = kept.entries.back().is_some_and(|entry| entry.seq >= at_least);
        if !begins || !ends {
            return None;
        }
        Some((0..limit).map_while(|_| kept.pop()).collect())
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no panic while the lock is held")
    }
}

impl Kept {
    fn pop(&mut self) -> Option<LoggedEntry> {
        let entry = self.entries.pop_front()?;
        self.bytes -= entry.body.len();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn entries(seqs: std::ops::RangeInclusive<i64>) -> impl Iterator<Item = LoggedEntry> {
        seqs.map(|seq| LoggedEntry {
            chain: Uuid::nil(),
            seq,
            at: DateTime::UNIX_EPOCH,
            kind: "ended".to_owned(),
            action: Uuid::nil(),
            body: "x".repeat(1024),
        })
    }

    fn taken(recent: &Recent, after: i64, at_least: i64, limit: usize) -> Option<Vec<i64>> {
        Some(recent.take(after, at_least, limit)?.iter().map(|entry| entry.seq).collect())
    }

    #[test]
    fn entries_are_given_once_and_only_without_a_gap() {
        let recent = Recent::of(Uuid::nil());
        assert_eq!(taken(&recent, 0, 1, 10), None);
        recent.keep(entries(5..=9));
        assert_eq!(taken(&recent, 3, 9, 10), None, "the fourth is not here");
        assert_eq!(taken(&recent, 4, 10, 10), None, "nor is the tenth");
        assert_eq!(taken(&recent, 4, 9, 2), Some(vec![5, 6]));
        assert_eq!(taken(&recent, 4, 9, 2), None, "they were given");
        assert_eq!(taken(&recent, 7, 8, 10), Some(vec![8, 9]), "the seventh was read elsewhere, and more is here");
        recent.keep(entries(12..=13));
        assert_eq!(taken(&recent, 9, 13, 10), None, "somebody else wrote the tenth and eleventh");
        assert_eq!(taken(&recent, 11, 13, 10), Some(vec![12, 13]));
        assert_eq!(recent.kept().bytes, 0);
        recent.keep(entries(14..=15));
        recent.forget();
        assert_eq!(taken(&recent, 13, 15, 10), None);
    }

    #[test]
    fn no_more_is_kept_than_the_limit() {
        let recent = Recent::of(Uuid::nil());
        recent.keep(entries(1..=40_000));
        assert!(recent.kept().bytes <= LIMIT);
        assert_eq!(taken(&recent, 0, 40_000, 10), None);
        assert_eq!(taken(&recent, 39_999, 40_000, 10), Some(vec![40_000]));
    }
}
