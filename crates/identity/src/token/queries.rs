//! The statements about `oauth_jti_revocations`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use systemprompt_model::{TokenId, UserId};

pub(crate) async fn revoke_token(
    executor: impl PgExecutor<'_>,
    token: TokenId,
    user: UserId,
    now: DateTime<Utc>,
    expires_at: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        INSERT INTO oauth_jti_revocations (jti, user_id, revoked_at, expires_at)
        VALUES ($1, $2, $3, $4)
        ON CONFLICT (jti) DO NOTHING
        "#,
        token.as_uuid(),
        user.as_uuid(),
        now,
        expires_at,
    )
    .execute(executor)
    .await?;
    Ok(())
}

pub(crate) async fn delete_expired_revocations(
    executor: impl PgExecutor<'_>,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!("DELETE FROM oauth_jti_revocations WHERE expires_at < $1", now).execute(executor).await?;
    Ok(done.rows_affected())
}
