//! What this replica has to tell PostgreSQL about leases that are over. No I/O.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use super::limit::{LeaseKey, Sliding, Unit};

/// A correction of what counts in one slot of one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Owed {
    pub(super) unit: Unit,
    pub(super) slot: i64,
    /// Negative for what was leased and never used, positive for what was used beyond a claim.
    pub(super) units: i64,
    /// When it no longer counts.
    pub(super) expires_at: i64,
}

impl Owed {
    pub(super) fn new(units: i64, slot: i64, limit: &Sliding) -> Self {
        Self { unit: limit.unit, slot, units, expires_at: limit.ends_counting(slot) }
    }
}

/// What is owed to every key.
#[derive(Debug, Default)]
pub(super) struct Debts(Mutex<HashMap<LeaseKey, Vec<Owed>>>);

/// What is on its way to PostgreSQL. If nobody [hears](Self::arrived) that it arrived, what was used beyond a claim is owed
/// again, and what was never used is not: both may make a limit tighter, neither wider.
pub(super) struct Sending<'a> {
    debts: &'a Debts,
    pub(super) entries: Vec<(LeaseKey, Owed)>,
}

impl Debts {
    pub(super) fn add(&self, key: &LeaseKey, owed: Owed) {
        let mut debts = self.debts();
        if !debts.contains_key(key) {
            debts.insert(key.clone(), Vec::new());
        }
        let entries = debts.get_mut(key).expect("it was there or was put there");
        match entries.iter_mut().find(|entry| entry.slot == owed.slot && entry.unit == owed.unit) {
            Some(entry) => entry.units += owed.units,
            None => entries.push(owed),
        }
    }

    /// What is owed to one key.
    pub(super) fn of<'a>(&'a self, key: &LeaseKey, unit: Unit) -> Sending<'a> {
        let mut debts = self.debts();
        let entries = debts.get_mut(key).map(|entries| entries.extract_if(.., |owed| owed.unit == unit).collect());
        if debts.get(key).is_some_and(Vec::is_empty) {
            debts.remove(key);
        }
        drop(debts);
        let entries: Vec<Owed> = entries.unwrap_or_default();
        Sending { debts: self, entries: entries.into_iter().map(|owed| (key.clone(), owed)).collect() }
    }

    /// Everything that still counts.
    pub(super) fn all(&self, now: i64) -> Sending<'_> {
        let debts = std::mem::take(&mut *self.debts());
        let entries = debts
            .into_iter()
            .flat_map(|(key, owed)| owed.into_iter().map(move |owed| (key.clone(), owed)))
            .filter(|(_, owed)| owed.units != 0 && now < owed.expires_at)
            .collect();
        Sending { debts: self, entries }
    }

    fn debts(&self) -> MutexGuard<'_, HashMap<LeaseKey, Vec<Owed>>> {
        self.0.lock().expect("no panic while the lock is held")
    }
}

impl Sending<'_> {
    pub(super) fn arrived(mut self) {
        self.entries.clear();
    }
}

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        for (key, owed) in self.entries.drain(..).filter(|(_, owed)| owed.units > 0) {
            self.debts.add(&key, owed);
        }
    }
}
