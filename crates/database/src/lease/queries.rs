//! The statements of the lease engine. Checked by its tests, as this crate is built before there is a schema.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::Row as _;
use uuid::Uuid;

use super::account::{Lease, LeaseRequest};
use super::limit::{LeaseKey, Refilling, Sliding};
use super::owed::Owed;
use crate::connect::DbPool;

/// Leases units of a sliding limit, in one statement that first books what this replica owes the key: at most `wanted` and
/// at most a quarter of what is left, but never less than `needed`; or nothing.
pub(super) async fn lease_sliding(
    db: &DbPool,
    key: &LeaseKey,
    request: &LeaseRequest,
    owed: &[Owed],
    limit: &Sliding,
) -> Result<Lease, sqlx::Error> {
    let (slots, units): (Vec<i64>, Vec<i64>) = owed.iter().map(|owed| (owed.slot, owed.units)).unzip();
    let excess: i64 = units.iter().filter(|units| **units > 0).sum();
    let row = sqlx::query(
        r"
        INSERT INTO leases AS lease (name, subject, part, unit, slots, used, full_at, granted, expires_at)
        SELECT $1, $2, $3, $4, ARRAY[$5::bigint], ARRAY[units + $12::bigint], 0, units, $11
        FROM (SELECT GREATEST($6::bigint, LEAST($7::bigint, $8::bigint / 4)) AS units) AS given
        ON CONFLICT (name, subject, part, unit) DO UPDATE SET (slots, used, granted, expires_at) = (
            WITH counting AS (
                SELECT slot, GREATEST(sum(used), 0)::bigint AS used
                FROM (
                    -- What a clock gave out that was ahead, or has stepped back since, counts from now on for a window.
                    SELECT LEAST(slot, $5::bigint) AS slot, used FROM unnest(lease.slots, lease.used) AS kept (slot, used)
                    UNION ALL
                    SELECT LEAST(slot, $5::bigint), used FROM unnest($13::bigint[], $14::bigint[]) AS owed (slot, used)
                ) AS parts
                WHERE slot > $9
                GROUP BY slot
            ),
            remaining AS (
                SELECT $8::bigint - COALESCE(sum(used), 0)::bigint AS units
                FROM counting
            ),
            given AS (
                SELECT CASE
                    WHEN units >= $6::bigint THEN GREATEST($6::bigint, LEAST($7::bigint, units / 4))
                    ELSE 0
                END AS units
                FROM remaining
            ),
            next AS (
                SELECT slot, sum(used)::bigint AS used
                FROM (
                    SELECT slot, used FROM counting
                    UNION ALL
                    SELECT $5::bigint, units FROM given
                ) AS parts
                GROUP BY slot
                HAVING sum(used) > 0
            )
            SELECT
                COALESCE(array_agg(slot ORDER BY slot), '{}'),
                COALESCE(array_agg(used ORDER BY slot), '{}'),
                (SELECT units FROM given),
                GREATEST(lease.expires_at, $11)
            FROM next
        )
        RETURNING granted, slots, used, set_config(
            'synchronous_commit',
            CASE WHEN $10 THEN current_setting('synchronous_commit') ELSE 'off' END,
            true
        )
        ",
    )
    .bind(&key.name)
    .bind(key.subject)
    .bind(key.part)
    .bind(limit.unit.as_str())
    .bind(request.period)
    .bind(request.needed)
    .bind(request.wanted)
    .bind(limit.amount)
    .bind(limit.over_before(request.now))
    .bind(limit.is_lasting())
    .bind(timestamp(limit.ends_counting(request.period)))
    .bind(excess)
    .bind(slots)
    .bind(units)
    .fetch_one(db.write())
    .await?;
    let granted: i64 = row.try_get("granted")?;
    if granted > 0 {
        return Ok(Lease::Granted(granted));
    }
    let (slots, used): (Vec<i64>, Vec<i64>) = (row.try_get("slots")?, row.try_get("used")?);
    let (free_at, reset_at) = limit.free_at(request.needed, &slots, &used, request.now);
    Ok(Lease::Exhausted { free_at, reset_at })
}

/// Leases units of a refilling limit: what it has up to `wanted`, or nothing if that is less than `needed`.
pub(super) async fn lease_refilling(
    db: &DbPool,
    key: &LeaseKey,
    request: &LeaseRequest,
    limit: &Refilling,
) -> Result<Lease, sqlx::Error> {
    let row = sqlx::query(
        r"
        INSERT INTO leases AS lease (name, subject, part, unit, slots, used, full_at, granted, expires_at)
        VALUES ($1, $2, $3, $4, '{}', '{}', $5::bigint + $7::bigint * $8::bigint, $7, $10)
        ON CONFLICT (name, subject, part, unit) DO UPDATE SET (full_at, granted, expires_at) = (
            WITH current AS (
                SELECT LEAST(GREATEST(lease.full_at - $5::bigint, 0), $9::bigint) AS missing
            ),
            given AS (
                SELECT
                    missing,
                    CASE
                        WHEN ($9::bigint - missing) / $8::bigint >= $6::bigint
                        THEN LEAST($7::bigint, ($9::bigint - missing) / $8::bigint)
                        ELSE 0
                    END AS units
                FROM current
            )
            SELECT $5::bigint + missing + units * $8::bigint, units, $10 FROM given
        )
        RETURNING granted, full_at, set_config('synchronous_commit', 'off', true)
        ",
    )
    .bind(&key.name)
    .bind(key.subject)
    .bind(key.part)
    .bind(limit.unit.as_str())
    .bind(request.now)
    .bind(request.needed)
    .bind(request.wanted.min(limit.capacity))
    .bind(limit.interval)
    .bind(limit.depth)
    .bind(timestamp(request.now.saturating_add(limit.depth)))
    .fetch_one(db.write())
    .await?;
    let granted: i64 = row.try_get("granted")?;
    if granted > 0 {
        return Ok(Lease::Granted(granted));
    }
    let missing = limit.missing(row.try_get("full_at")?, request.now);
    let free_at = request.now + missing + request.needed * limit.interval - limit.depth;
    Ok(Lease::Exhausted { free_at, reset_at: request.now + missing })
}

/// Books what is owed to many keys: takes off what was never used, adds what was used beyond a claim.
pub(super) async fn book(db: &DbPool, owed: &[(LeaseKey, Owed)]) -> Result<(), sqlx::Error> {
    let names: Vec<&str> = owed.iter().map(|(key, _)| &*key.name).collect();
    let subjects: Vec<Uuid> = owed.iter().map(|(key, _)| key.subject).collect();
    let parts: Vec<Uuid> = owed.iter().map(|(key, _)| key.part).collect();
    let kinds: Vec<&str> = owed.iter().map(|(_, owed)| owed.unit.as_str()).collect();
    let slots: Vec<i64> = owed.iter().map(|(_, owed)| owed.slot).collect();
    let units: Vec<i64> = owed.iter().map(|(_, owed)| owed.units).collect();
    let expiries: Vec<DateTime<Utc>> = owed.iter().map(|(_, owed)| timestamp(owed.expires_at)).collect();
    // Rows are locked in the order of their keys: replicas that book for the same keys do not wait for each other in a
    // circle. A row that is gone had nothing to take off; what is to be added makes a new one.
    sqlx::query(
        r"
        WITH owed AS (
            SELECT
                name,
                subject,
                part,
                unit,
                array_agg(slot) AS slots,
                array_agg(units) AS used,
                max(expires_at) AS expires_at
            FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::text[], $5::bigint[], $6::bigint[], $7::timestamptz[])
                AS entry (name, subject, part, unit, slot, units, expires_at)
            GROUP BY name, subject, part, unit
        ),
        locked AS (
            SELECT lease.name, lease.subject, lease.part, lease.unit
            FROM leases AS lease
            JOIN owed USING (name, subject, part, unit)
            ORDER BY lease.name, lease.subject, lease.part, lease.unit
            FOR UPDATE OF lease
        ),
        booked AS (
            UPDATE leases AS lease
            SET (slots, used, expires_at) = (
                SELECT
                    COALESCE(array_agg(slot ORDER BY slot), '{}'),
                    COALESCE(array_agg(units ORDER BY slot), '{}'),
                    GREATEST(lease.expires_at, owed.expires_at)
                FROM (
                    SELECT slot, sum(units)::bigint AS units
                    FROM (
                        SELECT slot, units FROM unnest(lease.slots, lease.used) AS kept (slot, units)
                        UNION ALL
                        SELECT slot, units FROM unnest(owed.slots, owed.used) AS more (slot, units)
                    ) AS parts
                    GROUP BY slot
                    HAVING sum(units) > 0
                ) AS next
            )
            FROM owed
            JOIN locked USING (name, subject, part, unit)
            WHERE lease.name = owed.name
                AND lease.subject = owed.subject
                AND lease.part = owed.part
                AND lease.unit = owed.unit
        )
        INSERT INTO leases AS lease (name, subject, part, unit, slots, used, full_at, granted, expires_at)
        SELECT name, subject, part, unit, excess.slots, excess.used, 0, 0, owed.expires_at
        FROM owed
        CROSS JOIN LATERAL (
            SELECT array_agg(slot ORDER BY slot) AS slots, array_agg(units ORDER BY slot) AS used
            FROM unnest(owed.slots, owed.used) AS entry (slot, units)
            WHERE units > 0
        ) AS excess
        WHERE excess.slots IS NOT NULL
            AND NOT EXISTS (
                SELECT
                FROM locked
                WHERE locked.name = owed.name
                    AND locked.subject = owed.subject
                    AND locked.part = owed.part
                    AND locked.unit = owed.unit
            )
        ON CONFLICT (name, subject, part, unit) DO UPDATE SET
            slots = lease.slots || excluded.slots,
            used = lease.used || excluded.used,
            expires_at = GREATEST(lease.expires_at, excluded.expires_at)
        ",
    )
    .bind(names)
    .bind(subjects)
    .bind(parts)
    .bind(kinds)
    .bind(slots)
    .bind(units)
    .bind(expiries)
    .execute(db.write())
    .await?;
    Ok(())
}

/// Deletes rows in which nothing counts any more.
pub(super) async fn delete_expired(db: &DbPool, now: DateTime<Utc>) -> Result<(), sqlx::Error> {
    // A margin for replicas whose clock is behind.
    sqlx::query("DELETE FROM leases WHERE expires_at < $1")
        .bind(now - TimeDelta::minutes(1))
        .execute(db.write())
        .await?;
    Ok(())
}

fn timestamp(nanos: i64) -> DateTime<Utc> {
    // A little later, as PostgreSQL counts microseconds.
    DateTime::from_timestamp_micros(nanos / 1000 + 1).unwrap_or(DateTime::<Utc>::MAX_UTC)
}
