//! The statements of approvals.

use chrono::{DateTime, Utc};
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use systemprompt_model::{ActionId, ApprovalId, SessionId, UserId};
use uuid::Uuid;

use super::{Approval, Decider, Wanted};

struct Row {
    id: Uuid,
    state: String,
    tool_name: String,
    rule: String,
    user_id: Option<Uuid>,
    user_name: String,
    session_id: Option<Uuid>,
    action_id: Uuid,
    requested_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
    decided_by: Option<String>,
    decided_at: Option<DateTime<Utc>>,
    note: Option<String>,
    approvers: Vec<String>,
}

impl Row {
    /// As it is at `now`: what has expired is written down when the same call comes again.
    fn at(self, now: DateTime<Utc>) -> Approval {
        let is_open = ["pending", "approved", "denied"].contains(&self.state.as_str());
        let state = if is_open && self.expires_at <= now { "expired".to_owned() } else { self.state };
        Approval {
            id: ApprovalId::from_uuid(self.id),
            state,
            tool_name: self.tool_name,
            rule: self.rule,
            user_id: self.user_id.map(UserId::from_uuid),
            user_name: self.user_name,
            session_id: self.session_id.map(SessionId::from_uuid),
            action_id: ActionId::from_uuid(self.action_id),
            requested_at: self.requested_at,
            expires_at: self.expires_at,
            decided_by: self.decided_by,
            decided_at: self.decided_at,
            note: self.note,
            approvers: self.approvers,
        }
    }
}

/// Writes down that what waited for this call, or was decided, holds no more.
pub(super) async fn expire(
    connection: &mut PgConnection,
    digest: &[u8; 32],
    now: DateTime<Utc>,
) -> Result<(), sqlx::Error> {
    sqlx::query!(
        r#"
        UPDATE governance_approvals
        SET state = 'expired'
        WHERE digest = $1
          AND state IN ('pending', 'approved', 'denied')
          AND expires_at <= $2
        "#,
        digest.as_slice(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Has a call wait, unless it does already or was decided. Says whether it begins to.
pub(super) async fn begin(
    connection: &mut PgConnection,
    id: ApprovalId,
    wanted: &Wanted<'_>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        INSERT INTO governance_approvals (
            id, digest, state, tool_name, rule, user_id, user_name, session_id, action_id, requested_at, expires_at,
            approvers
        )
        VALUES ($1, $2, 'pending', $3, $4, $5, $6, $7, $8, $9, $10, $11)
        ON CONFLICT (digest) WHERE state IN ('pending', 'approved', 'denied') DO NOTHING
        "#,
        id.as_uuid(),
        wanted.digest.as_slice(),
        wanted.tool,
        wanted.rule,
        wanted.user.map(|id| id.as_uuid()),
        wanted.user_name,
        wanted.session.map(|id| id.as_uuid()),
        wanted.action.as_uuid(),
        now,
        now + wanted.ttl,
        wanted.approvers,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// What waits for this call or was decided about it. Others who ask the same wait meanwhile.
pub(super) async fn open(connection: &mut PgConnection, digest: &[u8; 32]) -> Result<Option<Approval>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            id, state, tool_name, rule, user_id, user_name, session_id, action_id, requested_at, expires_at, decided_by,
            decided_at, note, approvers
        FROM governance_approvals
        WHERE digest = $1 AND state IN ('pending', 'approved', 'denied')
        FOR UPDATE
        "#,
        digest.as_slice(),
    )
    .fetch_optional(connection)
    .await?;
    // What had expired was put aside in this transaction.
    Ok(row.map(|row| row.at(DateTime::<Utc>::MIN_UTC)))
}

/// A model's answer with the call is given, under an approval that is good for one call. Says whether it is the first.
pub(super) async fn propose(
    connection: &mut PgConnection,
    id: ApprovalId,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        "UPDATE governance_approvals SET proposed_at = $2 WHERE id = $1 AND proposed_at IS NULL",
        id.as_uuid(),
        now,
    )
    .execute(connection)
    .await?;
    Ok(done.rows_affected() > 0)
}

/// The approval was good for one call, which is made now.
pub(super) async fn use_up(connection: &mut PgConnection, id: ApprovalId) -> Result<(), sqlx::Error> {
    sqlx::query!("UPDATE governance_approvals SET state = 'used' WHERE id = $1", id.as_uuid())
        .execute(connection)
        .await?;
    Ok(())
}

/// How many calls wait for somebody.
pub(super) async fn count_pending(pool: &PgPool, now: DateTime<Utc>) -> Result<i64, sqlx::Error> {
    sqlx::query_scalar!(
        r#"SELECT COUNT(*) AS "count!" FROM governance_approvals WHERE state = 'pending' AND expires_at > $1"#,
        now,
    )
    .fetch_one(pool)
    .await
}

/// The latest, those only about which holders of one of `roles` decide if there are any.
pub(super) async fn list(
    pool: &PgPool,
    state: Option<&str>,
    roles: Option<&[String]>,
    now: DateTime<Utc>,
    limit: i64,
) -> Result<Vec<Approval>, sqlx::Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"
        SELECT
            id, state, tool_name, rule, user_id, user_name, session_id, action_id, requested_at, expires_at, decided_by,
            decided_at, note, approvers
        FROM governance_approvals
        WHERE (
                  $1::text IS NULL
               OR $1 = CASE
                      WHEN state IN ('pending', 'approved', 'denied') AND expires_at <= $2 THEN 'expired'
                      ELSE state
                  END
              )
          AND ($4::text[] IS NULL OR approvers && $4)
        ORDER BY requested_at DESC
        LIMIT $3
        "#,
        state,
        now,
        limit,
        roles,
    )
    .fetch_all(pool)
    .await?;
    Ok(rows.into_iter().map(|row| row.at(now)).collect())
}

pub(super) async fn find(pool: &PgPool, id: ApprovalId, now: DateTime<Utc>) -> Result<Option<Approval>, sqlx::Error> {
    let row = sqlx::query_as!(
        Row,
        r#"
        SELECT
            id, state, tool_name, rule, user_id, user_name, session_id, action_id, requested_at, expires_at, decided_by,
            decided_at, note, approvers
        FROM governance_approvals
        WHERE id = $1
        "#,
        id.as_uuid(),
    )
    .fetch_optional(pool)
    .await?;
    Ok(row.map(|row| row.at(now)))
}

/// Writes down a decision, if it still waits and somebody else asked. It holds as long as it would have waited.
pub(super) async fn decide(
    pool: &PgPool,
    id: ApprovalId,
    state: &str,
    by: &Decider,
    note: Option<&str>,
    now: DateTime<Utc>,
) -> Result<bool, sqlx::Error> {
    let done = sqlx::query!(
        r#"
        UPDATE governance_approvals
        SET state = $2,
            decided_by = $3,
            note = $4,
            decided_at = $5::timestamptz,
            expires_at = $5::timestamptz + (expires_at - requested_at)
        WHERE id = $1
          AND state = 'pending'
          AND expires_at > $5::timestamptz
          AND ($6::uuid IS NULL OR user_id IS DISTINCT FROM $6)
        "#,
        id.as_uuid(),
        state,
        by.name,
        note,
        now,
        by.user.map(|id| id.as_uuid()),
    )
    .execute(pool)
    .await?;
    Ok(done.rows_affected() > 0)
}
