//! What one replica knows of one session, or of one user: its lease, and which calls it has answered. No I/O.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};

use systemprompt_model::RequestId;

use super::lock;

/// Parts a window is cut into.
const SLOTS: i64 = 10;
/// Calls that are remembered, so that one judged again counts once.
const REMEMBERED: usize = 256;

/// The limit in the units everything is counted in. Times are milliseconds since 1970.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub limit: i64,
    pub window_ms: i64,
    pub slot_ms: i64,
    pub largest_lease: i64,
}

impl Limits {
    pub(super) fn new(requests: u32, window_secs: u32) -> Self {
        let limit = i64::from(requests);
        let window_ms = i64::from(window_secs.max(1)) * 1000;
        Self { limit, window_ms, slot_ms: window_ms / SLOTS, largest_lease: (limit / 10).max(1) }
    }

    /// The start of the slot `now` is in.
    pub(super) fn slot_of(&self, now: i64) -> i64 {
        now.div_euclid(self.slot_ms) * self.slot_ms
    }

    /// Slots that begin at or before this no longer count at `now`.
    pub(super) fn over_before(&self, now: i64) -> i64 {
        now - self.window_ms - self.slot_ms
    }
}

/// What is asked of the database: permits for this slot, and what is left of an earlier lease.
#[derive(Debug, Clone, Copy)]
pub(super) struct LeaseRequest {
    pub now: i64,
    pub slot: i64,
    pub wanted: i64,
    pub unspent: Option<Unspent>,
}

/// What the database gave, and what it knows to be used: starts of slots, ascending, and the permits given out in each.
#[derive(Debug, Clone)]
pub(super) struct Lease {
    pub granted: i64,
    pub slots: Vec<i64>,
    pub used: Vec<i64>,
}

/// Permits of a slot that were leased and not handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unspent {
    pub slot: i64,
    pub permits: i64,
}

/// Whether a call is admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    Admitted,
    /// It was admitted before, and counts once.
    Repeated,
    /// No permit is left; the first comes free after this time.
    Exhausted {
        wait_ms: i64,
    },
}

impl Answer {
    /// How long to wait, in milliseconds; 0 if it need not.
    pub(super) fn wait_ms(self) -> i64 {
        match self {
            Self::Exhausted { wait_ms } => wait_ms,
            Self::Admitted | Self::Repeated => 0,
        }
    }
}

/// One session of one user, or all of them.
#[derive(Debug, Default)]
pub(super) struct Window {
    state: Mutex<State>,
    turn: tokio::sync::Mutex<()>,
    waiting: AtomicI64,
}

#[derive(Debug, Default)]
struct State {
    /// Start of the slot the lease is good for.
    slot: i64,
    /// Permits left of it.
    left: i64,
    /// Permits handed out in that slot.
    spent: i64,
    /// Permits asked for the last time.
    asked: i64,
    exhausted: Option<Exhausted>,
    /// Admitted calls with the slots of their permits, the latest last.
    admitted: VecDeque<(RequestId, i64)>,
}

#[derive(Debug, Clone, Copy)]
struct Exhausted {
    /// Until when the database need not be asked again.
    ask_at: i64,
    /// When the next permit comes free.
    free_at: i64,
}

/// Counts a request among those that wait, for as long as it lives.
pub(super) struct Turn<'a> {
    _guard: tokio::sync::MutexGuard<'a, ()>,
    _waiting: Waiting<'a>,
}

struct Waiting<'a>(&'a AtomicI64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Window {
    /// The answer that takes no permit, if it is that one and it is known.
    pub(super) fn peek(&self, call: RequestId, now: i64) -> Option<Answer> {
        lock(&self.state).known(call, now)
    }

    /// Answers from memory, if that is possible.
    pub(super) fn take(&self, call: RequestId, now: i64, limits: &Limits) -> Option<Answer> {
        let mut state = lock(&self.state);
        if let Some(answer) = state.known(call, now) {
            return Some(answer);
        }
        if state.left == 0 || state.slot != limits.slot_of(now) {
            return None;
        }
        state.hand_out(call);
        Some(Answer::Admitted)
    }

    /// Takes back the permit of a call that was admitted here and refused elsewhere. A permit of a slot that has ended is
    /// lost, as it must not be handed out in another.
    pub(super) fn put_back(&self, call: RequestId) {
        let mut state = lock(&self.state);
        let Some(at) = state.admitted.iter().rposition(|(admitted, _)| *admitted == call) else { return };
        let Some((_, slot)) = state.admitted.remove(at) else { return };
        if slot == state.slot {
            state.left += 1;
            state.spent -= 1;
            state.exhausted = None;
        }
    }

    /// Waits until this request may ask the database.
    pub(super) async fn wait_for_turn(&self) -> Turn<'_> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let waiting = Waiting(&self.waiting);
        Turn { _guard: self.turn.lock().await, _waiting: waiting }
    }

    /// What to ask for. What is left of an earlier lease leaves the window here: if the answer is lost, so are they, as
    /// nobody knows whether they were given back.
    pub(super) fn begin_lease(&self, now: i64, limits: &Limits) -> LeaseRequest {
        let slot = limits.slot_of(now);
        let mut state = lock(&self.state);
        let unspent = state.take_unspent();
        if state.slot == slot {
            state.asked = (state.asked * 2).max(1);
        } else {
            // Half of what the last slot needed, if that was the slot before.
            let needed = if state.slot == slot - limits.slot_ms { state.spent / 2 } else { 0 };
            (state.slot, state.spent, state.asked) = (slot, 0, needed.max(1));
        }
        state.asked = state.asked.max(self.waiting.load(Ordering::Relaxed)).min(limits.largest_lease);
        LeaseRequest { now, slot, wanted: state.asked, unspent }
    }

    /// Takes in what the database gave, and answers the request that asked; not at all if the slot has ended meanwhile.
    pub(super) fn end_lease(
        &self,
        call: RequestId,
        now: i64,
        request: &LeaseRequest,
        lease: &Lease,
        limits: &Limits,
    ) -> Option<Answer> {
        let mut state = lock(&self.state);
        if lease.granted > 0 {
            state.exhausted = None;
            state.left += lease.granted;
            if limits.slot_of(now) != request.slot {
                return None;
            }
            state.hand_out(call);
            return Some(Answer::Admitted);
        }
        let free_at = free_at(lease, limits);
        let next_slot = request.slot + limits.slot_ms;
        state.exhausted = Some(Exhausted { ask_at: free_at.min(next_slot), free_at });
        Some(Answer::Exhausted { wait_ms: free_at - now })
    }

    /// What is left of a lease of a slot before `slot`.
    pub(super) fn take_unspent(&self, slot: i64) -> Option<Unspent> {
        let mut state = lock(&self.state);
        if state.slot < slot { state.take_unspent() } else { None }
    }

    /// Whether nothing would be lost by forgetting it.
    pub(super) fn is_idle(&self, now: i64, limits: &Limits) -> bool {
        let state = lock(&self.state);
        state.left == 0 && state.slot <= limits.over_before(now)
    }
}

impl State {
    fn known(&mut self, call: RequestId, now: i64) -> Option<Answer> {
        if self.admitted.iter().any(|(admitted, _)| *admitted == call) {
            return Some(Answer::Repeated);
        }
        self.exhausted = self.exhausted.filter(|exhausted| now < exhausted.ask_at);
        self.exhausted.map(|exhausted| Answer::Exhausted { wait_ms: exhausted.free_at - now })
    }

    fn hand_out(&mut self, call: RequestId) {
        self.left -= 1;
        self.spent += 1;
        if self.admitted.len() == REMEMBERED {
            self.admitted.pop_front();
        }
        self.admitted.push_back((call, self.slot));
    }

    fn take_unspent(&mut self) -> Option<Unspent> {
        let permits = std::mem::take(&mut self.left);
        (permits > 0).then_some(Unspent { slot: self.slot, permits })
    }
}

/// When the sum of what counts falls below the limit.
fn free_at(lease: &Lease, limits: &Limits) -> i64 {
    let mut sum: i64 = lease.used.iter().sum();
    for (slot, used) in lease.slots.iter().zip(&lease.used) {
        sum -= used;
        if sum < limits.limit {
            return slot + limits.slot_ms + limits.window_ms;
        }
    }
    // Nothing counts, and still nothing was granted: another replica has a smaller limit. Ask again in the next slot.
    lease.slots.last().copied().unwrap_or_default() + limits.slot_ms
}

#[cfg(test)]
mod tests {
    use systemprompt_model::Ambient;

    use super::*;

    /// Takes `calls` at the times `at(n)`, with a database that has enough; how often it was asked.
    fn leases_for(calls: i64, limit: u32, at: impl Fn(i64) -> i64) -> usize {
        let limits = Limits::new(limit, 60);
        let window = Window::default();
        let ambient = Ambient::system();
        let mut leases = 0;
        for n in 0..calls {
            let (call, now) = (RequestId::generate(&ambient), at(n));
            if window.take(call, now, &limits).is_some() {
                continue;
            }
            let request = window.begin_lease(now, &limits);
            let lease = Lease { granted: request.wanted, slots: vec![request.slot], used: vec![request.wanted] };
            leases += 1;
            assert_eq!(window.end_lease(call, now, &request, &lease, &limits), Some(Answer::Admitted));
        }
        leases
    }

    #[test]
    fn a_busy_session_seldom_asks_the_database() {
        assert_eq!(leases_for(10_000, 1_000_000, |_| 0), 14);
        assert!(leases_for(300, 300, |_| 0) <= 15);
        // Five requests a second over a minute: ten slots of thirty.
        assert!(leases_for(300, 300, |n| n * 200) <= 40);
        assert_eq!(leases_for(10, 300, |n| n * 6_000), 10, "a slow one asks each time, and holds nothing back");
    }
}
