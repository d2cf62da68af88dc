//! What waits to be written: bounded, and taken in batches by the one writer.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use systemprompt_extension::ledger::EntryKind;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::content::KeptPart;
use super::entry::Sealed;
use super::journal::{Filed, Journal};
use super::metrics::{Dropped, LedgerMetrics};
use super::outage::Outage;

/// Most entries of each sort in one statement.
pub(super) const BATCH_LIMIT: usize = 512;

/// Most bytes of kept content in one statement, so that content never delays an admission by much. One entry is always
/// taken.
const BATCH_CONTENT_LIMIT: usize = 4 * 1024 * 1024;

/// Most following entries in memory while the database is away. Beyond that the newest are dropped; their actions are
/// closed as abandoned at the next start.
const FOLLOWING_LIMIT: usize = 65_536;

/// Most bytes of kept content in memory. Beyond that ends are recorded without it.
const CONTENT_LIMIT: usize = 64 * 1024 * 1024;

/// A decision that waits to be written.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) entry: Sealed,
    /// What is kept of a refused action: what was found in it, masked.
    pub(super) content: Vec<KeptPart>,
    /// Whether the action is open once this is written.
    pub(super) opens: bool,
    /// Nobody in the asynchronous mode.
    pub(super) waiter: Option<Box<dyn Waiter>>,
    /// Where it is kept until it is written, if nobody waits for that.
    pub(super) filed: Option<Filed>,
    /// Its place in the bounded queue, given back when it is written or refused.
    /// What is kept in the home has none: its size is bounded there.
    pub(super) _slot: Option<OwnedSemaphorePermit>,
    pub(super) queued: Instant,
}

/// Who waits for a decision to be written. Dropped without an answer, it is refused.
pub(super) trait Waiter: fmt::Debug + Send + Sync {
    /// Whether it still waits.
    fn is_there(&self) -> bool;
    /// Lets the caller go. What is written nevertheless must close itself.
    fn release(&mut self);
    /// Says that it is written.
    fn written(self: Box<Self>);
}

/// A caller that only has to know.
#[derive(Debug)]
pub(super) struct Told(oneshot::Sender<()>);

impl Told {
    pub(super) fn channel() -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), receiver)
    }
}

impl Waiter for Told {
    fn is_there(&self) -> bool {
        !self.0.is_closed()
    }

    fn release(&mut self) {}

    fn written(self: Box<Self>) {
        // Whoever asked may have gone.
        let _ = self.0.send(());
    }
}

/// An entry about something that was decided before.
#[derive(Debug)]
pub(crate) struct Following {
    pub(super) entry: Sealed,
    pub(super) content: Vec<KeptPart>,
    pub(super) written: Option<oneshot::Sender<()>>,
    /// Where it is kept until it is written.
    filed: Option<Filed>,
    /// It may be written whatever was written before.
    alone: bool,
    pub(super) queued: Instant,
}

/// The queue and what callers and the writer know of each other.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    pub(super) available: watch::Sender<bool>,
    outage: Mutex<Option<Outage>>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) metrics: LedgerMetrics,
    /// Where entries are kept that wait in memory.
    journal: Option<Arc<Journal>>,
}

#[derive(Default)]
struct Waiting {
    decisions: VecDeque<Pending>,
    following: VecDeque<Following>,
    content_bytes: usize,
    /// No decision is taken any more.
    closed: bool,
    /// Nothing more will come.
    finishing: bool,
    ended: bool,
}

/// What was taken for one statement.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) decisions: Vec<Pending>,
    pub(super) following: Vec<Following>,
}

/// How much waits, for the writer to decide whether to begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backlog {
    pub(super) decisions: usize,
    pub(super) following: usize,
    pub(super) oldest_decision: Option<Instant>,
    pub(super) oldest_following: Option<Instant>,
    pub(super) closed: bool,
    pub(super) finishing: bool,
}

impl Pending {
    fn content_bytes(&self) -> usize {
        self.content.iter().map(KeptPart::size).sum()
    }

    fn is_wanted(&self) -> bool {
        self.waiter.as_ref().is_none_or(|waiter| waiter.is_there())
    }
}

impl Following {
    pub(crate) fn new(entry: Sealed) -> Self {
        // About no action of this run.
        let alone = matches!(entry.kind, EntryKind::Abandoned | EntryKind::Checkpoint);
        Self { entry, content: Vec::new(), written: None, filed: None, alone, queued: Instant::now() }
    }

    /// With what is kept of the content.
    pub(crate) fn keeping(mut self, content: Vec<KeptPart>) -> Self {
        self.content = content;
        self
    }

    /// It is about an action of an earlier run.
    pub(super) fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    /// With what tells that it is written; dropped, it never was.
    pub(crate) fn watched(self) -> (Self, oneshot::Receiver<()>) {
        let (sender, receiver) = oneshot::channel();
        (Self { written: Some(sender), ..self }, receiver)
    }

    pub(super) fn closes(&self) -> bool {
        matches!(self.entry.kind, EntryKind::Ended | EntryKind::Abandoned)
    }

    /// Whether it may be written whatever was written before: it is about no action of this run.
    pub(super) fn stands_alone(&self) -> bool {
        self.alone
    }

    /// It is kept nowhere else any more, and gives what it says.
    pub(super) fn given_up(self) -> Sealed {
        if let Some(filed) = self.filed {
            filed.settle();
        }
        self.entry
    }

    /// Tells whoever waits, and gives what was written.
    pub(super) fn tell_written(self) -> Sealed {
        if let Some(filed) = self.filed {
            filed.settle();
        }
        if let Some(written) = self.written {
            // Whoever asked may have gone.
            let _ = written.send(());
        }
        self.entry
    }

    fn content_bytes(&self) -> usize {
        self.content.iter().map(KeptPart::size).sum()
    }
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.decisions.is_empty() && self.following.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.decisions.len() + self.following.len()
    }

    /// Two batches, both smaller unless there is only one entry. Decisions stay in front of what follows them.
    pub(super) fn halves(mut self) -> (Self, Self) {
        let decisions = self.decisions.split_off(self.decisions.len().div_ceil(2));
        let following =
            if self.decisions.is_empty() { self.following.split_off(self.following.len() / 2) } else { Vec::new() };
        let second = if self.decisions.is_empty() {
            Self { decisions, following }
        } else {
            Self { decisions, following: std::mem::take(&mut self.following) }
        };
        (self, second)
    }

    /// Decisions first, so that what follows them comes after.
    pub(super) fn entries(&self) -> impl Iterator<Item = &Sealed> {
        self.decisions.iter().map(|pending| &pending.entry).chain(self.following.iter().map(|next| &next.entry))
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        let decisions = self.decisions.iter().map(|pending| pending.queued);
        decisions.chain(self.following.iter().map(|next| next.queued)).min()
    }

    /// Leaves the entries in the batch and lets their callers go. Whatever of it turns out to be written closes itself.
    pub(super) fn release_callers(&mut self) {
        for pending in &mut self.decisions {
            if let Some(waiter) = &mut pending.waiter {
                waiter.release();
            }
        }
    }
}

impl Waiting {
    /// Whether what came last changes when the writer begins: it is the first, or with it there is enough to begin at once.
    /// To be woken by all that comes between costs it, and the thread that writes an answer meanwhile, more than to queue it.
    /// Nobody but the writer takes anything out or puts it back, and it counts anew before it waits, so neither is missed.
    fn wakes_the_writer(&self) -> bool {
        matches!(self.decisions.len() + self.following.len(), 1 | BATCH_LIMIT)
    }
}

impl Queue {
    pub(super) fn new(limit: usize, metrics: LedgerMetrics, journal: Option<Arc<Journal>>) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            available: watch::Sender::new(true),
            outage: Mutex::default(),
            slots: Arc::new(Semaphore::new(limit)),
            metrics,
            journal,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no panic while the lock is held")
    }

    /// Whether entries can be written as far as is known.
    pub(super) fn is_available(&self) -> bool {
        *self.available.borrow()
    }

    /// Why entries cannot be written, if that is so.
    pub(super) fn outage(&self) -> Option<Outage> {
        self.noted_outage().clone()
    }

    fn noted_outage(&self) -> MutexGuard<'_, Option<Outage>> {
        self.outage.lock().expect("no panic while the lock is held")
    }

    /// Notes that entries cannot be written, and lets every caller go who waits. It is said when it begins, and not again
    /// until it is over.
    pub(super) fn shut(&self, since: Instant, reason: &str) {
        let begins = {
            let mut outage = self.noted_outage();
            let begins = outage.is_none();
            let since = outage.as_ref().map_or(since, |known| known.since);
            *outage = Some(Outage { since, reason: reason.to_owned() });
            begins
        };
        self.take_no_more();
        self.refuse_waiting();
        if begins {
            tracing::error!(reason, "the ledger cannot be written; requests are refused until it can");
        } else {
            tracing::debug!(reason, "the ledger still cannot be written");
        }
    }

    /// Whether no decision is taken any more.
    pub(super) fn is_closed(&self) -> bool {
        self.waiting().closed
    }

    /// Notes that entries can be written.
    pub(super) fn reopen(&self) {
        if self.is_available() {
            return;
        }
        if let Some(Outage { since, reason }) = self.noted_outage().take() {
            let away_ms = since.elapsed().as_millis() as u64;
            tracing::info!(away_ms, reason, "the ledger can be written again");
        }
        if !self.waiting().closed {
            self.metrics.available(true);
            self.available.send_replace(true);
        }
    }

    fn take_no_more(&self) {
        self.metrics.available(false);
        self.available.send_replace(false);
    }

    /// Queues a decision. Gives it back when the ledger was closed.
    pub(super) fn push_decision(&self, mut pending: Pending) -> Result<(), Box<Pending>> {
        let is_waited_for = pending.waiter.is_some();
        if !is_waited_for && pending.filed.is_none() {
            pending.filed =
                self.journal.as_ref().and_then(|journal| journal.keep(&pending.entry, &pending.content, false));
        }
        let wakes = {
            let mut waiting = self.waiting();
            if waiting.closed {
                // Nothing is done of what was refused: it needs not be written.
                if let Some(filed) = pending.filed.take() {
                    filed.settle();
                }
                return Err(Box::new(pending));
            }
            waiting.decisions.push_back(pending);
            waiting.wakes_the_writer()
        };
        if is_waited_for || wakes {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Queues an entry about something decided before. Never blocks; what does not fit is counted and left out.
    pub(super) fn push_following(&self, mut next: Following) {
        let id = next.entry.action;
        if let Some(journal) = self.journal.as_ref().filter(|_| !next.alone) {
            next.filed = journal.keep(&next.entry, &next.content, !self.is_available());
        }
        let (dropped, wakes) = {
            let mut waiting = self.waiting();
            if waiting.ended || waiting.following.len() >= FOLLOWING_LIMIT {
                (true, false)
            } else {
                if waiting.content_bytes + next.content_bytes() > CONTENT_LIMIT {
                    next.content.clear();
                    self.metrics.dropped(Dropped::Content);
                }
                waiting.content_bytes += next.content_bytes();
                waiting.following.push_back(next);
                (false, waiting.wakes_the_writer())
            }
        };
        if dropped {
            self.metrics.dropped(Dropped::Outcome);
            tracing::error!(action.id = %id, "an outcome could not be queued; its action will be closed as abandoned");
        }
        if wakes {
            self.arrived.notify_one();
        }
    }

    /// The journal in the home.
    pub(super) fn journal(&self) -> Option<&Arc<Journal>> {
        self.journal.as_ref()
    }

    /// Puts back what was taken and not written, in front.
    pub(super) fn put_back(&self, batch: Batch) {
        let mut waiting = self.waiting();
        for pending in batch.decisions.into_iter().rev() {
            waiting.decisions.push_front(pending);
        }
        for next in batch.following.into_iter().rev() {
            waiting.content_bytes += next.content_bytes();
            waiting.following.push_front(next);
        }
    }

    /// Brings the metrics of what waits up to date.
    pub(super) fn measure(&self) {
        let Backlog { decisions, following, .. } = self.backlog();
        self.metrics.queued(decisions, following);
        if let Some(Outage { since, .. }) = self.outage() {
            self.metrics.lagging(Some(since));
        }
        if let Some(journal) = &self.journal {
            self.metrics.spooled(journal.waiting());
        }
    }

    pub(super) fn backlog(&self) -> Backlog {
        let waiting = self.waiting();
        Backlog {
            decisions: waiting.decisions.len(),
            following: waiting.following.len(),
            oldest_decision: waiting.decisions.front().map(|pending| pending.queued),
            oldest_following: waiting.following.front().map(|next| next.queued),
            closed: waiting.closed,
            finishing: waiting.finishing,
        }
    }

    /// Takes what fits into one statement. Decisions nobody waits for any more are left out: nothing was done.
    pub(super) fn take(&self) -> Batch {
        let mut waiting = self.waiting();
        let mut batch = Batch::default();
        let mut of_decisions = 0;
        while batch.decisions.len() < BATCH_LIMIT
            && let Some(pending) = waiting.decisions.front()
        {
            let bytes = pending.content_bytes();
            if of_decisions > 0 && of_decisions + bytes > BATCH_CONTENT_LIMIT {
                break;
            }
            of_decisions += bytes;
            batch.decisions.extend(waiting.decisions.pop_front().filter(Pending::is_wanted));
        }
        let mut content = 0;
        while batch.following.len() < BATCH_LIMIT
            && let Some(next) = waiting.following.front()
        {
            let bytes = next.content_bytes();
            let before = of_decisions + content;
            if before > 0 && before + bytes > BATCH_CONTENT_LIMIT {
                break;
            }
            content += bytes;
            batch.following.extend(waiting.following.pop_front());
        }
        waiting.content_bytes = waiting.content_bytes.saturating_sub(content);
        batch
    }

    /// Lets every caller go who waits for a decision; what nobody waits for stays.
    fn refuse_waiting(&self) {
        let refused: Vec<_> = {
            let mut waiting = self.waiting();
            let (stay, go) = waiting.decisions.drain(..).partition(|pending| pending.waiter.is_none());
            waiting.decisions = stay;
            Vec::from(go)
        };
        drop(refused);
    }

    /// Takes no decision any more. What follows earlier ones is still taken.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.take_no_more();
        self.arrived.notify_one();
    }

    /// The writer ends when everything is written.
    pub(super) fn finish(&self) {
        self.waiting().finishing = true;
        self.arrived.notify_one();
    }

    /// Takes nothing any more; gives how many entries are lost with it.
    pub(super) fn end(&self) -> usize {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.ended = true;
        let lost = waiting.decisions.len() + waiting.following.len();
        waiting.decisions.clear();
        waiting.following.clear();
        lost
    }

    /// Waits until something new was queued.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}
