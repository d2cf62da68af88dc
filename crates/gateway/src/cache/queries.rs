//! The table of the answers that are kept.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::Serialize;
use sqlx::PgPool;
use systemprompt_model::UserId;

use super::entry::{Entry, Found};

/// The answer of this key, unless it is over or was stored before `since`.
pub(super) async fn find(
    pool: &PgPool,
    key: &[u8],
    now: DateTime<Utc>,
    since: DateTime<Utc>,
) -> Result<Option<Found>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        SELECT content_type, answer, stored_at
        FROM gateway_answers
        WHERE key = $1 AND expires_at > $2 AND stored_at > $3
        "#,
        key,
        now,
        since,
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| Found {
        answer: Bytes::from(row.answer),
        content_type: row.content_type,
        age: (now - row.stored_at).num_seconds().max(0),
    }))
}

/// Keeps an answer, in the place of an older one.
pub(super) async fn store(pool: &PgPool, entry: &Entry) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO gateway_answers (
            key, route_id, user_id, provider, model, content_type, answer, bytes, stored_at, expires_at
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
        ON CONFLICT (key) DO UPDATE
        SET user_id = EXCLUDED.user_id,
            content_type = EXCLUDED.content_type,
            answer = EXCLUDED.answer,
            bytes = EXCLUDED.bytes,
            stored_at = EXCLUDED.stored_at,
            expires_at = EXCLUDED.expires_at
        "#,
        &entry.key.0[..],
        entry.route,
        entry.user.map(|user| user.as_uuid()),
        entry.provider,
        entry.model,
        entry.content_type,
        &entry.answer[..],
        entry.answer.len() as i64,
        entry.stored_at,
        entry.expires_at,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// Drops what is over, and of the rest the oldest until it is no more than so many bytes.
pub(super) async fn evict(pool: &PgPool, now: DateTime<Utc>, most: i64) -> Result<(), sqlx::Error> {
    sqlx::query!("DELETE FROM gateway_answers WHERE expires_at <= $1", now).execute(pool).await?;
    let total = sqlx::query_scalar!(r#"SELECT COALESCE(SUM(bytes), 0)::bigint AS "total!" FROM gateway_answers"#)
        .fetch_one(pool)
        .await?;
    if total <= most {
        return Ok(());
    }
    sqlx::query!(
        r#"
        WITH sized AS (
            SELECT key, SUM(bytes) OVER (ORDER BY stored_at DESC, key) AS newer
            FROM gateway_answers
        )
        DELETE FROM gateway_answers AS a
        USING sized
        WHERE a.key = sized.key AND sized.newer > $1::bigint
        "#,
        most,
    )
    .execute(pool)
    .await?;
    Ok(())
}

/// What is kept of a route.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeptAnswers {
    /// The route.
    pub route_id: String,
    /// How many answers.
    pub answers: i64,
    /// Their size.
    pub bytes: i64,
    /// When the oldest was stored.
    pub oldest: DateTime<Utc>,
    /// When the newest was stored.
    pub newest: DateTime<Utc>,
}

/// What is kept, route by route, without what is over.
pub async fn kept(pool: &PgPool, now: DateTime<Utc>) -> Result<Vec<KeptAnswers>, sqlx::Error> {
    sqlx::query_as!(
        KeptAnswers,
        r#"
        SELECT
            route_id,
            COUNT(*) AS "answers!",
            SUM(bytes)::bigint AS "bytes!",
            MIN(stored_at) AS "oldest!",
            MAX(stored_at) AS "newest!"
        FROM gateway_answers
        WHERE expires_at > $1
        GROUP BY route_id
        ORDER BY route_id
        "#,
        now,
    )
    .fetch_all(pool)
    .await
}

/// Forgets answers: all of them, or those of one route, or those that one user asked for first. Says how many there were.
pub async fn purge(pool: &PgPool, route: Option<&str>, user: Option<UserId>) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        DELETE FROM gateway_answers
        WHERE ($1::text IS NULL OR route_id = $1) AND ($2::uuid IS NULL OR user_id = $2)
        "#,
        route,
        user.map(|user| user.as_uuid()),
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected())
}
