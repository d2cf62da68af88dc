//! The one task that writes. It takes everything that waits, writes it in one statement, tells whoever waited, and begins
//! again: while one commit is on its way to the disk the next batch gathers by itself.
//!
//! What can go wrong, and what it does about it:
//!
//! - *Another process of this installation advanced the chain.* Nothing was written. It locks the end of the chain, which
//!   queues it fairly behind the others, and writes from there.
//! - *The connection broke during the statement.* Whether it was committed is unknown. On the next connection it asks
//!   whether its last link is in the chain, and so neither loses nor repeats an entry: by connecting it begins a new
//!   generation of the chain, in which the old statement cannot write any more.
//! - *The database is away, or takes nothing:* its disk is full, it is read-only, it stands still. Callers are let go at once
//!   and new ones refused; outcomes stay in the queue. It counts as back when it has written what waits or, if nothing does,
//!   a rehearsal; to be connected is not enough.
//! - *One entry is not acceptable to the database.* The batch is halved until that entry stands alone, and only it is
//!   left out, unless a rehearsal is not acceptable either.
//!
//! When there is nothing to write it asks twice a second whether the database still answers.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use systemprompt_database::DbPool;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::chain::{Head, Link};
use super::chains::{self, Announced};
use super::error::LedgerError;
use super::metrics::Dropped;
use super::outage;
use super::queue::{BATCH_LIMIT, Batch, Pending};
use super::read::LoggedEntry;
use super::rehearsal;
use super::settings::{Durability, OnStoreFailure};
use super::shared::Shared;
use super::text::micros;
use super::write::{Rows, write};

/// How often a server that writes nothing says that it lives.
const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// How long an outcome waits for a decision to travel with. A lone client then costs one commit per request instead of
/// two, and its next request never waits for the commit of the last one's outcome.
const LINGER: Duration = Duration::from_millis(10);

/// How long anything waits in the asynchronous mode for a fuller batch.
const ASYNCHRONOUS_LINGER: Duration = Duration::from_millis(5);

/// How often the database is asked whether it is there while there is nothing to write.
const PULSE_EVERY: Duration = Duration::from_millis(500);

/// A statement that takes longer than this lets new callers be refused at once. Together with the pulse it is less than the
/// two seconds within which everybody is told of an outage.
const STALLED_AFTER: Duration = Duration::from_millis(1400);

/// A statement that takes longer than this is given up with its connection.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(15);

/// How often a batch is tried on a new connection while connecting works.
const ATTEMPTS: usize = 4;

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// How long each step of the goodbye may take.
const GOODBYE_WITHIN: Duration = Duration::from_secs(2);

/// Waits between attempts to connect while the database is away.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    shared: Arc<Shared>,
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    head: Head,
    /// The chain's generation that our connection began.
    generation: i64,
    /// The end of the chain after a batch of which it is unknown whether it was committed, and that batch.
    unresolved: Option<(Head, Batch)>,
    /// Written and not ended, of this run.
    open: OpenActions,
    /// Decisions of the asynchronous mode that could not be written; what follows them has nothing to belong to.
    lost: HashSet<Uuid>,
    last_heartbeat: Instant,
    /// When the database answered last.
    last_answer: Instant,
    /// Ends the writer even if records are left.
    abort: CancellationToken,
}

/// Actions by the place of their decision in the chain.
#[derive(Default)]
struct OpenActions {
    places: HashMap<Uuid, i64>,
    ordered: BTreeSet<i64>,
}

impl OpenActions {
    fn insert(&mut self, action: Uuid, seq: i64) {
        if let Some(earlier) = self.places.insert(action, seq) {
            self.ordered.remove(&earlier);
        }
        self.ordered.insert(seq);
    }

    fn remove(&mut self, action: Uuid) {
        if let Some(seq) = self.places.remove(&action) {
            self.ordered.remove(&seq);
        }
    }

    fn contains(&self, action: Uuid) -> bool {
        self.places.contains_key(&action)
    }

    fn oldest(&self) -> Option<i64> {
        self.ordered.first().copied()
    }
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// The database took the statement and refused what it says.
    #[error("an entry was refused")]
    Refused(#[source] sqlx::Error),
    /// It did not answer, or broke off.
    #[error("the connection to the database broke")]
    Broken(#[source] sqlx::Error),
    /// It cannot be reached.
    #[error("the database is away")]
    Away(#[source] sqlx::Error),
}

impl WriteError {
    fn timed_out() -> Self {
        let error = std::io::Error::new(std::io::ErrorKind::TimedOut, "no answer in time");
        Self::Broken(sqlx::Error::Io(error))
    }

    fn into_away(self) -> Self {
        match self {
            Self::Broken(cause) => Self::Away(cause),
            other => other,
        }
    }

    fn cause(&self) -> &sqlx::Error {
        let (Self::Refused(cause) | Self::Broken(cause) | Self::Away(cause)) = self;
        cause
    }
}

impl From<sqlx::Error> for WriteError {
    fn from(error: sqlx::Error) -> Self {
        let about_an_entry = match &error {
            sqlx::Error::Encode(_) => true,
            // Data exceptions and violated constraints, except of the chain itself: that is no entry's fault.
            sqlx::Error::Database(database) => {
                database.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
                    && !database.table().is_some_and(|table| table.starts_with("ledger_chains"))
            }
            _ => false,
        };
        if about_an_entry { Self::Refused(error) } else { Self::Broken(error) }
    }
}

impl Writer {
    /// Connects, announces the installation, and is ready to [run](Self::run). Also gives what it found.
    pub(super) async fn connect(
        shared: Arc<Shared>,
        database: &DbPool,
        abort: CancellationToken,
    ) -> Result<(Self, Announced), LedgerError> {
        let options = PgConnectOptions::clone(&database.write().connect_options());
        let name = format!("{}:ledger", options.get_application_name().unwrap_or("systemprompt"));
        let shared_chain = shared.chain;
        let mut writer = Self {
            shared,
            options: options.application_name(&name),
            connection: None,
            head: Head::first(shared_chain),
            generation: 0,
            unresolved: None,
            open: OpenActions::default(),
            lost: HashSet::new(),
            last_heartbeat: Instant::now(),
            last_answer: Instant::now(),
            abort,
        };
        match writer.reconnect().await {
            Ok(announced) => Ok((writer, announced)),
            Err(WriteError::Away(error) | WriteError::Broken(error) | WriteError::Refused(error)) => {
                Err(LedgerError::Connect(error))
            }
        }
    }

    /// Writes until the ledger is closed and nothing is left.
    pub(super) async fn run(mut self) {
        let abort = self.abort.clone();
        if abort.run_until_cancelled(self.write_everything()).await.is_some()
            && self.may_sign_off()
            && let Some(connection) = &mut self.connection
        {
            let signed_off = timeout(GOODBYE_WITHIN, chains::end(connection, self.shared.chain));
            if !matches!(signed_off.await, Ok(Ok(()))) {
                tracing::warn!("the ledger could not sign off; the next start looks for open actions");
            }
        }
        let lost = self.shared.queue.end() + self.unresolved.map_or(0, |(_, batch)| batch.following.len());
        if lost > 0 {
            tracing::error!(entries = lost, "the ledger stopped before everything was written");
        }
        if let Some(journal) = self.shared.queue.journal() {
            // What is not on disk is in the ledger, or is told of as lost.
            let _ = journal.turn();
        }
        if let Some(connection) = self.connection {
            // Everything is committed; whether the goodbye arrives changes nothing.
            let _ = timeout(GOODBYE_WITHIN, connection.close()).await;
        }
    }

    /// Nothing of this chain is open, so nobody needs to look after it. Another process may write a shared one.
    fn may_sign_off(&self) -> bool {
        self.shared.exclusive
            && self.open.oldest().is_none()
            && self.shared.inherited.load(Ordering::Relaxed) == i64::MAX
    }

    async fn write_everything(&mut self) {
        while let Some(batch) = self.next_batch().await {
            let batch = self.assemble(batch);
            let begun = Instant::now();
            let done = if batch.is_empty() { self.keep_in_touch().await } else { self.commit(batch).await };
            if let Err(error) = done {
                self.stand_by(begun, &error).await;
            }
        }
    }

    /// Waits until a batch should be written. It is empty when only a sign of life is due, absent when all is done.
    async fn next_batch(&mut self) -> Option<Batch> {
        let queue = &self.shared.queue;
        // Callers that are ready to queue their records do so now and share this commit.
        tokio::task::yield_now().await;
        loop {
            let backlog = queue.backlog();
            let waiting = backlog.decisions + backlog.following;
            let start = match self.shared.settings.durability {
                _ if waiting == 0 => None,
                _ if backlog.closed || waiting >= BATCH_LIMIT => Some(Instant::now()),
                Durability::Durable if backlog.decisions > 0 => Some(Instant::now()),
                Durability::Durable => backlog.oldest_following.map(|queued| queued + LINGER),
                Durability::Asynchronous => {
                    let oldest = backlog.oldest_decision.into_iter().chain(backlog.oldest_following).min();
                    oldest.map(|queued| queued + ASYNCHRONOUS_LINGER)
                }
            };
            if waiting == 0 && backlog.finishing {
                return None;
            }
            let pulse = self.last_answer + PULSE_EVERY;
            let now = Instant::now();
            if start.is_some_and(|start| start <= now) {
                return Some(queue.take());
            }
            if pulse <= now {
                return Some(Batch::default());
            }
            let wake = start.map_or(pulse, |start| start.min(pulse));
            // Woken early or late, the loop looks again.
            let _ = timeout(wake - now, queue.arrived()).await;
        }
    }

    /// Puts back what follows a decision that is not written yet. In the durable mode there is none.
    fn assemble(&mut self, batch: Batch) -> Batch {
        // There, whoever has an end had a commit before, unless the decision was kept in the home meanwhile.
        let may_be_early = self.shared.audit.on_store_failure == OnStoreFailure::Spool;
        if self.shared.settings.durability == Durability::Durable && !may_be_early {
            return batch;
        }
        let Batch { decisions, following } = batch;
        let decided: HashSet<Uuid> = decisions.iter().map(|pending| pending.entry.action).collect();
        let (mut ready, mut early) = (Vec::with_capacity(following.len()), Vec::new());
        for next in following {
            let action = next.entry.action;
            if next.stands_alone() || self.open.contains(action) || decided.contains(&action) {
                ready.push(next);
            } else if self.lost.contains(&action) {
                if next.closes() {
                    self.lost.remove(&action);
                }
                drop(next.given_up());
                self.shared.queue.metrics.dropped(Dropped::Outcome);
            } else {
                early.push(next);
            }
        }
        if !early.is_empty() {
            self.shared.queue.put_back(Batch { decisions: Vec::new(), following: early });
        }
        Batch { decisions, following: ready }
    }

    /// Writes the batch, or halves it around an entry the database refuses. An error means the database is away; what
    /// was not written is in the queue again or unresolved.
    async fn commit(&mut self, batch: Batch) -> Result<(), WriteError> {
        // The next to write is the last of them.
        let mut parts = vec![batch];
        while let Some(mut batch) = parts.pop() {
            if batch.is_empty() {
                continue;
            }
            let started = Instant::now();
            let mut doubt = None;
            let mut result = self.attempt(&batch, &mut doubt).await;
            for _ in 1..ATTEMPTS {
                // A connection may have been closed under us while it was idle; again on a new one.
                let Err(WriteError::Broken(error)) = &result else { break };
                tracing::debug!(%error, "the ledger's connection was lost, trying a new one");
                result = self.attempt(&batch, &mut doubt).await;
            }
            match result {
                Ok(end) => {
                    self.settle(batch, &end, started);
                    self.shared.queue.reopen();
                }
                Err(WriteError::Refused(error)) if batch.len() == 1 => {
                    if let Err(any) = self.rehearse().await {
                        parts.push(batch);
                        for waits in parts {
                            self.give_back(waits);
                        }
                        return Err(any);
                    }
                    self.leave_out(batch, &error);
                }
                Err(WriteError::Refused(_)) => {
                    let (first, second) = batch.halves();
                    parts.extend([second, first]);
                }
                Err(away) => {
                    for later in parts {
                        self.give_back(later);
                    }
                    match doubt {
                        Some(end) => {
                            batch.release_callers();
                            self.unresolved = Some((end, batch));
                        }
                        None => self.give_back(batch),
                    }
                    return Err(away);
                }
            }
        }
        Ok(())
    }

    /// Writes the batch once and gives the end of the chain after it. Afterwards `doubt` holds the end it would have made
    /// if it is unknown whether it did.
    async fn attempt(&mut self, batch: &Batch, doubt: &mut Option<Head>) -> Result<Head, WriteError> {
        if self.connection.is_none() {
            self.reconnect().await?;
            if let Some(end) = *doubt {
                let written = self.is_in_chain(&end).await?;
                *doubt = None;
                if written {
                    return Ok(end);
                }
            }
        }
        let mut connection = self.take_connection()?;
        let shared = Arc::clone(&self.shared);
        let chain = shared.chain;
        let now = micros(shared.ambient.now()).max(shared.not_before());
        let (links, end) = self.head.extend(batch.entries(), now);
        let oldest_open = self.oldest_open(batch, &links, &end);
        *doubt = Some(end);
        let rows = Rows::new(batch, links);
        let statement = write(&mut connection, chain, self.generation, &self.head, &end, oldest_open, &rows);
        let mut result = bounded(&shared, statement).await;
        let (mut reached, mut current) = (end, self.generation);
        if matches!(result, Ok(false)) {
            *doubt = None;
            result = bounded(&shared, async {
                let mut transaction = connection.begin().await?;
                // In the order in which the one statement takes them, and whoever drops a month of the log.
                sqlx::query!("LOCK TABLE ledger IN ROW EXCLUSIVE MODE").execute(&mut *transaction).await?;
                let (head, generation) = chains::lock_end(&mut transaction, chain).await?;
                let (links, end) = head.extend(batch.entries(), now);
                let oldest_open = self.oldest_open(batch, &links, &end);
                *doubt = Some(end);
                reached = end;
                let rows = Rows::new(batch, links);
                let written = write(&mut transaction, chain, generation, &head, &end, oldest_open, &rows).await?;
                current = generation;
                transaction.commit().await?;
                Ok(written)
            })
            .await;
        }
        match result {
            Ok(true) => {
                (self.head, self.generation) = (reached, current);
                self.last_heartbeat = Instant::now();
                self.last_answer = self.last_heartbeat;
                self.connection = Some(connection);
                *doubt = None;
                Ok(reached)
            }
            // The row is locked and was just read, so this means it is not there.
            Ok(false) => Err(WriteError::Broken(sqlx::Error::RowNotFound)),
            Err(WriteError::Refused(error)) => {
                self.connection = Some(connection);
                *doubt = None;
                Err(WriteError::Refused(error))
            }
            Err(broken) => Err(broken),
        }
    }

    /// No action whose decision comes earlier in the chain is open once the batch is written.
    fn oldest_open(&self, batch: &Batch, links: &[Link], end: &Head) -> i64 {
        let new = batch.decisions.iter().zip(links).find(|(pending, _)| pending.opens).map(|(_, link)| link.seq);
        let inherited = self.shared.inherited.load(Ordering::Relaxed);
        [self.open.oldest(), new].into_iter().flatten().fold(inherited.min(end.seq + 1), i64::min)
    }

    /// Tells everybody who waited that the batch is written, ending in `end`.
    fn settle(&mut self, batch: Batch, end: &Head, started: Instant) {
        self.shared.queue.metrics.committed(batch.len(), batch.oldest(), started.elapsed());
        let first = end.seq - batch.len() as i64 + 1;
        let mut written = Vec::with_capacity(batch.len());
        for (pending, seq) in batch.decisions.into_iter().zip(first..) {
            if pending.opens {
                self.open.insert(pending.entry.action, seq);
            }
            if let Some(waiter) = pending.waiter {
                waiter.written();
            }
            if let Some(filed) = pending.filed {
                filed.settle();
            }
            written.push(pending.entry);
        }
        for next in batch.following {
            if next.closes() {
                self.open.remove(next.entry.action);
            }
            written.push(next.tell_written());
        }
        let chain = self.shared.chain;
        let logged = written.into_iter().zip(first..).map(|(entry, seq)| LoggedEntry {
            chain,
            seq,
            at: end.at,
            kind: entry.kind.as_str().to_owned(),
            action: entry.action,
            body: entry.body,
        });
        self.shared.recent.keep(logged);
        self.shared.written.notify_one();
    }

    /// Puts back what was not written. Callers that wait are let go: nothing of theirs was recorded or done.
    fn give_back(&mut self, mut batch: Batch) {
        batch.decisions.retain(|pending| pending.waiter.is_none());
        self.shared.queue.put_back(batch);
    }

    /// Drops the one entry the database refuses, so that it does not hold up the others.
    fn leave_out(&mut self, batch: Batch, error: &sqlx::Error) {
        for Pending { entry, waiter, filed, .. } in batch.decisions {
            if let Some(filed) = filed {
                filed.settle();
            }
            tracing::error!(action.id = %entry.action, %error, "a decision was refused by the database and left out");
            self.shared.queue.metrics.dropped(Dropped::Decision);
            if waiter.is_none() {
                self.lost.insert(entry.action);
            }
        }
        for next in batch.following {
            let entry = next.given_up();
            tracing::error!(
                action.id = %entry.action, kind = %entry.kind, %error,
                "an entry was refused by the database and left out"
            );
            self.shared.queue.metrics.dropped(Dropped::Outcome);
        }
    }

    /// Comes back when entries can be written again, which was found not to be so `since` then.
    async fn stand_by(&mut self, since: Instant, error: &WriteError) {
        let shared = Arc::clone(&self.shared);
        shared.queue.shut(since, &outage::reason(error.cause()));
        let mut wait = FIRST_RETRY;
        loop {
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRY);
            // The ends of what is done meanwhile; decisions were synced before.
            if let Some(spool) = shared.spool() {
                let _ = spool.sync_all().await;
            }
            match self.try_again().await {
                Ok(()) => break,
                Err(error) => shared.queue.shut(since, &outage::reason(error.cause())),
            }
        }
        shared.queue.reopen();
    }

    /// Writes what waits. If nothing does, a rehearsal tells whether anything could be written.
    async fn try_again(&mut self) -> Result<(), WriteError> {
        if self.connection.is_none() {
            self.reconnect().await?;
        }
        let batch = self.shared.queue.take();
        let batch = self.assemble(batch);
        if batch.is_empty() { self.rehearse().await } else { self.commit(batch).await }
    }

    /// Writes entries that say nothing, with the statement all are written with, and takes them back.
    async fn rehearse(&mut self) -> Result<(), WriteError> {
        let batch = rehearsal::batch();
        let mut connection = self.take_connection()?;
        let (links, end) = self.head.extend(batch.entries(), micros(self.shared.ambient.now()));
        let oldest_open = self.oldest_open(&batch, &links, &end);
        let rows = Rows::new(&batch, links);
        let rehearsed = async {
            let mut transaction = connection.begin().await?;
            let (chain, generation) = (self.shared.chain, self.generation);
            write(&mut transaction, chain, generation, &self.head, &end, oldest_open, &rows).await?;
            transaction.rollback().await
        };
        // Whether the chain still ended there does not matter: another process of this installation may have written.
        bounded(&self.shared, rehearsed).await.map_err(WriteError::into_away)?;
        self.connection = Some(connection);
        self.last_answer = Instant::now();
        Ok(())
    }

    /// Opens a connection, says that this installation lives, reads the end of the chain, and finds out about a batch of
    /// which it was unknown whether it was written.
    async fn reconnect(&mut self) -> Result<Announced, WriteError> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            // Behind a pooler sessions are shared, so their settings are left alone.
            if self.options.get_options().is_some() {
                prepare_session(&mut connection).await?;
            }
            let Shared { chain, name, started_at, .. } = &*self.shared;
            let announced = chains::announce(&mut connection, *chain, name, *started_at).await?;
            Ok::<_, sqlx::Error>((connection, announced))
        };
        let connected = timeout(CONNECT_WITHIN, connecting).await.map_err(|_| WriteError::timed_out().into_away())?;
        let (connection, announced) = connected.map_err(WriteError::Away)?;
        self.connection = Some(connection);
        self.shared.recent.forget();
        self.head = announced.head;
        self.generation = announced.generation;
        self.last_heartbeat = Instant::now();
        self.last_answer = self.last_heartbeat;
        if let Some((end, batch)) = self.unresolved.take() {
            match self.is_in_chain(&end).await {
                Ok(true) => self.settle(batch, &end, Instant::now()),
                Ok(false) => self.give_back(batch),
                Err(error) => {
                    self.unresolved = Some((end, batch));
                    return Err(error);
                }
            }
        }
        Ok(announced)
    }

    async fn is_in_chain(&mut self, end: &Head) -> Result<bool, WriteError> {
        let mut connection = self.take_connection()?;
        let found = bounded(&self.shared, chains::has(&mut connection, self.shared.chain, end)).await?;
        self.connection = Some(connection);
        Ok(found)
    }

    /// Finds out whether the database still answers, and says now and then that this installation's writer lives.
    async fn keep_in_touch(&mut self) -> Result<(), WriteError> {
        if self.last_answer.elapsed() < PULSE_EVERY {
            return Ok(());
        }
        match self.touch().await {
            // The connection may have been closed while it was idle, which is no outage if there is another one.
            Err(WriteError::Broken(_)) => {
                self.reconnect().await?;
            }
            other => other?,
        }
        self.last_answer = Instant::now();
        self.shared.queue.reopen();
        Ok(())
    }

    async fn touch(&mut self) -> Result<(), WriteError> {
        let is_due = self.last_heartbeat.elapsed() >= HEARTBEAT_EVERY;
        let mut connection = self.take_connection()?;
        bounded(&self.shared, async {
            if is_due { chains::heartbeat(&mut connection, self.shared.chain).await } else { connection.ping().await }
        })
        .await?;
        if is_due {
            self.last_heartbeat = Instant::now();
        }
        self.connection = Some(connection);
        Ok(())
    }

    /// The connection, for one statement. Whoever takes it puts it back unless it is broken.
    fn take_connection(&mut self) -> Result<PgConnection, WriteError> {
        self.connection.take().ok_or_else(|| WriteError::Broken(sqlx::Error::PoolClosed))
    }
}

/// Runs a statement with our patience: after a while callers are let go and new ones refused, later it is given up.
async fn bounded<T>(shared: &Shared, statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, WriteError> {
    let since = Instant::now();
    let mut statement = pin!(statement);
    if let Ok(result) = timeout(STALLED_AFTER, &mut statement).await {
        return Ok(result?);
    }
    shared.queue.shut(since, "PostgreSQL does not answer");
    Ok(timeout(GIVEN_UP_AFTER, statement).await.map_err(|_| WriteError::timed_out())??)
}

/// Settings of the writer's own session. Its statement is planned once and for any table size: a plan made while the
/// tables were small would read them from end to end later. The server ends a statement before we give it up, and a
/// transaction that we left half-way, so that neither keeps the chain locked. Content is compressed with LZ4 where the server has it,
/// which costs a fifth of its own method.
async fn prepare_session(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        SELECT
            set_config('plan_cache_mode', 'force_generic_plan', FALSE) AS plan_cache_mode,
            set_config('enable_seqscan', 'off', FALSE) AS seqscan,
            set_config('enable_hashjoin', 'off', FALSE) AS hashjoin,
            set_config('enable_mergejoin', 'off', FALSE) AS mergejoin,
            set_config('jit', 'off', FALSE) AS jit,
            set_config('statement_timeout', '12s', FALSE) AS statement_timeout,
            set_config('idle_in_transaction_session_timeout', '10s', FALSE) AS idle_timeout,
            (
                SELECT set_config('default_toast_compression', 'lz4', FALSE)
                FROM pg_settings
                WHERE name = 'default_toast_compression' AND 'lz4' = ANY (enumvals)
            ) AS compression
        "#
    )
    .fetch_one(connection)
    .await?;
    Ok(())
}
