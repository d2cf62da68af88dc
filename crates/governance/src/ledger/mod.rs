//! The audit ledger: what was asked, what was decided, what came of it; append-only and hash-chained.
//!
//! ```text
//!  admit ──► record ──┐                        ┌─► governance_decisions, ai_requests (INSERT)
//!  refuse ─► record ──┼─► queue ─► writer ─────┼─► ai_requests (outcome, UPDATE), payloads, tool calls
//!  finish ─► closing ─┘   one task, one        └─► audit_chain, audit_chain_head (compare-and-swap)
//!                         statement per batch
//! ```
//!
//! In the durable mode the writer answers `admit` after the commit, so nothing is done that is not on disk. Outcomes never
//! block anybody; they wait in memory until they are written.
//!
//! The chain has one entry for every admission or refusal and one for every outcome. `entry_sha256` is the SHA-256 of the
//! canonical JSON (RFC 8785) of what never changes again, `chain_hash` = SHA-256(`prev_hash` ‖ `seq` as eight bytes ‖
//! `entry_sha256`); before the first entry stands a hash of zeros. [`verify()`] recomputes all of it from the rows.

mod canonical;
mod chain;
mod instances;
mod metrics;
mod open;
pub mod queries;
mod queue;
pub(crate) mod record;
mod retention;
mod settings;
mod sweep;
#[cfg(test)]
mod tests;
mod verify;
mod write;
mod writer;

use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use systemprompt_database::DbPool;
use systemprompt_extension::{Metrics, SchemaDefinition, Seed};
use systemprompt_model::{Ambient, InstanceId};
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::metrics::LedgerMetrics;
pub(crate) use self::open::OpenRequest;
use self::queue::{Pending, Queue, QueuedClosing, Reply};
use self::record::{Admission, Closing, Entry, Kept, KeptToolCall};
use self::writer::Writer;

pub use self::retention::{
    ContentRetention, EXCERPT, Payload, Retention, RetentionProfile, TOOL_INPUT_LIMIT, WHOLE_LIMIT,
};
pub use self::settings::{Durability, GovernanceProfile, LedgerSettings};
pub use self::verify::{Divergence, VerifyReport, verify};

/// How long a request waits for its record to be written before it is refused.
pub const ADMISSION_WAIT: Duration = Duration::from_secs(2);

/// Why the ledger could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database could not be reached, or the ledger's tables are not there.
    #[error("the ledger cannot be written")]
    Connect(#[source] sqlx::Error),
    /// The requests that dead instances left open could not be closed.
    #[error("closing the requests that a dead server left open")]
    Recovery(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A record could not be written; what it speaks of must not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// Who writes, and how.
#[derive(Debug, Clone)]
pub struct LedgerOptions {
    /// This run of this server.
    pub instance_id: InstanceId,
    /// The installation, the same for every run of it and different from its replicas'. When a run starts, earlier runs
    /// of the same name are known to be over.
    pub instance_name: String,
    /// When records are written.
    pub settings: LedgerSettings,
    /// What is kept of content.
    pub retention: Retention,
}

/// The audit ledger of one server. Only the [`Gate`](crate::Gate) writes to it.
pub struct Ledger {
    shared: Arc<Shared>,
    database: DbPool,
    ended: CancellationToken,
    abort: CancellationToken,
}

/// What callers, open requests and the writer share.
pub(crate) struct Shared {
    queue: Queue,
    ambient: Ambient,
    settings: LedgerSettings,
    retention: Retention,
    instance_id: Uuid,
    instance_name: String,
    started_at: DateTime<Utc>,
}

/// The ledger's tables and triggers.
pub(crate) fn schema() -> SchemaDefinition {
    SchemaDefinition::inline("ai_requests", include_str!("../../schema/ledger.sql"))
}

/// The chain before its first entry.
pub(crate) fn seed() -> Seed {
    Seed::new(
        "audit_chain_head",
        "INSERT INTO audit_chain_head (id, seq, chain_hash, updated_at)
         VALUES (1, 0, decode(repeat('00', 32), 'hex'), now())
         ON CONFLICT (id) DO NOTHING",
    )
}

impl Ledger {
    /// Starts the writer on `tracker`. It ends when the ledger is [drained](Self::drain).
    pub async fn start(
        database: &DbPool,
        options: LedgerOptions,
        ambient: &Ambient,
        tracker: &TaskTracker,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, LedgerError> {
        let shared = Arc::new(Shared {
            queue: Queue::new(options.settings.queue_limit as usize, LedgerMetrics::register(metrics)),
            ambient: ambient.clone(),
            settings: options.settings,
            retention: options.retention,
            instance_id: options.instance_id.as_uuid(),
            instance_name: options.instance_name,
            started_at: record::micros(ambient.now()),
        });
        let (ended, abort) = (CancellationToken::new(), CancellationToken::new());
        let writer = Writer::connect(Arc::clone(&shared), database, abort.clone()).await?;
        let done = ended.clone().drop_guard();
        tracker.spawn(async move {
            writer.run().await;
            drop(done);
        });
        Ok(Arc::new(Self { shared, database: Arc::clone(database), ended, abort }))
    }

    /// Closes what dead instances left open and gives the number of requests closed. Nothing is done while another
    /// replica is at it.
    pub async fn recover(&self) -> Result<u64, LedgerError> {
        instances::recover(self.database.write(), &self.shared)
            .await
            .map_err(|error| LedgerError::Recovery(Box::new(error)))
    }

    /// Deletes content that was kept for long enough, and gives the number of requests it belonged to.
    pub async fn sweep(&self) -> Result<u64, sqlx::Error> {
        sweep::sweep(self.database.write(), &self.shared.retention, self.shared.ambient.now()).await
    }

    /// Repeats [`recover`](Self::recover) every 30 seconds and [`sweep`](Self::sweep) every 10 minutes until `shutdown`.
    pub async fn maintain(self: Arc<Self>, shutdown: CancellationToken) {
        sweep::maintain(&self, shutdown).await;
    }

    /// Whether records can be written as far as is known.
    pub fn is_available(&self) -> bool {
        self.shared.queue.is_available()
    }

    /// Admits nothing any more and waits until everything is written, for `limit` at most.
    /// Gives whether everything was written.
    pub async fn drain(&self, limit: Duration) -> bool {
        self.shared.queue.close();
        let drained = timeout(limit, self.ended.cancelled()).await.is_ok();
        self.abort.cancel();
        self.ended.cancelled().await;
        drained
    }

    /// How much of an answer is worth holding to be kept, in bytes.
    pub fn content_limit(&self) -> usize {
        self.shared.retention.content.limit()
    }

    pub(crate) fn ambient(&self) -> &Ambient {
        &self.shared.ambient
    }

    pub(crate) fn instance_id(&self) -> Uuid {
        self.shared.instance_id
    }

    /// Records that a request is admitted. In the durable mode it returns when that is on disk.
    pub(crate) async fn admit(&self, record: Admission) -> Result<OpenRequest, Unavailable> {
        let entry = Entry::of_admission(&record);
        let request = OpenRequest::planned(Arc::clone(&self.shared), record.id);
        match self.shared.settings.durability {
            Durability::Durable => {
                let (sender, receiver) = oneshot::channel();
                self.enqueue(record, entry, None, Reply::Admitted(Some(sender), request), receiver).await
            }
            Durability::Asynchronous => {
                self.push(record, entry, None, Reply::Nobody).await?;
                Ok(request.armed())
            }
        }
    }

    /// Records that a request is refused. It returns when that is on disk, whatever the mode.
    pub(crate) async fn refuse(&self, record: Admission) -> Result<(), Unavailable> {
        let entry = Entry::of_admission(&record);
        let mut closing = Closing::failed(
            record.id,
            record.decision.reason.as_deref().unwrap_or_default(),
            record.decision.created_at,
        );
        closing.status = "rejected".into();
        let closing = QueuedClosing { entry: None, ..QueuedClosing::new(closing) };
        let (sender, receiver) = oneshot::channel();
        self.enqueue(record, entry, Some(closing), Reply::Refused(sender), receiver).await
    }

    async fn enqueue<T>(
        &self,
        record: Admission,
        entry: Entry,
        closing: Option<QueuedClosing>,
        reply: Reply,
        written: oneshot::Receiver<T>,
    ) -> Result<T, Unavailable> {
        let written = async {
            self.push(record, entry, closing, reply).await?;
            written.await.map_err(|_| Unavailable)
        };
        timeout(ADMISSION_WAIT, written).await.unwrap_or(Err(Unavailable))
    }

    async fn push(
        &self,
        record: Admission,
        entry: Entry,
        closing: Option<QueuedClosing>,
        reply: Reply,
    ) -> Result<(), Unavailable> {
        let queue = &self.shared.queue;
        if !queue.is_available() {
            return Err(Unavailable);
        }
        let slot = match Arc::clone(&queue.slots).try_acquire_owned() {
            Ok(slot) => slot,
            Err(_) => timeout(ADMISSION_WAIT, Arc::clone(&queue.slots).acquire_owned())
                .await
                .map_err(|_| Unavailable)?
                .map_err(|_| Unavailable)?,
        };
        let pending = Pending { record, entry, closing, reply, _slot: slot, queued: Instant::now() };
        queue.push_admission(pending).map_err(|_| Unavailable)
    }
}

impl OpenRequest {
    /// Records how the request ended.
    pub(crate) fn finish(self, closing: Closing, kept: Option<Kept>, tool_calls: Vec<KeptToolCall>) {
        let mut queued = QueuedClosing::new(closing);
        queued.kept = kept.map(Box::new);
        queued.tool_calls = tool_calls;
        self.close(queued);
    }

    /// What may be kept of content.
    pub(crate) fn retention(&self) -> &Retention {
        &self.ledger().retention
    }

    /// The clock records are dated by.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.ledger().ambient.now()
    }
}
