//! What the authenticator asks, one statement per credential.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use sqlx::types::Json;
use systemprompt_model::{ApiKeyId, UserId};
use uuid::Uuid;

use crate::error::StoreError;
use crate::token::Claims;
use crate::user::UserStatus;

/// As much of a user as a principal is made of.
pub(crate) struct Account {
    pub id: UserId,
    pub name: String,
    pub status: UserStatus,
    pub roles: Vec<String>,
    pub attributes: BTreeMap<String, String>,
}

/// An API key and whose it is.
pub(crate) struct KeyHolder {
    pub key_id: ApiKeyId,
    pub digest: Vec<u8>,
    pub last_used_at: Option<DateTime<Utc>>,
    pub expires_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
    pub account: Account,
}

/// Whose a token is, and whether it and its session are still wanted.
pub(crate) struct TokenHolder {
    pub account: Account,
    pub session_is_live: bool,
    pub token_is_revoked: bool,
}

pub(crate) async fn find_key_holder(
    executor: impl PgExecutor<'_>,
    prefix: &str,
) -> Result<Option<KeyHolder>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            api_key.id AS key_id,
            api_key.key_sha256,
            api_key.last_used_at,
            api_key.expires_at,
            api_key.revoked_at,
            account.id AS user_id,
            account.name,
            account.status,
            account.roles,
            account.attributes AS "attributes: Json<BTreeMap<String, String>>"
        FROM user_api_keys AS api_key
        JOIN users AS account ON account.id = api_key.user_id
        WHERE api_key.key_prefix = $1
        "#,
        prefix,
    )
    .fetch_optional(executor)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(KeyHolder {
        key_id: ApiKeyId::from_uuid(row.key_id),
        digest: row.key_sha256,
        last_used_at: row.last_used_at,
        expires_at: row.expires_at,
        revoked_at: row.revoked_at,
        account: Account {
            id: UserId::from_uuid(row.user_id),
            name: row.name,
            status: status(&row.status, row.user_id)?,
            roles: row.roles,
            attributes: row.attributes.0,
        },
    }))
}

pub(crate) async fn find_token_holder(
    executor: impl PgExecutor<'_>,
    claims: &Claims,
    now: DateTime<Utc>,
) -> Result<Option<TokenHolder>, StoreError> {
    let row = sqlx::query!(
        r#"
        SELECT
            account.id,
            account.name,
            account.status,
            account.roles,
            account.attributes AS "attributes: Json<BTreeMap<String, String>>",
            EXISTS (
                SELECT 1
                FROM user_sessions AS session
                WHERE session.session_id = $2
                    AND session.user_id = account.id
                    AND session.revoked_at IS NULL
                    AND session.ended_at IS NULL
                    AND session.expires_at > $4
            ) AS "session_is_live!",
            EXISTS (
                SELECT 1
                FROM oauth_jti_revocations AS revocation
                WHERE revocation.jti = $3
            ) AS "token_is_revoked!"
        FROM users AS account
        WHERE account.id = $1
        "#,
        claims.sub.as_uuid(),
        claims.session_id.as_uuid(),
        claims.jti.as_uuid(),
        now,
    )
    .fetch_optional(executor)
    .await?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(TokenHolder {
        account: Account {
            id: UserId::from_uuid(row.id),
            name: row.name,
            status: status(&row.status, row.id)?,
            roles: row.roles,
            attributes: row.attributes.0,
        },
        session_is_live: row.session_is_live,
        token_is_revoked: row.token_is_revoked,
    }))
}

fn status(text: &str, id: Uuid) -> Result<UserStatus, StoreError> {
    text.parse().map_err(|_| StoreError::Inconsistent { table: "users", column: "status", id: id.to_string() })
}
