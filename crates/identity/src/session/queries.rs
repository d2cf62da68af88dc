//! The statements about `user_sessions`.

use chrono::{DateTime, Utc};
use sqlx::PgExecutor;
use systemprompt_model::{SessionId, UserId};
use uuid::Uuid;

use crate::error::StoreError;
use crate::session::Session;

struct SessionRow {
    session_id: Uuid,
    user_id: Uuid,
    started_at: DateTime<Utc>,
    last_activity_at: DateTime<Utc>,
    ended_at: Option<DateTime<Utc>>,
    expires_at: DateTime<Utc>,
    revoked_at: Option<DateTime<Utc>>,
    client_id: Option<String>,
    client_session_id: Option<String>,
    session_source: String,
    request_count: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_microdollars: i64,
}

impl TryFrom<SessionRow> for Session {
    type Error = StoreError;

    fn try_from(row: SessionRow) -> Result<Self, StoreError> {
        Ok(Self {
            id: SessionId::from_uuid(row.session_id),
            user_id: UserId::from_uuid(row.user_id),
            started_at: row.started_at,
            last_activity_at: row.last_activity_at,
            ended_at: row.ended_at,
            expires_at: row.expires_at,
            revoked_at: row.revoked_at,
            client_id: row.client_id,
            client_session_id: row.client_session_id,
            source: row.session_source.parse().map_err(|_| StoreError::Inconsistent {
                table: "user_sessions",
                column: "session_source",
                id: row.session_id.to_string(),
            })?,
            request_count: row.request_count,
            input_tokens: row.input_tokens,
            output_tokens: row.output_tokens,
            cost_microdollars: row.cost_microdollars,
        })
    }
}

/// Selects sessions; the rest of the statement says which. A macro, because what is checked when the code is compiled must
/// be one literal there.
macro_rules! select_sessions {
    ($which:literal $(, $argument:expr)* $(,)?) => {
        sqlx::query_as!(
            SessionRow,
            r#"
        SELECT
            session_id,
            user_id,
            started_at,
            last_activity_at,
            ended_at,
            expires_at,
            revoked_at,
            client_id,
            client_session_id,
            session_source,
            request_count,
            input_tokens,
            output_tokens,
            cost_microdollars
        FROM user_sessions
        "# + $which
            $(, $argument)*
        )
    };
}

/// The newest session of those that follow from the same.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Newest {
    pub id: SessionId,
    pub last_activity_at: DateTime<Utc>,
    pub standing: Standing,
}

/// What decides whether a request may use a session.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub user_id: UserId,
    pub expires_at: DateTime<Utc>,
    pub ended_at: Option<DateTime<Utc>>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// A session to be stored.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SessionRecord<'a> {
    /// What it follows from, if it is derived.
    pub derived_from: Option<&'a [u8]>,
    /// The one it takes over from, which ends with its last activity.
    pub follows: Option<SessionId>,
    pub id: SessionId,
    pub user: UserId,
    pub api_key: Option<Uuid>,
    pub source: &'static str,
    pub client: Option<&'a str>,
    pub client_session: Option<&'a str>,
    pub user_agent: Option<&'a str>,
    pub ip_address: Option<&'a str>,
    pub now: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
}

/// Stores the session unless it is there; says whether it was stored.
pub(crate) async fn insert_session(
    executor: impl PgExecutor<'_>,
    session: &SessionRecord<'_>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        WITH rested AS (
            UPDATE user_sessions
            SET ended_at = last_activity_at
            WHERE session_id = $12 AND ended_at IS NULL
        )
        INSERT INTO user_sessions (
            session_id,
            user_id,
            started_at,
            last_activity_at,
            expires_at,
            client_id,
            client_session_id,
            api_key_id,
            session_source,
            user_agent,
            ip_address,
            derived_from
        )
        VALUES ($1, $2, $3, $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (session_id) DO NOTHING
        "#,
        session.id.as_uuid(),
        session.user.as_uuid(),
        session.now,
        session.expires_at,
        session.client,
        session.client_session,
        session.api_key,
        session.source,
        session.user_agent,
        session.ip_address,
        session.derived_from,
        session.follows.map(|id| id.as_uuid()),
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() > 0)
}

pub(crate) async fn find_standing(
    executor: impl PgExecutor<'_>,
    id: SessionId,
) -> Result<Option<Standing>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        SELECT
            user_id,
            expires_at,
            ended_at,
            revoked_at
        FROM user_sessions
        WHERE session_id = $1
        "#,
        id.as_uuid(),
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| Standing {
        user_id: UserId::from_uuid(row.user_id),
        expires_at: row.expires_at,
        ended_at: row.ended_at,
        revoked_at: row.revoked_at,
    }))
}

/// The newest session that follows from `origin`.
pub(crate) async fn find_newest(executor: impl PgExecutor<'_>, origin: &[u8]) -> Result<Option<Newest>, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        SELECT
            session_id,
            user_id,
            last_activity_at,
            expires_at,
            ended_at,
            revoked_at
        FROM user_sessions
        WHERE derived_from = $1
        ORDER BY started_at DESC
        LIMIT 1
        "#,
        origin,
    )
    .fetch_optional(executor)
    .await?;
    Ok(row.map(|row| Newest {
        id: SessionId::from_uuid(row.session_id),
        last_activity_at: row.last_activity_at,
        standing: Standing {
            user_id: UserId::from_uuid(row.user_id),
            expires_at: row.expires_at,
            ended_at: row.ended_at,
            revoked_at: row.revoked_at,
        },
    }))
}

pub(crate) async fn find_session(executor: impl PgExecutor<'_>, id: SessionId) -> Result<Option<Session>, StoreError> {
    let row = select_sessions!(
        r#"
        WHERE session_id = $1
        "#,
        id.as_uuid(),
    )
    .fetch_optional(executor)
    .await?;
    row.map(Session::try_from).transpose()
}

/// The sessions of a user, ended ones included, the newest first.
pub(crate) async fn list_sessions(
    executor: impl PgExecutor<'_>,
    user: UserId,
    limit: i64,
) -> Result<Vec<Session>, StoreError> {
    let rows = select_sessions!(
        r#"
        WHERE user_id = $1
        ORDER BY started_at DESC, session_id
        LIMIT $2
        "#,
        user.as_uuid(),
        limit,
    )
    .fetch_all(executor)
    .await?;
    rows.into_iter().map(Session::try_from).collect()
}

/// Revokes a session that is not yet; says whether there was one.
pub(crate) async fn revoke_session(
    executor: impl PgExecutor<'_>,
    id: SessionId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        UPDATE user_sessions
        SET
            revoked_at = $2,
            ended_at = COALESCE(ended_at, $2)
        WHERE session_id = $1 AND revoked_at IS NULL
        "#,
        id.as_uuid(),
        now,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// Revokes all sessions of a user that are still good; says how many.
pub(crate) async fn revoke_sessions_of(
    executor: impl PgExecutor<'_>,
    user: UserId,
    now: DateTime<Utc>,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        UPDATE user_sessions
        SET
            revoked_at = $2,
            ended_at = COALESCE(ended_at, $2)
        WHERE user_id = $1 AND revoked_at IS NULL AND expires_at > $2
        "#,
        user.as_uuid(),
        now,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected())
}

/// Deletes at most `limit` sessions that expired before `before`; says how many. What another replica is deleting is left
/// to it.
pub(crate) async fn delete_expired_sessions(
    executor: impl PgExecutor<'_>,
    before: DateTime<Utc>,
    limit: i64,
) -> Result<u64, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        DELETE FROM user_sessions
        WHERE session_id IN (
            SELECT session_id
            FROM user_sessions
            WHERE expires_at < $1
            ORDER BY expires_at
            LIMIT $2
            FOR UPDATE SKIP LOCKED
        )
        "#,
        before,
        limit,
    )
    .execute(executor)
    .await?;
    Ok(done.rows_affected())
}
