//! The statements about `user_api_keys`.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{PgConnection, PgExecutor};
use systemprompt_model::{ApiKeyId, UserId};
use uuid::Uuid;

use crate::api_key::{ApiKey, MARK};
use crate::error::StoreError;

struct ApiKeyRow {
    id: Uuid,
    user_id: Uuid,
    name: String,
    key_prefix: String,
    created_at: DateTime<Utc>,
    last_used_at: Option<DateTime<Utc>>,
    expires_at: Option<DateTime<Utc>>,
    revoked_at: Option<DateTime<Utc>>,
}

impl From<ApiKeyRow> for ApiKey {
    fn from(row: ApiKeyRow) -> Self {
        Self {
            id: ApiKeyId::from_uuid(row.id),
            user_id: UserId::from_uuid(row.user_id),
            name: row.name,
            prefix: row.key_prefix,
            created_at: row.created_at,
            last_used_at: row.last_used_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
        }
    }
}

/// A statement that gives keys: what is before its columns, and what is after them. A macro, because what is checked when
/// the code is compiled must be one literal there.
macro_rules! api_key_rows {
    ($before:literal, $after:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            ApiKeyRow,
            $before + r#"
            id,
            user_id,
            name,
            key_prefix,
            created_at,
            last_used_at,
            expires_at,
            revoked_at
        "# + $after
            $(, $argument)*
        )
    };
}

pub(crate) async fn insert_api_key(
    connection: &mut PgConnection,
    key: &ApiKey,
    digest: &[u8; 32],
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO user_api_keys (
            id,
            user_id,
            name,
            key_prefix,
            key_sha256,
            created_at,
            expires_at
        )
        VALUES ($1, $2, $3, $4, $5, $6, $7)
        "#,
        key.id.as_uuid(),
        key.user_id.as_uuid(),
        key.name,
        key.prefix,
        digest.as_slice(),
        key.created_at,
        key.expires_at,
    )
    .execute(connection)
    .await?;
    Ok(())
}

pub(crate) async fn list_api_keys(executor: impl PgExecutor<'_>, user: UserId) -> Result<Vec<ApiKey>, StoreError> {
    let rows = api_key_rows!(
        "SELECT",
        r#"
        FROM user_api_keys
        WHERE user_id = $1
        ORDER BY created_at, id
        "#,
        user.as_uuid(),
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(ApiKey::from).collect())
}

/// Keys by their id, of everybody, after this one.
pub(crate) async fn all_api_keys(
    executor: impl PgExecutor<'_>,
    after: Option<ApiKeyId>,
    limit: i64,
) -> Result<Vec<ApiKey>, StoreError> {
    let rows = api_key_rows!(
        "SELECT",
        r#"
        FROM user_api_keys
        WHERE $1::uuid IS NULL OR id > $1
        ORDER BY id
        LIMIT $2
        "#,
        after.map(|id| id.as_uuid()),
        limit,
    )
    .fetch_all(executor)
    .await?;
    Ok(rows.into_iter().map(ApiKey::from).collect())
}

/// A key by its id or by its visible prefix.
pub(crate) async fn find_api_key(
    executor: impl PgExecutor<'_>,
    id: Option<ApiKeyId>,
    prefix: Option<&str>,
) -> Result<Option<ApiKey>, StoreError> {
    let row = api_key_rows!(
        "SELECT",
        r#"
        FROM user_api_keys
        WHERE id = $1 OR key_prefix = $2
        "#,
        id.map(|id| id.as_uuid()),
        prefix,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(ApiKey::from))
}

pub(crate) async fn api_keys_meant_by(executor: impl PgExecutor<'_>, text: &str) -> Result<Vec<ApiKeyId>, StoreError> {
    let ids = sqlx::query_scalar!(
        r#"
        SELECT id
        FROM user_api_keys
        WHERE id::text = $1 OR name = $1 OR (starts_with($1, $2) AND starts_with(key_prefix, $1))
        ORDER BY id
        "#,
        text,
        MARK,
    )
    .fetch_all(executor)
    .await?;
    Ok(ids.into_iter().map(ApiKeyId::from_uuid).collect())
}

pub(crate) async fn names_of_api_keys(
    executor: impl PgExecutor<'_>,
    ids: &[ApiKeyId],
) -> Result<HashMap<ApiKeyId, String>, StoreError> {
    let ids: Vec<Uuid> = ids.iter().map(ApiKeyId::as_uuid).collect();
    let rows = sqlx::query!("SELECT id, name FROM user_api_keys WHERE id = ANY ($1)", &ids).fetch_all(executor).await?;
    Ok(rows.into_iter().map(|row| (ApiKeyId::from_uuid(row.id), row.name)).collect())
}

/// Revokes the key if it is not yet, and gives it as it then is.
pub(crate) async fn revoke_api_key(
    executor: impl PgExecutor<'_>,
    id: ApiKeyId,
    now: DateTime<Utc>,
) -> Result<Option<ApiKey>, StoreError> {
    let row = api_key_rows!(
        r#"
        UPDATE user_api_keys
        SET revoked_at = COALESCE(revoked_at, $2)
        WHERE id = $1
        RETURNING
        "#,
        "",
        id.as_uuid(),
        now,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(ApiKey::from))
}

pub(crate) async fn revoke_api_keys_of(
    executor: impl PgExecutor<'_>,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        UPDATE user_api_keys
        SET revoked_at = $2
        WHERE user_id = $1 AND revoked_at IS NULL
        "#,
        user.as_uuid(),
        now,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected())
}

/// Whether the user was ever given a key.
pub(crate) async fn ever_had_api_key(executor: impl PgExecutor<'_>, user: UserId) -> Result<bool, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT EXISTS (SELECT 1 FROM user_api_keys WHERE user_id = $1) AS "exists!""#,
        user.as_uuid(),
    )
    .fetch_one(executor)
    .await
}
