use systemprompt_config::profile::RateGroup;
use systemprompt_database::DbPool;
use systemprompt_model::UserType;
use uuid::Uuid;

use super::rates::Rate;

/// A bucket that has been full for this long is deleted: a margin for replicas whose clock is behind.
const MARGIN: i64 = 60 * 1_000_000_000;

/// What a bucket gave.
#[derive(Debug, Clone, Copy)]
pub(super) struct Granted {
    pub(super) tokens: i64,
    /// When the bucket will be full; nanoseconds since 1970.
    pub(super) full_at: i64,
}

/// Takes `wanted` tokens out of a bucket, or as many as it has.
pub(super) async fn lease(
    db: &DbPool,
    group: RateGroup,
    tier: UserType,
    caller: u128,
    rate: Rate,
    now: i64,
    wanted: i64,
) -> Result<Granted, sqlx::Error> {
    let wanted = wanted.min(rate.capacity as i64);
    let row = sqlx::query!(
        r#"
        INSERT INTO http_rate_buckets AS bucket (rate_group, tier, caller, full_at, granted)
        VALUES ($1, $2, $3, $4::bigint + $5::bigint * $6::bigint, $5::bigint)
        ON CONFLICT (rate_group, tier, caller) DO UPDATE SET (full_at, granted) = (
            WITH current AS (
                SELECT LEAST(GREATEST(bucket.full_at - $4::bigint, 0), $7::bigint) AS missing
            ),
            given AS (
                SELECT LEAST($5::bigint, ($7::bigint - missing) / $6::bigint) AS tokens, missing FROM current
            )
            SELECT $4::bigint + missing + tokens * $6::bigint, tokens FROM given
        )
        RETURNING full_at, granted
        "#,
        group.as_str(),
        tier.as_str(),
        Uuid::from_u128(caller),
        now,
        wanted,
        rate.interval,
        rate.depth,
    )
    .fetch_one(db.write())
    .await?;
    Ok(Granted { tokens: row.granted, full_at: row.full_at })
}

/// Deletes the buckets that are full, which is what a bucket that is not there is.
pub(super) async fn delete_full(db: &DbPool, now: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM http_rate_buckets WHERE full_at < $1", now.saturating_sub(MARGIN))
        .execute(db.write())
        .await?;
    Ok(())
}
