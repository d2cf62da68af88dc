//! Months of the log that were kept for long enough, and are dropped whole.

use chrono::{DateTime, Months, NaiveDate, TimeDelta, Utc};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{ChainHead, ProjectionError};
use systemprompt_model::ActionId;
use uuid::Uuid;

use super::checkpoint::{CheckpointError, Checkpoints};
use super::checkpointing;
use super::log::Ledger;
use super::projector::CatchUpError;

/// Key of the advisory lock of whoever drops segments.
const LOCK: i64 = 0x7365_676d_656e; // "segmen"

/// How long dropping a segment waits for the log's table, in milliseconds: the writer waits behind it.
const TABLE_WITHIN_MS: u32 = 200;

/// For how many days beyond the profile's limit a segment waits for destinations that have not got all of it.
const SHIPPED_WITHIN_DAYS: i64 = 30;

/// Actions that projections forget at once.
const FORGET_BATCH: usize = 1000;

/// Why an old segment could not be dropped.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The database.
    #[error("reading or dropping segments of the ledger")]
    Database(#[from] sqlx::Error),
    /// What is dropped must be written down in the home before.
    #[error("before a segment is dropped")]
    Checkpoint(#[from] CheckpointError),
    /// Projections must have applied what is dropped.
    #[error("before a segment is dropped")]
    CatchUp(#[from] CatchUpError),
    /// A projection could not forget.
    #[error("the projection `{0}` could not forget what is dropped")]
    Forget(&'static str, #[source] ProjectionError),
}

impl Ledger {
    /// Drops the months of the log that were kept for long enough by `now`, and gives their number. None is unless the
    /// profile says so.
    pub async fn drop_expired(&self, now: DateTime<Utc>) -> Result<u64, SegmentError> {
        drop_expired(self, now).await
    }
}

/// Drops the segments that end before the profile's limit, oldest first: what was derived from them is forgotten, and where
/// each chain now begins is remembered in its row, for verification. Nothing is dropped that the home does not sign before,
/// for nobody could tell it from a theft.
async fn drop_expired(ledger: &Ledger, now: DateTime<Utc>) -> Result<u64, SegmentError> {
    let Some(days) = ledger.shared.retention.ledger_days else { return Ok(0) };
    let Some(checkpoints) = &ledger.checkpoints else { return Ok(0) };
    let limit = now - TimeDelta::days(i64::from(days));
    let waits_until = limit - TimeDelta::days(SHIPPED_WITHIN_DAYS);
    let pool = ledger.database.write();
    let mut expired = Vec::new();
    let names = sqlx::query_scalar!(
        r#"SELECT inhrelid::regclass::text AS "name!" FROM pg_inherits WHERE inhparent = 'ledger'::regclass ORDER BY 1"#
    )
    .fetch_all(pool)
    .await?;
    for name in names {
        let month = NaiveDate::parse_from_str(&format!("{name}_01"), "ledger_%Y_%m_%d");
        if month.is_ok_and(|month| month + Months::new(1) <= limit.date_naive()) {
            let waits = month.is_ok_and(|month| month + Months::new(1) > waits_until.date_naive());
            expired.push((name, waits));
        }
    }
    if expired.is_empty() {
        return Ok(0);
    }
    // Nothing is written about what waits.
    if let Some((name, true)) = expired.first()
        && is_waited_for(ledger, name).await?
    {
        return Ok(0);
    }
    checkpointing::take(ledger, checkpoints, "retention").await?;
    ledger.catch_up().await?;
    let mut dropped = 0;
    for (name, waits) in expired {
        if !drop_segment(ledger, checkpoints, &name, waits).await? {
            break;
        }
        tracing::info!(segment = name, "a segment of the ledger was kept for long enough and is dropped");
        dropped += 1;
    }
    Ok(dropped)
}

/// Whether the segment could be dropped: nothing in it is open, nothing older is left, and every destination has it, or does
/// not get it any more.
async fn drop_segment(
    ledger: &Ledger,
    checkpoints: &Checkpoints,
    name: &str,
    waits: bool,
) -> Result<bool, SegmentError> {
    let mut connection = ledger.database.write().acquire().await?;
    let Some(ends) = droppable(&mut connection, name).await? else { return Ok(false) };
    for (destination, entries) in unshipped(&mut connection, &ends).await? {
        if waits {
            return Ok(false);
        }
        tracing::warn!(
            segment = name,
            destination,
            entries,
            "an old segment of the ledger is dropped although a destination has not got it in {SHIPPED_WITHIN_DAYS} days more"
        );
        ledger.shared.queue.metrics.never_shipped(&destination, entries);
    }
    // Given back, for the entry about it is written over another one.
    drop(connection);
    checkpointing::cut(ledger, checkpoints, ends.clone()).await?;
    let mut transaction = ledger.database.write().begin().await?;
    sqlx::query!("SELECT pg_advisory_xact_lock($1)", LOCK).execute(&mut *transaction).await?;
    sqlx::query!(r#"SELECT set_config('systemprompt.ledger_retention', 'on', TRUE) AS "on""#)
        .fetch_one(&mut *transaction)
        .await?;
    if droppable(&mut transaction, name).await?.as_ref() != Some(&ends) {
        tracing::warn!(segment = name, "the segment has changed since it was written down which entries go");
        return Ok(false);
    }
    let actions: Vec<(Uuid,)> =
        sqlx::query_as(AssertSqlSafe(format!("SELECT action_id FROM {name} WHERE kind = 'decided'")))
            .fetch_all(&mut *transaction)
            .await?;
    let actions: Vec<ActionId> = actions.into_iter().map(|(action,)| ActionId::from_uuid(action)).collect();
    for some in actions.chunks(FORGET_BATCH) {
        for projection in ledger.projector.projections() {
            let forgotten = projection.forget(&mut transaction, some).await;
            forgotten.map_err(|error| SegmentError::Forget(projection.name(), error))?;
        }
    }
    // The table before the rows of the chains, as the writer locks them; and both only now, when everything slow is done. If the
    // table is not to be had at once the writer goes first, and this is tried again later: a verification may be reading.
    sqlx::raw_sql(AssertSqlSafe(format!(
        "SET LOCAL lock_timeout = '{TABLE_WITHIN_MS}ms'; LOCK TABLE ledger IN ACCESS EXCLUSIVE MODE"
    )))
    .execute(&mut *transaction)
    .await?;
    if has_grown(&mut transaction, name, &ends).await? {
        tracing::warn!(segment = name, "entries were added to the segment while it was about to be dropped");
        return Ok(false);
    }
    for end in &ends {
        let hash = hex::decode(&end.hash).unwrap_or_default();
        sqlx::query!(
            "UPDATE ledger_chains SET dropped_seq = $2, dropped_hash = $3 WHERE chain_id = $1",
            end.chain,
            end.seq,
            hash
        )
        .execute(&mut *transaction)
        .await?;
    }
    sqlx::raw_sql(AssertSqlSafe(format!("ALTER TABLE ledger DETACH PARTITION {name}; DROP TABLE {name}")))
        .execute(&mut *transaction)
        .await?;
    transaction.commit().await?;
    Ok(true)
}

/// The last entry of each chain in the segment, if it may be dropped.
async fn droppable(connection: &mut PgConnection, name: &str) -> Result<Option<Vec<ChainHead>>, sqlx::Error> {
    let ends = format!("SELECT DISTINCT ON (chain_id) chain_id, seq, hash FROM {name} ORDER BY chain_id, seq DESC");
    let ends: Vec<(Uuid, i64, Vec<u8>)> = sqlx::query_as(AssertSqlSafe(ends)).fetch_all(&mut *connection).await?;
    for (chain, seq, _) in &ends {
        let in_the_way = format!(
            "SELECT EXISTS (SELECT FROM ledger WHERE chain_id = $1 AND seq <= $2 AND tableoid <> '{name}'::regclass)
                 OR EXISTS (SELECT FROM ledger_chains WHERE chain_id = $1 AND oldest_open <= $2)"
        );
        let (in_the_way,): (bool,) =
            sqlx::query_as(AssertSqlSafe(in_the_way)).bind(chain).bind(seq).fetch_one(&mut *connection).await?;
        if in_the_way {
            tracing::warn!(segment = name, chain.id = %chain, "the segment holds open actions, or older entries are left");
            return Ok(None);
        }
    }
    let head = |(chain, seq, hash)| ChainHead { chain, hash: hex::encode::<Vec<u8>>(hash), seq };
    Ok(Some(ends.into_iter().map(head).collect()))
}

/// Whether a destination has not got all of this segment.
async fn is_waited_for(ledger: &Ledger, name: &str) -> Result<bool, SegmentError> {
    let mut connection = ledger.database.write().acquire().await?;
    let Some(ends) = droppable(&mut connection, name).await? else { return Ok(false) };
    let unshipped = unshipped(&mut connection, &ends).await?;
    for (destination, entries) in &unshipped {
        tracing::warn!(
            segment = name,
            destination,
            entries,
            "an old segment of the ledger is kept until a destination has got it"
        );
    }
    Ok(!unshipped.is_empty())
}

/// The destinations that have not got everything up to these ends, and how many entries are missing there. One that nobody
/// has tried to ship to for a day is not configured any more.
async fn unshipped(connection: &mut PgConnection, ends: &[ChainHead]) -> Result<Vec<(String, u64)>, sqlx::Error> {
    let chains: Vec<Uuid> = ends.iter().map(|end| end.chain).collect();
    let seqs: Vec<i64> = ends.iter().map(|end| end.seq).collect();
    let rows = sqlx::query!(
        r#"
        SELECT
            s.destination,
            SUM(e.seq - GREATEST(COALESCE(p.seq, 0), c.dropped_seq))::bigint AS "entries!"
        FROM ledger_shipments AS s
        CROSS JOIN UNNEST($1::uuid[], $2::bigint[]) AS e (chain_id, seq)
        JOIN ledger_chains AS c ON c.chain_id = e.chain_id
        LEFT JOIN ledger_shipment_cursors AS p ON p.destination = s.destination AND p.chain_id = e.chain_id
        WHERE e.seq > GREATEST(COALESCE(p.seq, 0), c.dropped_seq)
          AND GREATEST(s.next_attempt_at, s.leased_until, s.shipped_at) > clock_timestamp() - interval '1 day'
        GROUP BY s.destination
        ORDER BY s.destination
        "#,
        &chains,
        &seqs,
    )
    .fetch_all(connection)
    .await?;
    Ok(rows.into_iter().map(|row| (row.destination, row.entries as u64)).collect())
}

/// Whether the segment has entries after these ends. Looked up by key, for the writer waits meanwhile.
async fn has_grown(connection: &mut PgConnection, name: &str, ends: &[ChainHead]) -> Result<bool, sqlx::Error> {
    let statement = format!(
        "SELECT EXISTS (
             SELECT FROM ledger_chains AS c
             LEFT JOIN UNNEST($1::uuid[], $2::bigint[]) AS e (chain_id, seq) ON e.chain_id = c.chain_id
             WHERE EXISTS (SELECT FROM {name} AS l WHERE l.chain_id = c.chain_id AND l.seq > COALESCE(e.seq, 0))
         )"
    );
    let chains: Vec<Uuid> = ends.iter().map(|end| end.chain).collect();
    let seqs: Vec<i64> = ends.iter().map(|end| end.seq).collect();
    let (grown,): (bool,) =
        sqlx::query_as(AssertSqlSafe(statement)).bind(chains).bind(seqs).fetch_one(connection).await?;
    Ok(grown)
}
