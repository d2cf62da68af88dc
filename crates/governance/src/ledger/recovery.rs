//! The actions of those who are gone.
//!
//! An open action belongs to the server that admitted it. When that server is dead, its open actions are closed as
//! `abandoned`. A server is dead when another run of the same installation has started, or when it has not been heard of
//! for [`DEAD_AFTER`], whatever became of the clock meanwhile ([`silences`](super::silences)). Should it only have been slow, its ends are still accepted.

use std::sync::atomic::Ordering;
use std::time::Instant;

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use systemprompt_model::ActionId;
use uuid::Uuid;

use super::error::LedgerError;
use super::journal::replay::{ReplayError, Replayed, replay};
use super::log::Ledger;
use super::queue::{BATCH_LIMIT, Following};
use super::shared::Shared;
use super::{chains, entry};

/// A server that was not heard of for so many seconds is dead.
const DEAD_AFTER: f64 = 90.0;

/// Key of the advisory lock under which one replica at a time closes what others left behind.
const RECOVERY_LOCK: i64 = 0x6c65_6467_6572; // "ledger"

/// What is wrong when recovery cannot do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoveryError {
    #[error("reading what dead servers left open")]
    Database(#[from] sqlx::Error),
    #[error("the ledger stopped before open actions were closed")]
    Stopped,
    #[error("bringing the journal into the ledger")]
    Replay(#[from] ReplayError),
}

/// A stretch of a chain in which nobody will end anything any more.
struct Orphaned {
    chain: Uuid,
    from: i64,
    until: i64,
}

impl Ledger {
    /// Closes what dead servers left open and gives the number of actions closed. Nothing is done while another replica is
    /// at it.
    pub async fn recover(&self) -> Result<u64, LedgerError> {
        recover(self).await.map_err(|error| LedgerError::Recovery(Box::new(error)))
    }
}

/// Closes every open action of dead servers and gives their number. Does nothing while another replica is at it.
async fn recover(ledger: &Ledger) -> Result<u64, RecoveryError> {
    let shared = &*ledger.shared;
    // The lock lives as long as its connection at most; broken off half-way, the next one begins again.
    let mut connection = ledger.database.write().acquire().await?.detach();
    let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "locked!""#, RECOVERY_LOCK)
        .fetch_one(&mut connection)
        .await?;
    let mut closed = 0;
    if locked {
        if let Some(journal) = shared.queue.journal() {
            let Replayed { entries, settled } = replay(journal, shared, &mut connection).await?;
            if entries + settled > 0 {
                tracing::warn!(entries, settled, "wrote what an earlier run had not written before it died");
            }
        }
        if shared.exclusive && shared.inherited.load(Ordering::Relaxed) != i64::MAX {
            let from = shared.inherited.load(Ordering::Relaxed);
            let own = Orphaned { chain: shared.chain, from, until: ledger.found_until };
            closed += close_open_actions(&mut connection, shared, &own).await?;
            shared.inherited.store(i64::MAX, Ordering::Relaxed);
        }
        for (silent, heard_at) in find_silent(&mut connection, shared.chain).await? {
            if !shared.silences.is_dead(silent.chain, heard_at, Instant::now()) {
                continue;
            }
            closed += close_open_actions(&mut connection, shared, &silent).await?;
            chains::end_silent(&mut connection, silent.chain, silent.until, DEAD_AFTER).await?;
        }
    }
    // PostgreSQL releases it with the connection too, but some time after the goodbye: who comes next would find it taken.
    if locked {
        sqlx::query!("SELECT pg_advisory_unlock($1)", RECOVERY_LOCK).fetch_one(&mut connection).await?;
    }
    let _ = sqlx::Connection::close(connection).await;
    Ok(closed)
}

async fn find_silent(connection: &mut PgConnection, own: Uuid) -> Result<Vec<(Orphaned, DateTime<Utc>)>, sqlx::Error> {
    sqlx::query!(
        r#"
        SELECT chain_id, oldest_open, seq, heartbeat_at
        FROM ledger_chains
        WHERE ended_at IS NULL AND chain_id <> $1
          AND heartbeat_at < clock_timestamp() - make_interval(secs => $2)
        "#,
        own,
        DEAD_AFTER,
    )
    .map(|row| (Orphaned { chain: row.chain_id, from: row.oldest_open, until: row.seq }, row.heartbeat_at))
    .fetch_all(connection)
    .await
}

async fn close_open_actions(
    connection: &mut PgConnection,
    shared: &Shared,
    orphaned: &Orphaned,
) -> Result<u64, RecoveryError> {
    let mut from = orphaned.from;
    let mut closed = 0;
    loop {
        let open = sqlx::query!(
            r#"
            SELECT d.seq, d.at, d.action_id, d.body::jsonb #>> '{effect,kind}' AS "effect!"
            FROM ledger AS d
            WHERE d.chain_id = $1
              AND d.seq >= $2
              AND d.seq <= $3
              AND d.kind = 'decided'
              AND d.body::jsonb #>> '{decision,verdict}' <> 'deny'
              AND NOT EXISTS (
                  SELECT FROM ledger AS e
                  WHERE e.action_id = d.action_id AND e.kind IN ('ended', 'abandoned')
              )
            ORDER BY d.seq
            LIMIT $4
            "#,
            orphaned.chain,
            from,
            orphaned.until,
            BATCH_LIMIT as i64,
        )
        .fetch_all(&mut *connection)
        .await?;
        let Some(last) = open.last() else { break };
        from = last.seq + 1;
        closed += open.len() as u64;

        // Whoever reads both chains by time must meet the decision first.
        shared.not_before.fetch_max(last.at.timestamp_micros() + 1, Ordering::Relaxed);
        let now = shared.ambient.now();
        let mut written = Vec::with_capacity(open.len());
        for row in &open {
            let entry = entry::abandoned(ActionId::from_uuid(row.action_id), &row.effect, now);
            let (next, receiver) = Following::new(entry).watched();
            shared.queue.push_following(next);
            written.push(receiver);
        }
        for written in written {
            written.await.map_err(|_| RecoveryError::Stopped)?;
        }
    }
    if closed > 0 {
        tracing::warn!(chain.id = %orphaned.chain, actions = closed, "closed the open actions of a dead server");
    }
    Ok(closed)
}
