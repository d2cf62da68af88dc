//! Units that are held for a call until it is known what it used.

use std::sync::Arc;

use uuid::Uuid;

use super::account::Account;
use super::engine::Engine;
use super::limit::{LeaseKey, Limit, units};
use super::owed::Owed;

/// Units held for one call. [`settle`](Self::settle) it when it is known how many were used; dropped, all of them are given
/// back, as if the call had never been.
#[must_use = "dropped, it is given back"]
#[derive(Debug)]
pub struct Reservation(Option<Held>);

#[derive(Debug)]
pub(super) struct Held {
    pub(super) engine: Arc<Engine>,
    pub(super) account: Arc<Account>,
    pub(super) key: LeaseKey,
    pub(super) limit: Limit,
    pub(super) period: i64,
    pub(super) amount: i64,
    pub(super) call: Option<Uuid>,
}

impl Reservation {
    pub(super) fn of(held: Held) -> Self {
        Self(Some(held))
    }

    /// For a call that was granted its units before: whoever holds those settles them.
    pub(super) fn repeated() -> Self {
        Self(None)
    }

    /// Whether the call had been granted its units before, so that this one holds none.
    pub fn is_repeated(&self) -> bool {
        self.0.is_none()
    }

    /// Books what the call really used: gives back what is left of the reservation, or counts what was used beyond it.
    /// A refilling limit counts beyond it only what this replica has at hand; it is for calls that are known to use one unit.
    pub fn settle(mut self, used: u64) {
        if let Some(held) = self.0.take() {
            held.settle(units(used));
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if let Some(held) = self.0.take() {
            if let Some(call) = held.call {
                held.account.forget(call);
            }
            held.settle(0);
        }
    }
}

impl Held {
    fn settle(self, used: i64) {
        let now = self.engine.clock();
        let surplus = self.amount - used;
        if surplus > 0 {
            if !self.account.take_back(surplus, self.period, now, &self.limit)
                && let Limit::Sliding(limit) = &self.limit
            {
                self.engine.debts.add(&self.key, Owed::new(-surplus, self.period, limit));
            }
        } else if surplus < 0 {
            let excess = self.account.take_excess(-surplus, now, &self.limit);
            if excess > 0
                && let Limit::Sliding(limit) = &self.limit
            {
                self.engine.debts.add(&self.key, Owed::new(excess, limit.slot_of(now), limit));
            }
        }
    }
}
