//! Who writes the ledger, and the requests of those who are gone.
//!
//! An open request belongs to the instance that admitted it. When that instance is dead its open requests are closed as
//! `abandoned`. An instance is dead when another run of the same installation has started, or when it has not been heard
//! of for [`DEAD_AFTER`]. Should it only have been slow, its outcomes are still accepted.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use tokio::sync::oneshot;
use uuid::Uuid;

use super::Shared;
use super::queue::{BATCH_LIMIT, QueuedClosing, first_id_at};
use super::record::Closing;

/// How often an instance says that it lives.
pub(super) const HEARTBEAT_EVERY: Duration = Duration::from_secs(10);

/// An instance that was not heard of for this long is dead.
pub(super) const DEAD_AFTER: TimeDelta = TimeDelta::seconds(90);

/// How much older than a heartbeat the ids of requests admitted after it may be without another heartbeat first.
pub(super) const LOW_WATER_SLACK: TimeDelta = TimeDelta::seconds(30);

/// No request of an instance is newer than this after its last heartbeat: an instance that cannot write a heartbeat
/// cannot write requests either.
const WRITES_UNTIL: TimeDelta = TimeDelta::seconds(60);

/// Key of the advisory lock under which one replica at a time closes what others left behind.
const RECOVERY_LOCK: i64 = 0x6c65_6467_6572; // "ledger"

/// What is wrong when recovery cannot do its work.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecoveryError {
    #[error("reading the requests of dead instances")]
    Database(#[from] sqlx::Error),
    #[error("the ledger stopped before open requests were closed")]
    Stopped,
}

pub(super) async fn heartbeat(
    connection: &mut PgConnection,
    shared: &Shared,
    now: DateTime<Utc>,
    oldest_open: Uuid,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO ledger_instances AS i (instance_id, name, started_at, heartbeat_at, oldest_open)
        VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (instance_id) DO UPDATE
        SET heartbeat_at = EXCLUDED.heartbeat_at, oldest_open = EXCLUDED.oldest_open, ended_at = NULL
        "#,
        shared.instance_id,
        shared.instance_name,
        shared.started_at,
        now,
        oldest_open,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that nothing of this instance is open.
pub(super) async fn end(connection: &mut PgConnection, instance: Uuid, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE ledger_instances SET ended_at = $2 WHERE instance_id = $1", instance, now)
        .execute(connection)
        .await?;
    Ok(())
}

struct DeadInstance {
    instance_id: Uuid,
    oldest_open: Uuid,
    heartbeat_at: DateTime<Utc>,
}

/// Closes every open request of dead instances and gives their number. Does nothing while another replica is at it.
pub(super) async fn recover(pool: &PgPool, shared: &Shared) -> Result<u64, RecoveryError> {
    // The lock lives as long as its connection is ours; broken off half-way, the next one begins again.
    let mut connection = pool.acquire().await?.detach();
    let locked = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "locked!""#, RECOVERY_LOCK)
        .fetch_one(&mut connection)
        .await?;
    let mut closed = 0;
    if locked {
        let dead = find_dead(&mut connection, shared).await?;
        for instance in dead {
            closed += close_open_requests(&mut connection, shared, &instance).await?;
        }
    }
    // The server releases the lock with the connection, whether or not the goodbye arrives.
    let _ = sqlx::Connection::close(connection).await;
    Ok(closed)
}

async fn find_dead(connection: &mut PgConnection, shared: &Shared) -> Result<Vec<DeadInstance>, sqlx::Error> {
    sqlx::query_as!(
        DeadInstance,
        r#"
        SELECT instance_id, oldest_open, heartbeat_at
        FROM ledger_instances
        WHERE ended_at IS NULL
          AND instance_id <> $1
          AND ((name = $2 AND started_at <= $3) OR heartbeat_at < $4)
        "#,
        shared.instance_id,
        shared.instance_name,
        shared.started_at,
        shared.ambient.now() - DEAD_AFTER,
    )
    .fetch_all(connection)
    .await
}

async fn close_open_requests(
    connection: &mut PgConnection,
    shared: &Shared,
    dead: &DeadInstance,
) -> Result<u64, RecoveryError> {
    let last = first_id_at(dead.heartbeat_at + WRITES_UNTIL);
    let mut from = dead.oldest_open;
    let mut closed = 0;
    loop {
        let open = sqlx::query_scalar!(
            r#"
            SELECT id
            FROM ai_requests
            WHERE id >= $1 AND id < $2 AND instance_id = $3 AND status = 'pending'
            ORDER BY id
            LIMIT $4
            "#,
            from,
            last,
            dead.instance_id,
            BATCH_LIMIT as i64,
        )
        .fetch_all(&mut *connection)
        .await?;
        let Some(newest) = open.last() else { break };
        from = Uuid::from_u128(newest.as_u128() + 1);
        closed += open.len() as u64;

        let (written, all_written) = oneshot::channel();
        let mut written = Some(written);
        let now = shared.ambient.now();
        for id in &open {
            let mut closing = QueuedClosing::new(Closing::abandoned(*id, now));
            if id == newest {
                closing.written = written.take();
            }
            shared.queue.push_closing(closing);
        }
        // Outcomes are written in the order they were queued.
        all_written.await.map_err(|_| RecoveryError::Stopped)?;
    }
    end(connection, dead.instance_id, shared.ambient.now()).await?;
    if closed > 0 {
        tracing::warn!(instance.id = %dead.instance_id, requests = closed, "closed the open requests of a dead instance");
    }
    Ok(closed)
}
