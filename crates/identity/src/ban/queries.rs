//! The statements about `banned_ips`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;

use super::BannedIp;

/// Bans, the latest first: those that hold, or all.
pub(crate) async fn list(
    executor: impl PgExecutor<'_>,
    holding_at: Option<DateTime<Utc>>,
) -> Result<Vec<BannedIp>, sqlx::Error> {
    sqlx::query_as!(
        BannedIp,
        r#"
        SELECT ip_address, reason, banned_at, expires_at, ban_count, is_permanent, ban_source
        FROM banned_ips
        WHERE $1::timestamptz IS NULL OR is_permanent OR expires_at > $1
        ORDER BY banned_at DESC, ip_address
        "#,
        holding_at,
    )
    .fetch_all(executor)
    .await
}

/// Bans an address, again if it was.
pub(crate) async fn add(executor: impl PgExecutor<'_>, ban: &BannedIp) -> Result<BannedIp, sqlx::Error> {
    sqlx::query_as!(
        BannedIp,
        r#"
        INSERT INTO banned_ips (ip_address, reason, banned_at, expires_at, is_permanent, ban_source)
        VALUES ($1, $2, $3, $4, $5, $6)
        ON CONFLICT (ip_address) DO UPDATE
        SET reason = EXCLUDED.reason,
            banned_at = EXCLUDED.banned_at,
            expires_at = EXCLUDED.expires_at,
            is_permanent = EXCLUDED.is_permanent,
            ban_source = EXCLUDED.ban_source,
            ban_count = banned_ips.ban_count + 1
        RETURNING ip_address, reason, banned_at, expires_at, ban_count, is_permanent, ban_source
        "#,
        ban.ip_address,
        ban.reason,
        ban.banned_at,
        ban.expires_at,
        ban.is_permanent,
        ban.ban_source,
    )
    .fetch_one(executor)
    .await
}

/// Takes a ban back, and gives it as it was.
pub(crate) async fn remove(executor: impl PgExecutor<'_>, address: &str) -> Result<Option<BannedIp>, sqlx::Error> {
    sqlx::query_as!(
        BannedIp,
        r#"
        DELETE FROM banned_ips
        WHERE ip_address = $1
        RETURNING ip_address, reason, banned_at, expires_at, ban_count, is_permanent, ban_source
        "#,
        address,
    )
    .fetch_optional(executor)
    .await
}

/// Deletes bans that hold no more.
pub(crate) async fn delete_expired(executor: impl PgExecutor<'_>, now: DateTime<Utc>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("DELETE FROM banned_ips WHERE expires_at <= $1", now).execute(executor).await?;
    Ok(done.rows_affected())
}
