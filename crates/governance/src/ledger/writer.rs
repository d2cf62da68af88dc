//! The one task that writes. It takes everything that waits, writes it in one statement, tells whoever waited, and begins
//! again: while one commit is on its way to the disk the next batch gathers by itself.
//!
//! What can go wrong, and what it does about it:
//!
//! - *Another replica advanced the chain.* Nothing was written. It locks the end of the chain, which queues it fairly
//!   behind the others, and writes from there.
//! - *The connection broke during the statement.* Whether it was committed is unknown. On the next connection it asks
//!   whether its last link is in the chain, and so neither loses nor repeats a record.
//! - *The database is away.* Callers are let go at once and new ones refused; outcomes stay in the queue.
//! - *One record is not acceptable to the database.* The batch is halved until that record stands alone, and only it is
//!   left out.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use systemprompt_database::DbPool;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::chain::Head;
use super::instances::{self, HEARTBEAT_EVERY, LOW_WATER_SLACK};
use super::metrics::RecordKind;
use super::queue::{BATCH_LIMIT, Batch, Reply, first_id_at};
use super::settings::Durability;
use super::write::{Rows, write};
use super::{LedgerError, Shared};

/// How long an outcome waits for an admission to travel with. A lone client then costs one commit per request instead of
/// two, and its next request never waits for the commit of the last one's outcome.
const LINGER: Duration = Duration::from_millis(10);

/// How long anything waits in the asynchronous mode for a fuller batch.
const ASYNCHRONOUS_LINGER: Duration = Duration::from_millis(5);

/// A statement that takes longer than this lets new callers be refused at once.
const STALLED_AFTER: Duration = Duration::from_secs(2);

/// A statement that takes longer than this is given up with its connection.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(15);

/// How often a batch is tried on a new connection while connecting works.
const ATTEMPTS: usize = 4;

/// How long connecting may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);

/// Waits between attempts to connect while the database is away.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(1);

pub(super) struct Writer {
    shared: Arc<Shared>,
    options: PgConnectOptions,
    connection: Option<PgConnection>,
    head: Head,
    /// The end of the chain after a batch of which it is unknown whether it was committed, and that batch.
    unresolved: Option<(Head, Batch)>,
    /// Written and not ended, of this instance.
    open: BTreeSet<Uuid>,
    /// Admissions of the asynchronous mode that could not be written; their outcomes have nothing to belong to.
    lost: HashSet<Uuid>,
    /// The bound of open requests that the instance's row shows.
    low_water: Uuid,
    last_heartbeat: Instant,
    /// Ends the writer even if records are left.
    abort: CancellationToken,
}

#[derive(Debug, thiserror::Error)]
enum WriteError {
    /// The database took the statement and refused what it says.
    #[error("a record was refused")]
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
        let about_a_record = match &error {
            sqlx::Error::Encode(_) => true,
            // Data exceptions and violated constraints, except of the chain itself: that is no record's fault.
            sqlx::Error::Database(database) => {
                database.code().is_some_and(|code| code.starts_with("22") || code.starts_with("23"))
                    && !database.table().is_some_and(|table| table.starts_with("audit_chain"))
            }
            _ => false,
        };
        if about_a_record { Self::Refused(error) } else { Self::Broken(error) }
    }
}

impl Writer {
    /// Connects, announces the instance, and is ready to [run](Self::run).
    pub(super) async fn connect(
        shared: Arc<Shared>,
        database: &DbPool,
        abort: CancellationToken,
    ) -> Result<Self, LedgerError> {
        let options = PgConnectOptions::clone(&database.write().connect_options());
        let name = format!("{}:ledger", options.get_application_name().unwrap_or("systemprompt"));
        let low_water = first_id_at(shared.ambient.now());
        let mut writer = Self {
            shared,
            options: options.application_name(&name),
            connection: None,
            head: Head { seq: 0, hash: [0; 32] },
            unresolved: None,
            open: BTreeSet::new(),
            lost: HashSet::new(),
            low_water,
            last_heartbeat: Instant::now(),
            abort,
        };
        match writer.reconnect().await {
            Ok(()) => Ok(writer),
            Err(WriteError::Away(error) | WriteError::Broken(error) | WriteError::Refused(error)) => {
                Err(LedgerError::Connect(error))
            }
        }
    }

    /// Writes until the ledger is closed and nothing is left.
    pub(super) async fn run(mut self) {
        let abort = self.abort.clone();
        if abort.run_until_cancelled(self.write_everything()).await.is_some() && self.open.is_empty() {
            // Nothing of this instance is open, so nobody needs to look after it.
            if let Some(connection) = &mut self.connection
                && let Err(error) = instances::end(connection, self.shared.instance_id, self.shared.ambient.now()).await
            {
                tracing::warn!(%error, "the ledger could not sign off; the next start looks for open requests");
            }
        }
        let lost = self.shared.queue.end() + self.unresolved.map_or(0, |(_, batch)| batch.closings.len());
        if lost > 0 {
            tracing::error!(records = lost, "the ledger stopped before everything was written");
        }
        if let Some(connection) = self.connection {
            // Everything is committed; whether the goodbye arrives changes nothing.
            let _ = connection.close().await;
        }
    }

    async fn write_everything(&mut self) {
        while let Some(batch) = self.next_batch().await {
            self.heartbeat_if_due().await;
            let batch = self.assemble(batch);
            if let Err(error) = self.commit(batch).await {
                self.wait_for_database(&error).await;
            }
        }
    }

    /// Waits until a batch should be written. It is empty when only a heartbeat is due, absent when all is done.
    async fn next_batch(&mut self) -> Option<Batch> {
        let queue = &self.shared.queue;
        // Callers that are ready to queue their records do so now and share this commit.
        tokio::task::yield_now().await;
        loop {
            let backlog = queue.backlog();
            let waiting = backlog.admissions + backlog.closings;
            let start = match self.shared.settings.durability {
                _ if waiting == 0 => None,
                _ if backlog.closed || waiting >= BATCH_LIMIT => Some(Instant::now()),
                Durability::Durable if backlog.admissions > 0 => Some(Instant::now()),
                Durability::Durable => backlog.oldest_closing.map(|queued| queued + LINGER),
                Durability::Asynchronous => {
                    let oldest = backlog.oldest_admission.into_iter().chain(backlog.oldest_closing).min();
                    oldest.map(|queued| queued + ASYNCHRONOUS_LINGER)
                }
            };
            if waiting == 0 && backlog.closed {
                return None;
            }
            let heartbeat = self.last_heartbeat + HEARTBEAT_EVERY;
            let now = Instant::now();
            if start.is_some_and(|start| start <= now) {
                return Some(queue.take());
            }
            if heartbeat <= now {
                return Some(Batch::default());
            }
            let wake = start.map_or(heartbeat, |start| start.min(heartbeat));
            // Woken early or late, the loop looks again.
            let _ = timeout(wake - now, queue.arrived()).await;
        }
    }

    /// Joins outcomes with admissions of the same batch, and puts back those whose admission is not written yet. In the
    /// durable mode there are neither.
    fn assemble(&mut self, batch: Batch) -> Batch {
        if self.shared.settings.durability == Durability::Durable {
            return batch;
        }
        let Batch { mut admissions, closings } = batch;
        let places: HashMap<_, _> =
            admissions.iter().enumerate().map(|(index, pending)| (pending.record.id, index)).collect();
        let (mut ready, mut early) = (Vec::with_capacity(closings.len()), Vec::new());
        for closing in closings {
            let id = closing.closing.id;
            if self.open.contains(&id) || closing.closing.status == "abandoned" {
                ready.push(closing);
            } else if let Some(index) = places.get(&id) {
                admissions[*index].closing = Some(closing);
            } else if self.lost.remove(&id) {
                self.shared.queue.metrics.dropped(RecordKind::Outcome);
            } else {
                early.push(closing);
            }
        }
        if !early.is_empty() {
            self.shared.queue.put_back(Batch { admissions: Vec::new(), closings: early });
        }
        Batch { admissions, closings: ready }
    }

    /// Writes the batch, or halves it around a record the database refuses. An error means the database is away; what
    /// was not written is in the queue again or unresolved.
    fn commit(&mut self, mut batch: Batch) -> BoxFuture<'_, Result<(), WriteError>> {
        Box::pin(async move {
            if batch.is_empty() {
                return Ok(());
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
                Ok(()) => {
                    self.settle(batch, started);
                    Ok(())
                }
                Err(error @ (WriteError::Broken(_) | WriteError::Away(_))) => {
                    match doubt {
                        Some(end) => {
                            batch.release_callers();
                            self.unresolved = Some((end, batch));
                        }
                        None => self.give_back(batch),
                    }
                    Err(error)
                }
                Err(WriteError::Refused(error)) if batch.len() == 1 => {
                    self.leave_out(batch, &error);
                    Ok(())
                }
                Err(WriteError::Refused(_)) => {
                    let (first, second) = batch.halves();
                    if let Err(error) = self.commit(first).await {
                        self.give_back(second);
                        return Err(error);
                    }
                    self.commit(second).await
                }
            }
        })
    }

    /// Writes the batch once. Afterwards `doubt` holds the end of the chain it would have made if it is unknown whether
    /// it did.
    async fn attempt(&mut self, batch: &Batch, doubt: &mut Option<Head>) -> Result<(), WriteError> {
        if self.connection.is_none() {
            self.reconnect().await?;
            if let Some(end) = *doubt {
                let written = self.is_in_chain(&end).await?;
                *doubt = None;
                if written {
                    return Ok(());
                }
            }
        }
        // The instance's row must bound its open requests before they exist.
        let smallest = batch.admissions.iter().map(|pending| pending.record.id).min();
        if let Some(id) = smallest.filter(|id| *id < self.low_water) {
            self.heartbeat(Some(id)).await?;
        }

        let mut connection = self.take_connection()?;
        let shared = Arc::clone(&self.shared);
        let (links, end) = self.head.extend(batch.entries());
        let rows = Rows::new(&shared, batch, &links);
        *doubt = Some(end);
        let mut result = bounded(&shared, write(&mut connection, &self.head, &end, &rows)).await;
        let mut reached = end;
        if matches!(result, Ok(false)) {
            *doubt = None;
            result = bounded(&shared, async {
                let mut transaction = connection.begin().await?;
                let head = lock_end(&mut transaction).await?;
                let (links, end) = head.extend(batch.entries());
                *doubt = Some(end);
                reached = end;
                let written = write(&mut transaction, &head, &end, &Rows::new(&shared, batch, &links)).await?;
                transaction.commit().await?;
                Ok(written)
            })
            .await;
        }
        match result {
            Ok(true) => {
                self.head = reached;
                self.connection = Some(connection);
                *doubt = None;
                Ok(())
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

    /// Tells everybody who waited that the batch is written.
    fn settle(&mut self, batch: Batch, started: Instant) {
        self.shared.queue.metrics.committed(batch.len(), batch.oldest(), started.elapsed());
        self.shared.queue.reopen();
        for pending in batch.admissions {
            match pending.closing {
                None => {
                    self.open.insert(pending.record.id);
                }
                Some(closing) => closing.tell_written(),
            }
            match pending.reply {
                Reply::Nobody => {}
                // A caller that went away drops what it is sent.
                Reply::Refused(sender) => drop(sender.send(())),
                Reply::Admitted(sender, request) => {
                    let request = request.armed();
                    if let Some(sender) = sender {
                        drop(sender.send(request));
                    }
                }
            }
        }
        for closing in batch.closings {
            self.open.remove(&closing.closing.id);
            closing.tell_written();
        }
    }

    /// Puts back what was not written. Callers that wait are let go: nothing of theirs was recorded or done.
    fn give_back(&mut self, mut batch: Batch) {
        batch.admissions.retain(|pending| matches!(pending.reply, Reply::Nobody));
        let mut closings = Vec::new();
        for pending in &mut batch.admissions {
            // A joined outcome joins again; a refusal's belongs to it.
            if let Some(closing) = pending.closing.take_if(|closing| closing.entry.is_some()) {
                closings.push(closing);
            }
        }
        closings.append(&mut batch.closings);
        self.shared.queue.put_back(Batch { admissions: batch.admissions, closings });
    }

    /// Drops the one record the database refuses, so that it does not hold up the others.
    fn leave_out(&mut self, batch: Batch, error: &sqlx::Error) {
        for pending in batch.admissions {
            let id = pending.record.id;
            tracing::error!(request.id = %id, %error, "an admission was refused by the database and left out");
            self.shared.queue.metrics.dropped(RecordKind::Admission);
            if matches!(pending.reply, Reply::Nobody) && pending.closing.is_none() {
                self.lost.insert(id);
            }
        }
        for closing in batch.closings {
            let id = closing.closing.id;
            tracing::error!(request.id = %id, %error, "an outcome was refused by the database and left out");
            self.shared.queue.metrics.dropped(RecordKind::Outcome);
        }
    }

    /// Comes back when the database does.
    async fn wait_for_database(&mut self, error: &WriteError) {
        let shared = Arc::clone(&self.shared);
        let queue = &shared.queue;
        tracing::error!(error = %error.cause(), "the ledger cannot be written; requests are refused until it can");
        let since = Instant::now();
        let mut wait = FIRST_RETRY;
        loop {
            queue.shut();
            queue.refuse_waiting();
            queue.metrics.lagging(Some(since));
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(LONGEST_RETRY);
            match self.reconnect().await {
                Ok(()) => break,
                Err(error) => tracing::debug!(%error, "the database is still away"),
            }
        }
        queue.reopen();
        tracing::info!(away_ms = since.elapsed().as_millis() as u64, "the ledger can be written again");
    }

    /// Opens a connection, says that this instance lives, reads the end of the chain, and finds out about a batch of
    /// which it was unknown whether it was written.
    async fn reconnect(&mut self) -> Result<(), WriteError> {
        let connecting = async {
            let mut connection = PgConnection::connect_with(&self.options).await?;
            // Behind a pooler sessions are shared, so their settings are left alone.
            if self.options.get_options().is_some() {
                prepare_session(&mut connection).await?;
            }
            let head = end(&mut connection).await?;
            Ok::<_, sqlx::Error>((connection, head))
        };
        let connected = timeout(CONNECT_WITHIN, connecting).await.map_err(|_| WriteError::timed_out().into_away())?;
        let (connection, head) = connected.map_err(WriteError::Away)?;
        self.connection = Some(connection);
        self.head = head;
        self.heartbeat(None).await?;
        if let Some((end, batch)) = self.unresolved.take() {
            match self.is_in_chain(&end).await {
                Ok(true) => self.settle(batch, Instant::now()),
                Ok(false) => self.give_back(batch),
                Err(error) => {
                    self.unresolved = Some((end, batch));
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn is_in_chain(&mut self, end: &Head) -> Result<bool, WriteError> {
        let mut connection = self.take_connection()?;
        let found = bounded(
            &self.shared,
            sqlx::query_scalar!(
                r#"SELECT EXISTS (SELECT FROM audit_chain WHERE seq = $1 AND chain_hash = $2) AS "found!""#,
                end.seq,
                &end.hash[..],
            )
            .fetch_one(&mut connection),
        )
        .await?;
        self.connection = Some(connection);
        Ok(found)
    }

    async fn heartbeat_if_due(&mut self) {
        if self.last_heartbeat.elapsed() < HEARTBEAT_EVERY {
            return;
        }
        if self.connection.is_none() {
            return;
        }
        if let Err(error) = self.heartbeat(None).await {
            // The next statement finds the connection missing and deals with it.
            tracing::debug!(%error, "the ledger could not say that it lives");
            self.last_heartbeat = Instant::now();
        }
    }

    /// Says that this instance lives, and from which id on its open requests are.
    async fn heartbeat(&mut self, smallest: Option<Uuid>) -> Result<(), WriteError> {
        let now = self.shared.ambient.now();
        // Requests that are being admitted have slightly older ids than now.
        let recent = first_id_at(now - LOW_WATER_SLACK);
        let low_water = [self.open.first().copied(), smallest].into_iter().flatten().fold(recent, Uuid::min);
        let mut connection = self.take_connection()?;
        bounded(&self.shared, instances::heartbeat(&mut connection, &self.shared, now, low_water)).await?;
        self.connection = Some(connection);
        self.low_water = low_water;
        self.last_heartbeat = Instant::now();
        Ok(())
    }

    /// The connection, for one statement. Whoever takes it puts it back unless it is broken.
    fn take_connection(&mut self) -> Result<PgConnection, WriteError> {
        self.connection.take().ok_or_else(|| WriteError::Broken(sqlx::Error::PoolClosed))
    }
}

/// Runs a statement with our patience: after a while callers are let go and new ones refused, later it is given up.
async fn bounded<T>(shared: &Shared, statement: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, WriteError> {
    let mut statement = pin!(statement);
    if let Ok(result) = timeout(STALLED_AFTER, &mut statement).await {
        return Ok(result?);
    }
    shared.queue.shut();
    shared.queue.refuse_waiting();
    tracing::warn!("the database has not answered the ledger for two seconds; requests are refused until it does");
    Ok(timeout(GIVEN_UP_AFTER, statement).await.map_err(|_| WriteError::timed_out())??)
}

/// The end of the chain.
async fn end(connection: &mut PgConnection) -> Result<Head, sqlx::Error> {
    let row = sqlx::query!("SELECT seq, chain_hash FROM audit_chain_head WHERE id = 1").fetch_one(connection).await?;
    head_of(row.seq, &row.chain_hash)
}

/// The end of the chain, which nobody else can move until the transaction ends.
async fn lock_end(connection: &mut PgConnection) -> Result<Head, sqlx::Error> {
    let row = sqlx::query!("SELECT seq, chain_hash FROM audit_chain_head WHERE id = 1 FOR UPDATE")
        .fetch_one(connection)
        .await?;
    head_of(row.seq, &row.chain_hash)
}

fn head_of(seq: i64, hash: &[u8]) -> Result<Head, sqlx::Error> {
    let hash =
        hash.try_into().map_err(|_| sqlx::Error::Decode("audit_chain_head.chain_hash is not a SHA-256".into()))?;
    Ok(Head { seq, hash })
}

/// Settings of the writer's own session. Its statement is planned once and for any table size: a plan made while the
/// tables were small would read them from end to end later. Content is compressed with LZ4 where the server has it,
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
