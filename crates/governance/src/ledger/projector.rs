//! Keeping projections up: what was appended to the log becomes rows, in order, each entry exactly once.
//!
//! One replica at a time applies, under an advisory lock. A projection's rows and its place in each chain are written in one
//! transaction, so after any crash it goes on where it stood. Projections that stand at the same place share one reading
//! of the log. One that fails is set apart, loudly, tried again alone with growing pauses, and holds up neither the others
//! nor the log. An entry that nobody can read stops all of them, for what follows it may depend on it: they fail in front
//! of it, and say which one it is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use serde::Serialize;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _, Postgres, Transaction};
use systemprompt_database::DbPool;
use systemprompt_extension::Metrics;
use systemprompt_extension::ledger::{LedgerEntry, Projection, ProjectionError};
use systemprompt_model::{Condition, with_causes};
use tokio::sync::Notify;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::read::{self, LoggedEntry, Places};
use super::recent::Recent;
use super::text::cleaned;

/// Most entries applied in one transaction. Fewer would keep a thread for a shorter time and cost more of it in all.
const BATCH: i64 = 2000;

/// How long it waits after something was appended, so that more shares its transaction: the age rows have before people
/// see them, unless they ask for [`Projector::catch_up`].
const LINGER: Duration = Duration::from_millis(50);

/// How often it looks for what other replicas appended, and how far behind it is.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Pauses after a failure.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// Key of the advisory lock of whoever applies.
const LOCK: i64 = 0x7072_6f6a_6563; // "projec"

/// Applies the log to the projections of one server.
pub struct Projector {
    database: DbPool,
    projections: Vec<Arc<dyn Projection>>,
    /// What this server wrote last.
    recent: Arc<Recent>,
    failing: Mutex<BTreeMap<&'static str, Failure>>,
    lag: Family<ProjectionLabels, Gauge>,
}

/// Why a projection stands still.
#[derive(Debug, Clone)]
struct Failure {
    message: String,
    pause: Duration,
    until: Instant,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ProjectionLabels {
    projection: &'static str,
}

/// The log could not be applied to the projections.
#[derive(Debug, thiserror::Error)]
pub enum CatchUpError {
    /// The database.
    #[error("reading the ledger or moving the cursors")]
    Database(#[from] sqlx::Error),
    /// A projection failed.
    #[error("the projection `{name}` failed: {message}")]
    Failed {
        /// Which.
        name: &'static str,
        /// Why.
        message: String,
    },
    /// There is none of this name.
    #[error("there is no projection `{0}`")]
    Unknown(String),
}

/// How a projection is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ProjectionStatus {
    /// Its name.
    pub name: String,
    /// The tables it fills.
    pub tables: Vec<String>,
    /// Entries it has not applied yet.
    pub behind: i64,
    /// When the newest entry it has applied was written.
    pub applied_until: Option<DateTime<Utc>>,
    /// Why it stands still.
    pub error: Option<String>,
    /// Since when it stands still.
    pub failing_since: Option<DateTime<Utc>>,
}

impl Projector {
    /// What applies the log in this database to these projections.
    pub fn new(database: &DbPool, projections: Vec<Arc<dyn Projection>>, metrics: &Metrics) -> Self {
        // Of no chain, so nothing is ever there.
        Self::beside_writer(database, projections, Arc::new(Recent::of(Uuid::nil())), metrics)
    }

    /// The same in the process that writes, which keeps what it wrote `recent`ly.
    pub(super) fn beside_writer(
        database: &DbPool,
        projections: Vec<Arc<dyn Projection>>,
        recent: Arc<Recent>,
        metrics: &Metrics,
    ) -> Self {
        let lag = Family::default();
        metrics.register(
            "projection_behind_entries",
            "Entries of the ledger a projection has not applied",
            lag.clone(),
        );
        Self { database: Arc::clone(database), projections, recent, failing: Mutex::default(), lag }
    }

    /// The projections, in load order.
    pub fn projections(&self) -> &[Arc<dyn Projection>] {
        &self.projections
    }

    /// Applies until `shutdown`, then once more what is there.
    pub(super) async fn run(&self, written: &Notify, shutdown: CancellationToken) {
        let mut measured = Instant::now();
        let mut standing = Condition::default();
        loop {
            let stop = tokio::select! {
                () = shutdown.cancelled() => true,
                _ = timeout(LOOK_EVERY, written.notified()) => false,
            };
            if !stop {
                // Cancelled early or not, what has gathered is applied.
                let _ = timeout(LINGER, shutdown.cancelled()).await;
            }
            loop {
                match self.round(false, |_| true).await {
                    Ok(applied) => {
                        if let Some(stood) = standing.ends() {
                            let away_ms = stood.as_millis() as u64;
                            tracing::info!(away_ms, "the ledger can be applied to its projections again");
                        }
                        if applied < BATCH as usize {
                            break;
                        }
                    }
                    Err(error) => {
                        if standing.begins() {
                            tracing::warn!(%error, "the ledger cannot be applied to its projections at present");
                        }
                        break;
                    }
                }
            }
            if measured.elapsed() >= LOOK_EVERY || stop {
                measured = Instant::now();
                self.measure().await;
            }
            if stop {
                return;
            }
        }
    }

    /// Applies everything that is in the log by now. Waits for another replica that is at it.
    pub async fn catch_up(&self) -> Result<(), CatchUpError> {
        self.catch_up_where(|_| true).await
    }

    /// The same for one projection. How the others are doing is of no account.
    pub async fn catch_up_one(&self, name: &str) -> Result<(), CatchUpError> {
        if self.projections.iter().all(|projection| projection.name() != name) {
            return Err(CatchUpError::Unknown(name.to_owned()));
        }
        self.catch_up_where(|projection| projection == name).await
    }

    async fn catch_up_where(&self, wanted: impl Fn(&str) -> bool + Send + Sync) -> Result<(), CatchUpError> {
        while self.round(true, &wanted).await? == BATCH as usize {}
        match self.failing().iter().find(|(name, _)| wanted(name)) {
            Some((name, failure)) => Err(CatchUpError::Failed { name, message: failure.message.clone() }),
            None => Ok(()),
        }
    }

    /// Empties a projection and fills it again from the log. Readers see the old rows until the new ones are there.
    pub async fn rebuild(&self, name: &str) -> Result<u64, CatchUpError> {
        let projection = self
            .projections
            .iter()
            .find(|projection| projection.name() == name)
            .ok_or_else(|| CatchUpError::Unknown(name.to_owned()))?;
        let mut transaction = self.database.write().begin().await?;
        lock(&mut transaction).await?;
        empty(&mut transaction, &**projection).await?;
        let mut places = Places::default();
        let mut applied = 0;
        loop {
            let stored = read::after(&mut transaction, &places, BATCH).await?;
            if stored.is_empty() {
                break;
            }
            apply(&mut transaction, &**projection, &stored)
                .await
                .map_err(|error| CatchUpError::Failed { name: projection.name(), message: with_causes(&error) })?;
            advance(&mut places, &stored);
            applied += stored.len() as u64;
        }
        save(&mut transaction, projection.name(), &places).await?;
        goes_on(&mut transaction, projection.name()).await?;
        transaction.commit().await?;
        self.failing().remove(projection.name());
        Ok(applied)
    }

    /// How each projection is doing.
    pub async fn status(&self) -> Result<Vec<ProjectionStatus>, sqlx::Error> {
        let mut all = Vec::with_capacity(self.projections.len());
        for projection in &self.projections {
            let row = sqlx::query!(
                r#"
                SELECT
                    COALESCE(SUM(c.seq - GREATEST(COALESCE(p.seq, 0), c.dropped_seq)), 0)::bigint AS "behind!",
                    MAX(l.at) AS applied_until,
                    (SELECT message FROM projection_failures WHERE projection = $1) AS error,
                    (SELECT since FROM projection_failures WHERE projection = $1) AS failing_since
                FROM ledger_chains AS c
                LEFT JOIN projection_cursors AS p ON p.chain_id = c.chain_id AND p.projection = $1
                LEFT JOIN ledger AS l ON l.chain_id = p.chain_id AND l.seq = p.seq
                "#,
                projection.name(),
            )
            .fetch_one(self.database.read())
            .await?;
            all.push(ProjectionStatus {
                name: projection.name().to_owned(),
                tables: projection.tables().iter().map(ToString::to_string).collect(),
                behind: row.behind,
                applied_until: row.applied_until,
                error: row.error,
                failing_since: row.failing_since,
            });
        }
        Ok(all)
    }

    /// The projections that stand still, and why.
    pub fn failures(&self) -> Vec<(&'static str, String)> {
        self.failing().iter().map(|(name, failure)| (*name, failure.message.clone())).collect()
    }

    /// Applies one batch to the projections that are wanted, and gives how many entries there were to apply; zero when
    /// another replica is at it.
    async fn round(&self, patiently: bool, wanted: impl Fn(&str) -> bool + Send + Sync) -> Result<usize, CatchUpError> {
        let now = Instant::now();
        let mut connection = self.database.write().acquire().await?;
        // Losing the last transaction with a crash loses its cursors too, so nothing is gained by waiting for the disk.
        let mut transaction = connection.begin().await?;
        sqlx::query!(r#"SELECT set_config('synchronous_commit', 'off', TRUE) AS "off""#)
            .fetch_one(&mut *transaction)
            .await?;
        if patiently {
            lock(&mut transaction).await?;
        } else if !try_lock(&mut transaction).await? {
            return Ok(0);
        }
        let ready: Vec<_> = {
            let failing = self.failing();
            let pauses = |name| failing.get(name).is_some_and(|failure| !patiently && failure.until > now);
            let ready = |name| wanted(name) && !pauses(name);
            self.projections.iter().filter(|projection| ready(projection.name())).collect()
        };
        let told = standing_still(&mut transaction).await?;
        let mut groups: Vec<(Places, Vec<&Arc<dyn Projection>>)> = Vec::new();
        for projection in ready {
            let places = load(&mut transaction, projection.name()).await?;
            match groups.iter_mut().find(|(known, _)| *known == places) {
                Some((_, members)) => members.push(projection),
                None => groups.push((places, vec![projection])),
            }
        }
        let mut most = 0;
        for (mut places, members) in groups {
            let mut stored = self.next(&mut transaction, &places, patiently).await?;
            if stored.is_empty() {
                // What it failed at was done by another replica.
                for projection in members {
                    self.recovered(&mut transaction, projection.name(), &told).await?;
                }
                continue;
            }
            let (entries, unreadable) = readable(&mut stored);
            advance(&mut places, &stored);
            for projection in members {
                // A savepoint, so that one that fails takes nobody else's rows with it.
                let mut savepoint = transaction.begin().await?;
                let result = projection.apply(&mut savepoint, &entries).await;
                match (result, &unreadable) {
                    (Ok(()), unreadable) => {
                        save(&mut savepoint, projection.name(), &places).await?;
                        savepoint.commit().await?;
                        most = most.max(stored.len());
                        match unreadable {
                            None => self.recovered(&mut transaction, projection.name(), &told).await?,
                            Some(error) => self.failed(&mut transaction, projection.name(), error).await?,
                        }
                    }
                    (Err(error), _) => {
                        savepoint.rollback().await?;
                        self.failed(&mut transaction, projection.name(), &error).await?;
                    }
                }
            }
        }
        transaction.commit().await?;
        Ok(most)
    }

    /// The entries behind these places: from memory if they are there and nobody else wrote to the log meanwhile; `all` of
    /// those that are in the log, or as many as memory has. What was just written may still be on its way there, and is told
    /// of again.
    async fn next(
        &self,
        connection: &mut PgConnection,
        places: &Places,
        all: bool,
    ) -> Result<Vec<LoggedEntry>, sqlx::Error> {
        let ends = read::ends(connection).await?;
        let mut ahead = ends.into_iter().filter(|(chain, end)| *end > places.get(*chain));
        if let (Some((chain, end)), None) = (ahead.next(), ahead.next())
            && chain == self.recent.chain()
        {
            let after = places.get(chain);
            let at_least = if all { end } else { after + 1 };
            if let Some(entries) = self.recent.take(after, at_least, BATCH as usize) {
                return Ok(entries);
            }
        }
        read::after(connection, places, BATCH).await
    }

    async fn failed(
        &self,
        transaction: &mut PgConnection,
        name: &'static str,
        error: &ProjectionError,
    ) -> Result<(), sqlx::Error> {
        let message = with_causes(error);
        let pause = self.failing().get(name).map_or(FIRST_PAUSE, |earlier| (earlier.pause * 2).min(LONGEST_PAUSE));
        tracing::error!(projection = name, error = message, "a projection of the ledger stands still");
        stands_still(transaction, name, &message).await?;
        self.failing().insert(name, Failure { message, pause, until: Instant::now() + pause });
        Ok(())
    }

    /// `told`: the projections of which anybody said that they stand still.
    async fn recovered(
        &self,
        transaction: &mut PgConnection,
        name: &'static str,
        told: &[String],
    ) -> Result<(), sqlx::Error> {
        let told = told.iter().any(|told| told == name);
        if !told && !self.failing().contains_key(name) {
            return Ok(());
        }
        goes_on(transaction, name).await?;
        self.failing().remove(name);
        tracing::info!(projection = name, "the projection goes on");
        Ok(())
    }

    async fn measure(&self) {
        if let Ok(all) = self.status().await {
            for (status, projection) in all.into_iter().zip(&self.projections) {
                self.lag.get_or_create(&ProjectionLabels { projection: projection.name() }).set(status.behind);
            }
        }
    }

    fn failing(&self) -> MutexGuard<'_, BTreeMap<&'static str, Failure>> {
        self.failing.lock().expect("no panic while the lock is held")
    }
}

impl std::fmt::Debug for Projector {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = self.projections.iter().map(|projection| projection.name()).collect();
        f.debug_struct("Projector").field("projections", &names).finish_non_exhaustive()
    }
}

/// Applies stored entries to one projection.
pub(super) async fn apply(
    connection: &mut PgConnection,
    projection: &dyn Projection,
    stored: &[LoggedEntry],
) -> Result<(), ProjectionError> {
    let entries: Vec<LedgerEntry> =
        stored.iter().filter_map(|entry| entry.read().transpose()).collect::<Result<_, _>>()?;
    projection.apply(connection, &entries).await
}

/// What the stored entries say, up to the first that cannot be read, which is left out with everything after it.
fn readable(stored: &mut Vec<LoggedEntry>) -> (Vec<LedgerEntry>, Option<ProjectionError>) {
    let mut entries = Vec::with_capacity(stored.len());
    for (index, entry) in stored.iter().enumerate() {
        match entry.read() {
            Ok(entry) => entries.extend(entry),
            Err(error) => {
                stored.truncate(index);
                return (entries, Some(error));
            }
        }
    }
    (entries, None)
}

/// The places after these entries.
pub(super) fn advance(places: &mut Places, stored: &[LoggedEntry]) {
    for entry in stored {
        places.set(entry.chain, entry.seq);
    }
}

/// How far a projection has come.
pub(super) async fn load(connection: &mut PgConnection, projection: &str) -> Result<Places, sqlx::Error> {
    let rows = sqlx::query!(
        "SELECT chain_id, seq FROM projection_cursors WHERE projection = $1 ORDER BY chain_id",
        projection
    )
    .fetch_all(connection)
    .await?;
    Ok(Places { chains: rows.iter().map(|row| row.chain_id).collect(), seqs: rows.iter().map(|row| row.seq).collect() })
}

async fn save(connection: &mut PgConnection, projection: &str, places: &Places) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO projection_cursors AS c (projection, chain_id, seq)
        SELECT $1, p.chain_id, p.seq
        FROM UNNEST($2::uuid[], $3::bigint[]) AS p (chain_id, seq)
        ON CONFLICT (projection, chain_id) DO UPDATE SET seq = EXCLUDED.seq WHERE c.seq <> EXCLUDED.seq
        "#,
        projection,
        &places.chains,
        &places.seqs,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Tells everybody that the projection stands still.
async fn stands_still(connection: &mut PgConnection, projection: &str, message: &str) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO projection_failures AS f (projection, message, since)
        VALUES ($1, $2, now())
        ON CONFLICT (projection) DO UPDATE SET message = EXCLUDED.message WHERE f.message <> EXCLUDED.message
        "#,
        projection,
        &cleaned(message),
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The projections that stand still, for whoever said so.
async fn standing_still(connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT projection FROM projection_failures").fetch_all(connection).await
}

/// Tells everybody that the projection does not stand still.
async fn goes_on(connection: &mut PgConnection, projection: &str) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM projection_failures WHERE projection = $1", projection).execute(connection).await?;
    Ok(())
}

async fn empty(transaction: &mut Transaction<'_, Postgres>, projection: &dyn Projection) -> Result<(), sqlx::Error> {
    for table in projection.tables() {
        sqlx::raw_sql(AssertSqlSafe(format!("DELETE FROM {table}"))).execute(&mut **transaction).await?;
    }
    sqlx::query!("DELETE FROM projection_cursors WHERE projection = $1", projection.name())
        .execute(&mut **transaction)
        .await?;
    Ok(())
}

async fn lock(transaction: &mut Transaction<'_, Postgres>) -> Result<(), sqlx::Error> {
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).execute(&mut **transaction).await?;
    Ok(())
}

async fn try_lock(transaction: &mut Transaction<'_, Postgres>) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(r#"SELECT pg_try_advisory_xact_lock($1) AS "locked!""#, LOCK)
        .fetch_one(&mut **transaction)
        .await
}
