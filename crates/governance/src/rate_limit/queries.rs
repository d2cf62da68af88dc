use chrono::{DateTime, TimeDelta, Utc};
use systemprompt_database::DbPool;
use uuid::Uuid;

use super::window::{Lease, LeaseRequest, Limits};
use super::{Key, Unavailable};

/// Leases permits and gives unspent ones back, in one statement. Of what the limit leaves, at most a quarter is given,
/// and at least one permit if there is one.
pub(super) async fn lease(
    db: &DbPool,
    key: Key,
    request: &LeaseRequest,
    limits: &Limits,
) -> Result<Lease, Unavailable> {
    let unspent_slot = request.unspent.map_or(i64::MIN, |unspent| unspent.slot);
    let unspent = request.unspent.map_or(0, |unspent| unspent.permits);
    let expires_at = timestamp(request.slot + limits.slot_ms + limits.window_ms);
    let row = sqlx::query!(
        r#"
        INSERT INTO governance_rate_windows AS rate_window (session_id, user_id, slots, used, granted, expires_at)
        VALUES (
            $1,
            $2,
            ARRAY[$3::bigint],
            ARRAY[LEAST($4::bigint, GREATEST($5::bigint / 4, 1))],
            LEAST($4::bigint, GREATEST($5::bigint / 4, 1)),
            $9
        )
        ON CONFLICT (session_id, user_id) DO UPDATE SET (slots, used, granted, expires_at) = (
            WITH counting AS (
                SELECT slot, used - CASE WHEN slot = $7 THEN $8::bigint ELSE 0 END AS used
                FROM unnest(rate_window.slots, rate_window.used) AS kept (slot, used)
                WHERE slot > $6
            ),
            remaining AS (
                SELECT $5::bigint - COALESCE(sum(used), 0)::bigint AS permits
                FROM counting
            ),
            given AS (
                SELECT LEAST($4::bigint, CASE WHEN permits > 0 THEN GREATEST(permits / 4, 1) ELSE 0 END) AS permits
                FROM remaining
            ),
            next AS (
                SELECT slot, sum(used)::bigint AS used
                FROM (
                    SELECT slot, used FROM counting
                    UNION ALL
                    SELECT $3::bigint, permits FROM given
                ) AS parts
                GROUP BY slot
                HAVING sum(used) > 0
            )
            SELECT
                COALESCE(array_agg(slot ORDER BY slot), '{}'),
                COALESCE(array_agg(used ORDER BY slot), '{}'),
                (SELECT permits FROM given),
                GREATEST(rate_window.expires_at, $9)
            FROM next
        )
        RETURNING granted, slots, used
        "#,
        key.session_uuid(),
        key.user.as_uuid(),
        request.slot,
        request.wanted,
        limits.limit,
        limits.over_before(request.now),
        unspent_slot,
        unspent,
        expires_at,
    )
    .fetch_one(db.write())
    .await?;
    Ok(Lease { granted: row.granted, slots: row.slots, used: row.used })
}

/// Takes permits that were never handed out off the count.
pub(super) async fn give_back(
    db: &DbPool,
    sessions: &[Uuid],
    users: &[Uuid],
    slots: &[i64],
    permits: &[i64],
) -> Result<(), Unavailable> {
    sqlx::query!(
        r#"
        UPDATE governance_rate_windows AS rate_window
        SET used = (
            SELECT array_agg(
                kept.used - CASE WHEN kept.slot = unspent.slot THEN LEAST(unspent.permits, kept.used) ELSE 0 END
                ORDER BY kept.slot
            )
            FROM unnest(rate_window.slots, rate_window.used) AS kept (slot, used)
        )
        FROM unnest($1::uuid[], $2::uuid[], $3::bigint[], $4::bigint[])
            AS unspent (session_id, user_id, slot, permits)
        WHERE rate_window.session_id = unspent.session_id
            AND rate_window.user_id = unspent.user_id
            AND unspent.slot = ANY (rate_window.slots)
        "#,
        sessions,
        users,
        slots,
        permits,
    )
    .execute(db.write())
    .await?;
    Ok(())
}

/// Deletes rows in which nothing counts any more.
pub(super) async fn delete_expired(db: &DbPool, now: DateTime<Utc>) -> Result<(), Unavailable> {
    // A margin for replicas whose clock is behind.
    sqlx::query!("DELETE FROM governance_rate_windows WHERE expires_at < $1", now - TimeDelta::minutes(1))
        .execute(db.write())
        .await?;
    Ok(())
}

fn timestamp(millis: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(millis).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
