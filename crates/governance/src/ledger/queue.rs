//! What waits to be written: bounded, and taken in batches by the one writer.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot, watch};
use uuid::Uuid;

use super::metrics::{LedgerMetrics, RecordKind};
use super::open::OpenRequest;
use super::record::{Admission, Closing, Entry, Kept, KeptToolCall};

/// Most records of each kind in one statement.
pub(super) const BATCH_LIMIT: usize = 512;

/// Most bytes of kept content in one statement, so that content never delays an admission by much. One record is
/// always taken.
const BATCH_CONTENT_LIMIT: usize = 4 * 1024 * 1024;

/// Most outcomes in memory while the database is away. Beyond that the newest are dropped; their requests are closed as
/// abandoned at the next start.
const CLOSINGS_LIMIT: usize = 65_536;

/// Most bytes of kept content in memory. Beyond that outcomes are recorded without it.
const CONTENT_LIMIT: usize = 64 * 1024 * 1024;

/// An admission or refusal that waits to be written.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) record: Admission,
    pub(super) entry: Entry,
    /// The end of the request, when it is known before the beginning was written.
    pub(super) closing: Option<QueuedClosing>,
    pub(super) reply: Reply,
    /// Its place in the bounded queue, given back when it is written or refused.
    pub(super) _slot: OwnedSemaphorePermit,
    pub(super) queued: Instant,
}

/// Who waits for an admission to be written.
#[derive(Debug)]
pub(super) enum Reply {
    /// Nobody: the mode is asynchronous.
    Nobody,
    /// The caller of `admit`. The request it is given closes itself when it is dropped, so a caller that went away at
    /// any moment leaves no open request behind.
    Admitted(Option<oneshot::Sender<OpenRequest>>, OpenRequest),
    /// The caller that is about to be refused.
    Refused(oneshot::Sender<()>),
}

/// An outcome that waits to be written.
#[derive(Debug)]
pub(super) struct QueuedClosing {
    pub(super) closing: Closing,
    /// Its chain entry; a refusal has none besides that of its decision.
    pub(super) entry: Option<Entry>,
    pub(super) kept: Option<Box<Kept>>,
    pub(super) tool_calls: Vec<KeptToolCall>,
    pub(super) written: Option<oneshot::Sender<()>>,
    pub(super) queued: Instant,
}

/// The queue and what callers and the writer know of each other.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    arrived: Notify,
    pub(super) available: watch::Sender<bool>,
    pub(super) slots: Arc<Semaphore>,
    pub(super) metrics: LedgerMetrics,
}

#[derive(Default)]
struct Waiting {
    admissions: VecDeque<Pending>,
    closings: VecDeque<QueuedClosing>,
    content_bytes: usize,
    closed: bool,
    ended: bool,
}

/// What was taken for one statement.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) admissions: Vec<Pending>,
    pub(super) closings: Vec<QueuedClosing>,
}

/// How much waits, for the writer to decide whether to begin.
#[derive(Debug, Clone, Copy)]
pub(super) struct Backlog {
    pub(super) admissions: usize,
    pub(super) closings: usize,
    pub(super) oldest_admission: Option<Instant>,
    pub(super) oldest_closing: Option<Instant>,
    pub(super) closed: bool,
}

impl Pending {
    pub(super) fn closing(&self) -> Option<&Closing> {
        self.closing.as_ref().map(|queued| &queued.closing)
    }

    fn is_wanted(&self) -> bool {
        match &self.reply {
            Reply::Nobody => true,
            Reply::Admitted(sender, _) => sender.as_ref().is_some_and(|sender| !sender.is_closed()),
            Reply::Refused(sender) => !sender.is_closed(),
        }
    }
}

impl QueuedClosing {
    pub(super) fn new(closing: Closing) -> Self {
        let entry = Some(Entry::of_closing(&closing));
        Self { closing, entry, kept: None, tool_calls: Vec::new(), written: None, queued: Instant::now() }
    }

    pub(super) fn tell_written(self) {
        if let Some(written) = self.written {
            // Whoever asked may have gone.
            let _ = written.send(());
        }
    }

    fn content_bytes(&self) -> usize {
        let tools: usize = self.tool_calls.iter().map(|call| call.input.as_ref().map_or(0, String::len)).sum();
        tools + self.kept.as_ref().map_or(0, |kept| kept.size())
    }

    fn drop_content(&mut self) {
        self.kept = None;
        for call in &mut self.tool_calls {
            call.input = None;
        }
    }
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.admissions.is_empty() && self.closings.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.admissions.len() + self.closings.len()
    }

    /// Two batches, both smaller unless there is only one record.
    pub(super) fn halves(mut self) -> (Self, Self) {
        let admissions = self.admissions.split_off(self.admissions.len().div_ceil(2));
        let closings = self.closings.split_off(self.closings.len() / 2);
        (self, Self { admissions, closings })
    }

    /// Decisions first, each with its outcome if that is known, then the other outcomes.
    pub(super) fn entries(&self) -> impl Iterator<Item = Entry> {
        let admissions = self.admissions.iter().flat_map(|pending| {
            [Some(pending.entry), pending.closing.as_ref().and_then(|closing| closing.entry)].into_iter().flatten()
        });
        admissions.chain(self.closings.iter().filter_map(|closing| closing.entry))
    }

    pub(super) fn oldest(&self) -> Option<Instant> {
        let admissions = self.admissions.iter().map(|pending| pending.queued);
        admissions.chain(self.closings.iter().map(|closing| closing.queued)).min()
    }

    /// Leaves the requests in the batch and lets their callers go. Whatever of it turns out to be written closes itself.
    pub(super) fn release_callers(&mut self) {
        for pending in &mut self.admissions {
            match &mut pending.reply {
                Reply::Admitted(sender, _) => *sender = None,
                refused @ Reply::Refused(_) => *refused = Reply::Nobody,
                Reply::Nobody => {}
            }
        }
    }
}

impl Queue {
    pub(super) fn new(limit: usize, metrics: LedgerMetrics) -> Self {
        Self {
            waiting: Mutex::default(),
            arrived: Notify::new(),
            available: watch::Sender::new(true),
            slots: Arc::new(Semaphore::new(limit)),
            metrics,
        }
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().expect("no panic while the lock is held")
    }

    /// Whether records can be written as far as is known.
    pub(super) fn is_available(&self) -> bool {
        *self.available.borrow()
    }

    /// Notes that records cannot be written.
    pub(super) fn shut(&self) {
        self.metrics.available(false);
        self.available.send_replace(false);
    }

    /// Notes that records can be written, unless the ledger was closed.
    pub(super) fn reopen(&self) {
        if !self.is_available() && !self.waiting().closed {
            self.metrics.available(true);
            self.available.send_replace(true);
        }
    }

    /// Queues an admission. Gives it back when the ledger was closed.
    pub(super) fn push_admission(&self, pending: Pending) -> Result<(), Box<Pending>> {
        {
            let mut waiting = self.waiting();
            if waiting.closed {
                return Err(Box::new(pending));
            }
            waiting.admissions.push_back(pending);
        }
        self.arrived.notify_one();
        Ok(())
    }

    /// Queues an outcome. Never blocks; what does not fit is counted and left out.
    pub(super) fn push_closing(&self, mut closing: QueuedClosing) {
        let id = closing.closing.id;
        let dropped = {
            let mut waiting = self.waiting();
            if waiting.ended || waiting.closings.len() >= CLOSINGS_LIMIT {
                true
            } else {
                if waiting.content_bytes + closing.content_bytes() > CONTENT_LIMIT {
                    closing.drop_content();
                    self.metrics.dropped(RecordKind::Content);
                }
                waiting.content_bytes += closing.content_bytes();
                waiting.closings.push_back(closing);
                false
            }
        };
        if dropped {
            self.metrics.dropped(RecordKind::Outcome);
            tracing::error!(request.id = %id, "an outcome could not be queued; its request will be closed as abandoned");
        }
        self.arrived.notify_one();
    }

    /// Puts back what was taken and not written, in front.
    pub(super) fn put_back(&self, batch: Batch) {
        let mut waiting = self.waiting();
        for pending in batch.admissions.into_iter().rev() {
            waiting.admissions.push_front(pending);
        }
        for closing in batch.closings.into_iter().rev() {
            waiting.content_bytes += closing.content_bytes();
            waiting.closings.push_front(closing);
        }
    }

    pub(super) fn backlog(&self) -> Backlog {
        let waiting = self.waiting();
        Backlog {
            admissions: waiting.admissions.len(),
            closings: waiting.closings.len(),
            oldest_admission: waiting.admissions.front().map(|pending| pending.queued),
            oldest_closing: waiting.closings.front().map(|closing| closing.queued),
            closed: waiting.closed,
        }
    }

    /// Takes what fits into one statement. Admissions nobody waits for any more are left out: nothing was done.
    pub(super) fn take(&self) -> Batch {
        let mut waiting = self.waiting();
        let mut batch = Batch::default();
        while batch.admissions.len() < BATCH_LIMIT
            && let Some(pending) = waiting.admissions.pop_front()
        {
            if pending.is_wanted() {
                batch.admissions.push(pending);
            }
        }
        let mut content = 0;
        while batch.closings.len() < BATCH_LIMIT
            && let Some(next) = waiting.closings.front()
        {
            let bytes = next.content_bytes();
            if content > 0 && content + bytes > BATCH_CONTENT_LIMIT {
                break;
            }
            content += bytes;
            batch.closings.extend(waiting.closings.pop_front());
        }
        waiting.content_bytes = waiting.content_bytes.saturating_sub(content);
        batch
    }

    /// Lets every caller go who waits for an admission; what nobody waits for stays.
    pub(super) fn refuse_waiting(&self) {
        let refused: Vec<_> = {
            let mut waiting = self.waiting();
            let (stay, go) = waiting.admissions.drain(..).partition(|pending| matches!(pending.reply, Reply::Nobody));
            waiting.admissions = stay;
            Vec::from(go)
        };
        drop(refused);
    }

    /// Admits nothing any more. Outcomes are still taken.
    pub(super) fn close(&self) {
        self.waiting().closed = true;
        self.shut();
        self.arrived.notify_one();
    }

    /// Takes nothing any more; gives how many records are lost with it.
    pub(super) fn end(&self) -> usize {
        let mut waiting = self.waiting();
        waiting.closed = true;
        waiting.ended = true;
        let lost = waiting.admissions.len() + waiting.closings.len();
        waiting.admissions.clear();
        waiting.closings.clear();
        lost
    }

    /// Waits until something new was queued.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }
}

/// The smallest id of any kind made at this time or later.
pub(super) fn first_id_at(at: chrono::DateTime<chrono::Utc>) -> Uuid {
    let millis = u128::from(u64::try_from(at.timestamp_millis()).unwrap_or(0));
    Uuid::from_u128(millis << 80)
}
