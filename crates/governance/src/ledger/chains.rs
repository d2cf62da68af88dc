//! The rows of `ledger_chains`: who writes, and where each chain ends.
//!
//! Whether a writer lives is told by the database's clock, which is the same for all of them.

use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::ChainHead;
use uuid::Uuid;

use super::chain::Head;
use super::text::{Sha, sha256};

/// The chain of an installation: the same for every run of it.
pub(crate) fn chain_of(name: &str) -> Uuid {
    let digest = sha256(name.as_bytes());
    Uuid::from_slice(&digest[..16]).expect("a UUID has sixteen bytes")
}

/// What a writer finds when it comes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Announced {
    pub(super) head: Head,
    pub(super) generation: i64,
    pub(super) oldest_open: i64,
}

/// Says that this installation's writer lives, begins its chain if it has none, and reads where it ends.
///
/// From now on no statement of an earlier generation writes: it waits for one that is at it, and one that comes later finds
/// that it is not the current one. So what a broken connection left in doubt is decided when this returns.
pub(super) async fn announce(
    connection: &mut PgConnection,
    chain: Uuid,
    name: &str,
    started_at: DateTime<Utc>,
) -> Result<Announced, sqlx::Error> {
    let first = Head::first(chain);
    let row = sqlx::query!(
        r#"
        INSERT INTO ledger_chains AS c (chain_id, name, seq, hash, at, oldest_open, started_at, heartbeat_at)
        VALUES ($1, $2, 0, $3, $4, 1, $5, clock_timestamp())
        ON CONFLICT (chain_id) DO UPDATE
        SET
            started_at = EXCLUDED.started_at,
            heartbeat_at = EXCLUDED.heartbeat_at,
            ended_at = NULL,
            generation = c.generation + 1
        RETURNING seq, hash, at, generation, oldest_open
        "#,
        chain,
        name,
        &first.hash[..],
        first.at,
        started_at,
    )
    .fetch_one(connection)
    .await?;
    Ok(Announced {
        head: head_of(row.seq, &row.hash, row.at)?,
        generation: row.generation,
        oldest_open: row.oldest_open,
    })
}

/// The end of the chain and its generation, which nobody else can move until the transaction ends.
pub(super) async fn lock_end(connection: &mut PgConnection, chain: Uuid) -> Result<(Head, i64), sqlx::Error> {
    let row = sqlx::query!("SELECT seq, hash, at, generation FROM ledger_chains WHERE chain_id = $1 FOR UPDATE", chain)
        .fetch_one(connection)
        .await?;
    Ok((head_of(row.seq, &row.hash, row.at)?, row.generation))
}

/// Says that the writer lives.
pub(super) async fn heartbeat(connection: &mut PgConnection, chain: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE ledger_chains SET heartbeat_at = clock_timestamp(), ended_at = NULL WHERE chain_id = $1",
        chain
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Notes that nothing of this chain is open and nobody writes it.
pub(super) async fn end(connection: &mut PgConnection, chain: Uuid) -> Result<(), sqlx::Error> {
    sqlx::query!(
        "UPDATE ledger_chains SET ended_at = clock_timestamp(), oldest_open = seq + 1 WHERE chain_id = $1",
        chain,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// The same for a chain that still ends there, and whose writer was still not heard of for so many seconds.
pub(super) async fn end_silent(
    connection: &mut PgConnection,
    chain: Uuid,
    until: i64,
    seconds: f64,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        UPDATE ledger_chains SET ended_at = clock_timestamp(), oldest_open = seq + 1
        WHERE chain_id = $1 AND seq = $2 AND heartbeat_at < clock_timestamp() - make_interval(secs => $3)
        "#,
        chain,
        until,
        seconds,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Whether this end was reached by the chain.
pub(super) async fn has(connection: &mut PgConnection, chain: Uuid, end: &Head) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT FROM ledger WHERE chain_id = $1 AND seq = $2 AND hash = $3) AS "found!""#,
        chain,
        end.seq,
        &end.hash[..],
    )
    .fetch_one(connection)
    .await
}

/// The ends of all chains that were ever written to.
pub(crate) async fn heads(connection: &mut PgConnection) -> Result<Vec<ChainHead>, sqlx::Error> {
    sqlx::query!("SELECT chain_id, seq, hash FROM ledger_chains WHERE seq > 0 ORDER BY chain_id")
        .map(|row| ChainHead { chain: row.chain_id, hash: hex::encode(&row.hash), seq: row.seq })
        .fetch_all(connection)
        .await
}

fn head_of(seq: i64, hash: &[u8], at: DateTime<Utc>) -> Result<Head, sqlx::Error> {
    let hash = Sha::try_from(hash).map_err(|_| sqlx::Error::Decode("ledger_chains.hash is not a SHA-256".into()))?;
    Ok(Head { seq, hash, at })
}
