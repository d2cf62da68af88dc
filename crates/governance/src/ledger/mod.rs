//! The ledger: an append-only, hash-chained log of everything that was decided and done.
//!
//! ```text
//!  admit ──► decided ──┐                      ┌─► ledger           (INSERT)
//!  refuse ─► decided ──┼─► queue ─► writer ───┼─► ledger_content   (INSERT)
//!  retry ──► attempted ┤   one task, one      └─► ledger_chains    (compare-and-swap)
//!  finish ─► ended ────┘   statement a batch               │
//!                                                 projector ─► governance_decisions, ai_requests …
//! ```
//!
//! In the durable mode the writer answers `admit` after the commit, so nothing is done that is not on disk. What follows a
//! decision never blocks anybody; it waits in memory until it is written.
//!
//! Each installation writes a chain of its own, so replicas do not wait for each other. An entry's hash covers the one
//! before it, its place, its time and its body (`chain.rs`). [`verify`](mod@verify) recomputes all of it.
//!
//! The log is the only table with a promise. What people query are [projections](systemprompt_extension::ledger::Projection)
//! of it, which the [`Projector`] keeps up.

pub(crate) mod canonical;
pub(crate) mod chain;
mod chains;
pub mod checkpoint;
pub mod content;
pub(crate) mod entry;
pub mod export;
mod metrics;
mod open;
mod projector;
pub(crate) mod queue;
mod read;
mod recovery;
mod retention;
mod segments;
mod settings;
mod sweep;
#[cfg(test)]
mod tests;
pub(crate) mod text;
pub mod verify;
mod write;
mod writer;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use systemprompt_database::DbPool;
use systemprompt_extension::ledger::Projection;
use systemprompt_extension::{Metrics, SchemaDefinition};
use systemprompt_model::{ActionId, Ambient, InstanceId};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use self::checkpoint::Checkpoints;
use self::entry::Sealed;
use self::metrics::LedgerMetrics;
pub(crate) use self::open::OpenAction;
use self::queue::{Following, Pending, Queue, Reply};
use self::text::micros;
use self::writer::Writer;

pub use self::projector::{CatchUpError, ProjectionStatus, Projector};
pub use self::retention::{
    ContentRetention, EXCERPT, Payload, Retention, RetentionProfile, TOOL_INPUT_LIMIT, WHOLE_LIMIT,
};
pub use self::segments::SegmentError;
pub use self::settings::{Durability, GovernanceProfile, LedgerSettings};

/// How long an action waits for its decision to be written before it is refused.
pub const ADMISSION_WAIT: Duration = Duration::from_secs(2);

/// Why the ledger could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// The database could not be reached, or the ledger's tables are not there.
    #[error("the ledger cannot be written")]
    Connect(#[source] sqlx::Error),
    /// The actions that a dead server left open could not be closed.
    #[error("closing the actions that a dead server left open")]
    Recovery(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The checkpoints in the home could not be read or written.
    #[error("the ledger's checkpoints")]
    Checkpoints(#[source] checkpoint::CheckpointError),
}

/// An entry could not be written; what it speaks of must not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unavailable;

/// Who writes, and how.
#[derive(Debug)]
pub struct LedgerOptions {
    /// This run of this server.
    pub instance_id: InstanceId,
    /// The installation: the same for every run of it, and different from its replicas'. Its chain is named by it. When a
    /// run starts, earlier runs of the same name are known to be over.
    pub name: String,
    /// Whether no other process writes under this name: true of a server, false of commands.
    pub exclusive: bool,
    /// When entries are written.
    pub settings: LedgerSettings,
    /// What is kept of content.
    pub retention: Retention,
    /// Where it is remembered outside of the database where the chains end; nowhere for a command.
    pub checkpoints: Option<Checkpoints>,
}

/// The ledger of one server. Only the [`Gate`](crate::Gate) appends to it.
pub struct Ledger {
    shared: Arc<Shared>,
    database: DbPool,
    projector: Arc<Projector>,
    checkpoints: Option<Checkpoints>,
    /// The entries of this chain that were there at the start, among which recovery looks.
    found_until: i64,
    ended: CancellationToken,
    abort: CancellationToken,
}

/// What callers, open actions and the writer share.
pub(crate) struct Shared {
    queue: Queue,
    ambient: Ambient,
    settings: LedgerSettings,
    retention: Retention,
    instance_id: InstanceId,
    chain: Uuid,
    name: String,
    exclusive: bool,
    started_at: DateTime<Utc>,
    /// A bound of the actions that an earlier run left open; `i64::MAX` once they are closed.
    inherited: AtomicI64,
    /// Entries of this chain carry no earlier time than this, in microseconds: they speak of entries of other chains.
    not_before: AtomicI64,
    /// Something was appended.
    written: Notify,
}

/// The ledger's tables and triggers.
pub(crate) fn schema() -> SchemaDefinition {
    SchemaDefinition::inline("ledger", include_str!("../../schema/ledger.sql"))
}

impl Ledger {
    /// Starts the writer on `tracker`. It ends when the ledger is [drained](Self::drain).
    pub async fn start(
        database: &DbPool,
        options: LedgerOptions,
        projections: Vec<Arc<dyn Projection>>,
        ambient: &Ambient,
        tracker: &TaskTracker,
        metrics: &Metrics,
    ) -> Result<Arc<Self>, LedgerError> {
        let shared = Arc::new(Shared {
            queue: Queue::new(options.settings.queue_limit as usize, LedgerMetrics::register(metrics)),
            ambient: ambient.clone(),
            settings: options.settings,
            retention: options.retention,
            instance_id: options.instance_id,
            chain: chains::chain_of(&options.name),
            name: options.name,
            exclusive: options.exclusive,
            started_at: micros(ambient.now()),
            inherited: AtomicI64::new(i64::MAX),
            not_before: AtomicI64::new(0),
            written: Notify::new(),
        });
        segments::prepare(database.write(), ambient.now()).await.map_err(LedgerError::Connect)?;
        let (ended, abort) = (CancellationToken::new(), CancellationToken::new());
        let (writer, found) = Writer::connect(Arc::clone(&shared), database, abort.clone()).await?;
        shared.inherited.store(found.oldest_open, Ordering::Relaxed);
        let done = ended.clone().drop_guard();
        tracker.spawn(async move {
            writer.run().await;
            drop(done);
        });
        let projector = Arc::new(Projector::new(database, projections, metrics));
        Ok(Arc::new(Self {
            shared,
            database: Arc::clone(database),
            projector,
            checkpoints: options.checkpoints,
            found_until: found.head.seq,
            ended,
            abort,
        }))
    }

    /// Closes what dead servers left open and gives the number of actions closed. Nothing is done while another replica is
    /// at it.
    pub async fn recover(&self) -> Result<u64, LedgerError> {
        recovery::recover(self).await.map_err(|error| LedgerError::Recovery(Box::new(error)))
    }

    /// Deletes content that was kept for long enough, and gives the number of actions it belonged to.
    pub async fn sweep(&self) -> Result<u64, sqlx::Error> {
        sweep::sweep(self.database.write(), &self.shared.retention, self.shared.ambient.now()).await
    }

    /// Drops the months of the log that were kept for long enough, and gives their number. None is unless the profile says
    /// so.
    pub async fn drop_expired(&self) -> Result<u64, SegmentError> {
        segments::drop_expired(self).await
    }

    /// Keeps the ledger in order until `shutdown`: closes what dead servers left open, deletes expired content, prepares
    /// and drops segments, takes a checkpoint every hour.
    pub async fn maintain(self: Arc<Self>, shutdown: CancellationToken) {
        sweep::maintain(&self, shutdown).await;
    }

    /// Keeps the projections up until `shutdown`.
    pub async fn project(self: Arc<Self>, shutdown: CancellationToken) {
        self.projector.run(&self.shared.written, shutdown).await;
    }

    /// Applies to the projections whatever is in the log by now: for a reader that must see its own write.
    pub async fn catch_up(&self) -> Result<(), CatchUpError> {
        self.projector.catch_up().await
    }

    /// What keeps the projections up.
    pub fn projector(&self) -> &Arc<Projector> {
        &self.projector
    }

    /// The installation that writes, which names its chain.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Whether entries can be written as far as is known.
    pub fn is_available(&self) -> bool {
        self.shared.queue.is_available()
    }

    /// Admits nothing any more, waits until everything is written and a last checkpoint is taken, for `limit` at most.
    /// Gives whether everything was written.
    pub async fn drain(&self, limit: Duration) -> bool {
        let deadline = Instant::now() + limit;
        self.shared.queue.close();
        // It is written after everything that waits.
        if timeout(limit / 2, self.checkpoint("shutdown")).await.is_err() {
            tracing::warn!("the ledger could not take a checkpoint before it stopped");
        }
        self.shared.queue.finish();
        let drained = timeout(deadline.saturating_duration_since(Instant::now()), self.ended.cancelled()).await.is_ok();
        self.abort.cancel();
        self.ended.cancelled().await;
        drained
    }

    /// Remembers where all chains end: in an entry, in the home and in the log output.
    pub async fn checkpoint(&self, reason: &'static str) {
        let Some(checkpoints) = &self.checkpoints else { return };
        if let Err(error) = checkpoint::take(self, checkpoints, reason).await {
            tracing::warn!(%error, "a checkpoint of the ledger could not be taken");
        }
    }

    pub(crate) fn ambient(&self) -> &Ambient {
        &self.shared.ambient
    }

    pub(crate) fn instance_id(&self) -> InstanceId {
        self.shared.instance_id
    }

    /// Records that an action is admitted. In the durable mode it returns when that is on disk.
    pub(crate) async fn admit(&self, entry: Sealed, effect: &'static str) -> Result<OpenAction, Unavailable> {
        let action = OpenAction::planned(Arc::clone(&self.shared), ActionId::from_uuid(entry.action), effect);
        match self.shared.settings.durability {
            Durability::Durable => {
                let (sender, receiver) = oneshot::channel();
                self.enqueue(entry, Reply::Admitted(Some(sender), action), receiver).await
            }
            Durability::Asynchronous => {
                self.push(entry, Reply::Nobody).await?;
                Ok(action.armed())
            }
        }
    }

    /// Records that an action is refused. It returns when that is on disk, whatever the mode.
    pub(crate) async fn refuse(&self, entry: Sealed) -> Result<(), Unavailable> {
        let (sender, receiver) = oneshot::channel();
        self.enqueue(entry, Reply::Refused(sender), receiver).await
    }

    /// Appends an entry that is about no action of ours, and waits until it is written.
    async fn append(&self, entry: Sealed) -> Result<(), Unavailable> {
        let (next, written) = Following::watched(entry);
        self.shared.queue.push_following(next);
        written.await.map_err(|_| Unavailable)
    }

    async fn enqueue<T>(&self, entry: Sealed, reply: Reply, written: oneshot::Receiver<T>) -> Result<T, Unavailable> {
        let written = async {
            self.push(entry, reply).await?;
            written.await.map_err(|_| Unavailable)
        };
        timeout(ADMISSION_WAIT, written).await.unwrap_or(Err(Unavailable))
    }

    async fn push(&self, entry: Sealed, reply: Reply) -> Result<(), Unavailable> {
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
        let pending = Pending { entry, reply, _slot: slot, queued: Instant::now() };
        queue.push_decision(pending).map_err(|_| Unavailable)
    }
}

impl Shared {
    /// What may be kept of content.
    pub(crate) fn retention(&self) -> &Retention {
        &self.retention
    }

    /// The clock entries are dated by.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.ambient.now()
    }

    fn not_before(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.not_before.load(Ordering::Relaxed)).unwrap_or_default()
    }
}
