//! The ledger of one server, for those who append to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_extension::ledger::Projection;
use systemprompt_model::{ActionId, Ambient, InstanceId};
use tokio::sync::{Notify, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::checkpoint::Checkpoints;
use super::content::KeptPart;
use super::entry::Sealed;
use super::error::{LedgerError, Unavailable};
use super::journal::Journal;
use super::metrics::LedgerMetrics;
use super::open::{Admission, OpenAction};
use super::projector::{CatchUpError, Projector};
use super::queue::{Following, Pending, Queue, Told, Waiter};
use super::recent::Recent;
use super::retention::Retention;
use super::retention_clock::RetentionClock;
use super::settings::{AuditProfile, Durability, LedgerSettings};
use super::shared::Shared;
use super::silences::Silences;
use super::text::{Sha, micros};
use super::writer::Writer;
use super::{chains, segments};
use crate::digest::Digester;

/// How long an action waits for its decision to be written before it is refused.
pub const ADMISSION_WAIT: Duration = Duration::from_secs(2);

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
    /// What happens while they cannot be.
    pub audit: AuditProfile,
    /// What is kept of content.
    pub retention: Retention,
    /// Where entries are kept that wait in memory; nowhere for a command.
    pub journal: Option<Journal>,
    /// Where it is remembered outside of the database where the chains end; nowhere for a command.
    pub checkpoints: Option<Checkpoints>,
}

/// The ledger of one server. Only the [`Gate`](crate::Gate) appends to it.
pub struct Ledger {
    pub(super) shared: Arc<Shared>,
    pub(super) database: DbPool,
    pub(super) projector: Arc<Projector>,
    pub(super) checkpoints: Option<Checkpoints>,
    /// The entries of this chain that were there at the start, among which recovery looks.
    pub(super) found_until: i64,
    pub(super) ended: CancellationToken,
    pub(super) abort: CancellationToken,
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
        let chain = chains::chain_of(&options.name);
        let shared = Arc::new(Shared {
            queue: Queue::new(
                options.settings.queue_limit as usize,
                LedgerMetrics::register(metrics),
                options.journal.map(Arc::new),
            ),
            ambient: ambient.clone(),
            settings: options.settings,
            audit: options.audit,
            retention: options.retention,
            retention_clock: RetentionClock::default(),
            digester: Digester::default(),
            instance_id: options.instance_id,
            chain,
            name: options.name,
            exclusive: options.exclusive,
            started_at: micros(ambient.now()),
            inherited: AtomicI64::new(i64::MAX),
            not_before: AtomicI64::new(0),
            silences: Silences::default(),
            written: Notify::new(),
            recent: Arc::new(Recent::of(chain)),
        });
        let measured = Arc::clone(&shared);
        metrics.before_reading(move || measured.queue.measure());
        segments::prepare(database.write(), ambient.now()).await.map_err(LedgerError::Connect)?;
        let (ended, abort) = (CancellationToken::new(), CancellationToken::new());
        let (writer, found) = Writer::connect(Arc::clone(&shared), database, abort.clone()).await?;
        shared.inherited.store(found.oldest_open, Ordering::Relaxed);
        let done = ended.clone().drop_guard();
        tracker.spawn(async move {
            writer.run().await;
            drop(done);
        });
        let projector = Arc::new(Projector::beside_writer(database, projections, Arc::clone(&shared.recent), metrics));
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

    /// Keeps the projections up until `shutdown`.
    pub async fn project(self: Arc<Self>, shutdown: CancellationToken) {
        self.projector.run(&self.shared.written, shutdown).await;
    }

    /// Applies to the projections whatever is in the log by now: for a reader that must see its own write.
    pub async fn catch_up(&self) -> Result<(), CatchUpError> {
        self.projector.catch_up().await
    }

    /// The digest that is recorded of these bytes.
    pub(crate) async fn digest(&self, content: &Bytes) -> Sha {
        self.shared.digest(content).await
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

    /// Whether decisions are taken: entries can be written, or kept in the home until they can.
    pub fn takes_decisions(&self) -> bool {
        self.is_available() || self.shared.spool().is_some()
    }

    /// Why entries cannot be written at present, in words for operators.
    pub fn outage(&self) -> Option<String> {
        self.shared.queue.outage().map(|outage| outage.reason)
    }

    /// What is kept of content.
    pub(crate) fn retention(&self) -> &Retention {
        &self.shared.retention
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
        if let Some(spool) = self.shared.spool() {
            self.keep(spool, entry, Vec::new(), true).await?;
            return Ok(action.armed());
        }
        match self.shared.settings.durability {
            Durability::Durable => {
                let (admission, receiver) = Admission::of(action);
                self.enqueue(entry, Vec::new(), true, Box::new(admission), receiver).await
            }
            Durability::Asynchronous => {
                self.push(entry, Vec::new(), true, None).await?;
                Ok(action.armed())
            }
        }
    }

    /// Records that an action is refused, with what is kept of it. It returns when that is on disk, whatever the mode.
    pub(crate) async fn refuse(&self, entry: Sealed, content: Vec<KeptPart>) -> Result<(), Unavailable> {
        if let Some(spool) = self.shared.spool() {
            return self.keep(spool, entry, content, false).await;
        }
        let (told, receiver) = Told::channel();
        self.enqueue(entry, content, false, Box::new(told), receiver).await
    }

    /// Keeps a decision on the home's disk until it can be written.
    async fn keep(
        &self,
        spool: &Arc<Journal>,
        entry: Sealed,
        content: Vec<KeptPart>,
        opens: bool,
    ) -> Result<(), Unavailable> {
        let filed = spool.keep(&entry, &content, true).ok_or(Unavailable)?;
        if let Err(error) = spool.sync(&filed).await {
            tracing::error!(%error, "the ledger's journal cannot be brought to disk");
            filed.settle();
            return Err(Unavailable);
        }
        let queued = Instant::now();
        let pending = Pending { entry, content, opens, waiter: None, filed: Some(filed), _slot: None, queued };
        self.shared.queue.push_decision(pending).map_err(|_| Unavailable)
    }

    /// Appends an entry that is about no action of ours, and waits until it is written.
    pub(super) async fn append(&self, entry: Sealed) -> Result<(), Unavailable> {
        let (next, written) = Following::new(entry).watched();
        self.shared.queue.push_following(next);
        written.await.map_err(|_| Unavailable)
    }

    async fn enqueue<T>(
        &self,
        entry: Sealed,
        content: Vec<KeptPart>,
        opens: bool,
        waiter: Box<dyn Waiter>,
        written: oneshot::Receiver<T>,
    ) -> Result<T, Unavailable> {
        let written = async {
            self.push(entry, content, opens, Some(waiter)).await?;
            written.await.map_err(|_| Unavailable)
        };
        timeout(ADMISSION_WAIT, written).await.unwrap_or(Err(Unavailable))
    }

    async fn push(
        &self,
        entry: Sealed,
        content: Vec<KeptPart>,
        opens: bool,
        waiter: Option<Box<dyn Waiter>>,
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
        let pending = Pending { entry, content, opens, waiter, filed: None, _slot: Some(slot), queued: Instant::now() };
        queue.push_decision(pending).map_err(|_| Unavailable)
    }
}
