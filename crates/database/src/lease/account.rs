//! What one replica knows of one key: its lease, what it was refused, and which calls it has answered. No I/O.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard};

use uuid::Uuid;

use super::error::Exhausted;
use super::limit::{Limit, nanos};

/// Calls that are remembered, so that one judged again counts once.
const REMEMBERED: usize = 256;

/// One key on one replica.
#[derive(Debug, Default)]
pub(super) struct Account {
    state: Mutex<State>,
    turn: tokio::sync::Mutex<()>,
    /// Units wanted by those who wait for their turn.
    waiting: AtomicI64,
}

#[derive(Debug, Default)]
struct State {
    /// The period the lease is good for.
    period: i64,
    /// Units left of it.
    left: i64,
    /// Units handed out in that period.
    spent: i64,
    /// Units asked for the last time.
    asked: i64,
    /// From when on what is left is given back, if nobody takes from it.
    idle_at: i64,
    shortage: Option<Shortage>,
    /// Granted calls, the latest last. As numbers, for each new one is compared with all of them.
    calls: VecDeque<u128>,
}

/// PostgreSQL had not enough.
#[derive(Debug, Clone, Copy)]
struct Shortage {
    /// Units that it did not have.
    needed: i64,
    /// When it was asked. A clock that steps back knows of nothing that is yet to come.
    asked_at: i64,
    /// Until when it need not be asked for as much again.
    ask_at: i64,
    /// When it will have as much, and everything.
    free_at: i64,
    reset_at: i64,
}

impl Shortage {
    fn answer(self, now: i64) -> Answer {
        Answer::Exhausted(Exhausted {
            retry_after: nanos((self.free_at - now).max(1)),
            reset: nanos(self.reset_at - now),
        })
    }
}

/// What is claimed of an account.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub(super) amount: i64,
    pub(super) call: Option<Uuid>,
    pub(super) limit: &'a Limit,
}

/// Whether a claim is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// It is, out of the lease of this period.
    Granted { period: i64 },
    /// It was granted before, and counts once.
    Repeated,
    /// Not enough is left.
    Exhausted(Exhausted),
}

/// What is asked of PostgreSQL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LeaseRequest {
    pub(super) now: i64,
    pub(super) period: i64,
    /// What must be had, or nothing.
    pub(super) needed: i64,
    /// What is welcome.
    pub(super) wanted: i64,
    /// Units of the lease at hand that are kept for whoever asks.
    pub(super) kept: i64,
    /// What is left of the lease of an earlier period.
    pub(super) unspent: Option<Unspent>,
}

/// What PostgreSQL gave, or when it will have something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lease {
    Granted(i64),
    Exhausted { free_at: i64, reset_at: i64 },
}

/// Units of a period that were leased and not handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unspent {
    pub(super) period: i64,
    pub(super) units: i64,
}

/// Counts a claim among those that wait, for as long as it lives.
pub(super) struct Turn<'a> {
    _guard: tokio::sync::MutexGuard<'a, ()>,
    _waiting: Waiting<'a>,
}

struct Waiting<'a> {
    units: &'a AtomicI64,
    mine: i64,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.units.fetch_sub(self.mine, Ordering::Relaxed);
    }
}

impl Account {
    /// Answers from memory, if that is possible.
    pub(super) fn take(&self, wanted: Wanted<'_>, now: i64) -> Option<Answer> {
        let mut state = self.state();
        if let Some(answer) = state.known(wanted, now) {
            return Some(answer);
        }
        let enough = state.left >= wanted.amount && wanted.limit.is_good(state.period, now);
        enough.then(|| state.hand_out(wanted, now))
    }

    /// Waits until this claim may ask PostgreSQL.
    pub(super) async fn wait_for_turn(&self, amount: i64) -> Turn<'_> {
        self.waiting.fetch_add(amount, Ordering::Relaxed);
        let waiting = Waiting { units: &self.waiting, mine: amount };
        Turn { _guard: self.turn.lock().await, _waiting: waiting }
    }

    /// What to ask for. What is at hand leaves the account here, so that nobody else takes it meanwhile.
    pub(super) fn begin_lease(&self, wanted: Wanted<'_>, now: i64) -> LeaseRequest {
        let limit = wanted.limit;
        let mut state = self.state();
        let is_good = limit.is_good(state.period, now);
        let left = std::mem::take(&mut state.left);
        let unspent = (left > 0 && !is_good).then_some(Unspent { period: state.period, units: left });
        let kept = if is_good { left } else { 0 };
        if is_good {
            state.asked = state.asked.saturating_mul(2);
        } else if let Limit::Sliding(sliding) = limit
            && state.period == sliding.slot_of(now) - sliding.slot
        {
            // Half of what the last slot needed.
            state.asked = state.spent / 2;
        } else {
            state.asked = 0;
        }
        if !is_good {
            state.spent = 0;
        }
        state.period = limit.period(now);
        state.asked = state.asked.max(self.waiting.load(Ordering::Relaxed)).clamp(1, limit.largest_lease());
        let needed = (wanted.amount - kept).max(1);
        LeaseRequest { now, period: state.period, needed, wanted: state.asked.max(needed), kept, unspent }
    }

    /// Takes in what PostgreSQL gave, and answers the claim that asked; not at all if the period has ended meanwhile.
    pub(super) fn end_lease(
        &self,
        wanted: Wanted<'_>,
        now: i64,
        request: &LeaseRequest,
        lease: Lease,
    ) -> Option<Answer> {
        let mut state = self.state();
        state.left += request.kept;
        match lease {
            Lease::Granted(units) => {
                state.shortage = None;
                state.left += units;
                state.idle_at = now.saturating_add(wanted.limit.idle());
                if let Limit::Refilling(_) = wanted.limit {
                    // It is good from when it is there, however long that took.
                    state.period = now;
                }
                let period = state.period;
                wanted.limit.is_good(period, now).then(|| state.hand_out(wanted, now))
            }
            Lease::Exhausted { free_at, reset_at } => {
                let ask_at = free_at.min(now.saturating_add(wanted.limit.memo()));
                let shortage = Shortage { needed: request.needed, asked_at: now, ask_at, free_at, reset_at };
                state.shortage = Some(shortage);
                Some(shortage.answer(now))
            }
        }
    }

    /// What was kept for a claim that got no answer from PostgreSQL.
    pub(super) fn put_back(&self, units: i64) {
        self.state().left += units;
    }

    /// Takes back units of a call that did not use them. Says whether it could: units of a period that has ended must not
    /// be handed out in another.
    pub(super) fn take_back(&self, units: i64, period: i64, now: i64, limit: &Limit) -> bool {
        let mut state = self.state();
        let can = period == state.period && limit.is_good(period, now);
        if can {
            state.left += units;
            state.spent -= units;
            state.shortage = None;
            state.idle_at = now.saturating_add(limit.idle());
        }
        can
    }

    /// Forgets that a call was granted anything.
    pub(super) fn forget(&self, call: Uuid) {
        let mut state = self.state();
        if let Some(at) = state.calls.iter().rposition(|known| *known == call.as_u128()) {
            state.calls.remove(at);
        }
    }

    /// Takes what a call used beyond its claim out of what is left, and says what could not be.
    pub(super) fn take_excess(&self, units: i64, now: i64, limit: &Limit) -> i64 {
        let mut state = self.state();
        if !limit.is_good(state.period, now) {
            return units;
        }
        let taken = units.min(state.left);
        state.left -= taken;
        state.spent += taken;
        units - taken
    }

    /// What is left of a lease that is over, or that nobody takes from.
    pub(super) fn take_unspent(&self, now: i64, limit: &Limit) -> Option<Unspent> {
        let mut state = self.state();
        if state.left == 0 || now < state.idle_at && limit.is_good(state.period, now) {
            return None;
        }
        Some(Unspent { period: state.period, units: std::mem::take(&mut state.left) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no panic while the lock is held")
    }
}

impl State {
    fn known(&mut self, wanted: Wanted<'_>, now: i64) -> Option<Answer> {
        if wanted.call.is_some_and(|call| self.calls.contains(&call.as_u128())) {
            return Some(Answer::Repeated);
        }
        self.shortage = self.shortage.filter(|shortage| (shortage.asked_at..shortage.ask_at).contains(&now));
        let left = if wanted.limit.is_good(self.period, now) { self.left } else { 0 };
        self.shortage.filter(|shortage| wanted.amount - left >= shortage.needed).map(|shortage| shortage.answer(now))
    }

    fn hand_out(&mut self, wanted: Wanted<'_>, now: i64) -> Answer {
        self.left -= wanted.amount;
        self.spent += wanted.amount;
        self.idle_at = now.saturating_add(wanted.limit.idle());
        if let Some(call) = wanted.call {
            if self.calls.len() == REMEMBERED {
                self.calls.pop_front();
            }
            self.calls.push_back(call.as_u128());
        }
        Answer::Granted { period: self.period }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::limit::{Refilling, Sliding, Unit};
    use super::*;

    const MILLI: i64 = 1_000_000;

    /// Takes one unit so many times, at the times `at(n)`, with a PostgreSQL that has enough; how often it was asked.
    fn leases_for(claims: i64, amount: u64, at: impl Fn(i64) -> i64) -> usize {
        let limit = Sliding::new(amount, Unit::Requests, Duration::from_mins(1)).into();
        let wanted = Wanted { amount: 1, call: None, limit: &limit };
        let account = Account::default();
        let mut leases = 0;
        for n in 0..claims {
            let now = at(n) * MILLI;
            if account.take(wanted, now).is_some() {
                continue;
            }
            let request = account.begin_lease(wanted, now);
            leases += 1;
            let answer = account.end_lease(wanted, now, &request, Lease::Granted(request.wanted));
            assert_eq!(answer, Some(Answer::Granted { period: request.period }));
        }
        leases
    }

    #[test]
    fn a_busy_account_seldom_asks_postgresql() {
        assert_eq!(leases_for(10_000, 1_000_000, |_| 0), 14);
        assert!(leases_for(300, 300, |_| 0) <= 15);
        // Five requests a second over a minute: ten slots of thirty.
        assert!(leases_for(300, 300, |n| n * 200) <= 40);
        assert_eq!(leases_for(10, 300, |n| n * 6_000), 10, "a slow one asks each time, and holds nothing back");
    }

    #[test]
    fn a_bucket_that_answers_late_answers_still() {
        let limit = Refilling::new(600, Unit::Sessions, 10).into();
        let wanted = Wanted { amount: 1, call: None, limit: &limit };
        let account = Account::default();
        let request = account.begin_lease(wanted, 0);
        let late = 2_500 * MILLI;
        let answer = account.end_lease(wanted, late, &request, Lease::Granted(2));
        assert_eq!(answer, Some(Answer::Granted { period: late }));
        assert_eq!(account.take(wanted, late), Some(Answer::Granted { period: late }));
    }

    #[test]
    fn a_claim_larger_than_what_is_left_asks_for_the_rest_only() {
        let limit = Sliding::new(1000, Unit::Tokens, Duration::from_mins(1)).into();
        let wanted = |amount| Wanted { amount, call: None, limit: &limit };
        let account = Account::default();
        let request = account.begin_lease(wanted(1), 0);
        account.end_lease(wanted(1), 0, &request, Lease::Granted(6));
        let request = account.begin_lease(wanted(50), 0);
        assert_eq!((request.kept, request.needed), (5, 45));
        assert_eq!(account.take(wanted(1), 0), None, "what is kept is for nobody else");
        let lease = Lease::Exhausted { free_at: 10, reset_at: 10 };
        assert!(matches!(account.end_lease(wanted(50), 0, &request, lease), Some(Answer::Exhausted(_))));
        assert!(matches!(account.take(wanted(50), 1), Some(Answer::Exhausted(_))));
        assert!(matches!(account.take(wanted(5), 1), Some(Answer::Granted { .. })), "a small one fits");
        assert_eq!(account.take(wanted(40), 1), None, "PostgreSQL may have as much");
    }
}
