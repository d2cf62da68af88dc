//! Content that goes before its time: what one user said and was told, or what one action holds.
//!
//! The log keeps digests and no content, so no chain notices. What was erased is written down beside it, so that nobody
//! takes it for expired or stolen; who erased it is an action of the log, and the end of that action has the digest of what
//! is written down. So a row that was added, is missing or says something else shows (`erased.rs`), and so does content that
//! comes back from an old copy of the database.

use aws_lc_rs::digest::{Context, SHA256};
use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use systemprompt_model::{ActionId, UserId};
use uuid::Uuid;

/// Actions looked at in one statement, so that none takes long.
const BATCH: i64 = 500;

/// What was erased.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Erased {
    /// Of how many actions something was erased.
    #[serde(rename = "erased_actions")]
    pub actions: u64,
    /// How many parts: requests, answers, inputs of tools, what findings were found in.
    pub parts: u64,
}

/// What a change erased, as its end in the log has the digest of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ErasedState {
    /// How many parts.
    pub parts: u64,
    /// SHA-256 of a line for each: the action, a space, the part, a space, when it was erased in microseconds since 1970.
    pub sha256: String,
}

/// Erases all content of what `user` did, as far as the decisions in the tables know; catch up first. `change`: who does it.
pub async fn erase_user(
    pool: &PgPool,
    user: UserId,
    change: ActionId,
    now: DateTime<Utc>,
) -> Result<Erased, sqlx::Error> {
    let mut erased = Erased::default();
    let mut after = Uuid::nil();
    loop {
        let actions = sqlx::query_scalar!(
            r#"
            SELECT d.action_id
            FROM governance_decisions AS d
            WHERE d.user_id = $1 AND d.action_id > $2
            ORDER BY d.action_id
            LIMIT $3
            "#,
            user.as_uuid(),
            after,
            BATCH,
        )
        .fetch_all(pool)
        .await?;
        let Some(last) = actions.last() else { return Ok(erased) };
        after = *last;
        let some = erase(pool, &actions, None, change, now).await?;
        erased.actions += some.actions;
        erased.parts += some.parts;
    }
}

/// Erases the content of an action, or only these parts of it.
pub async fn erase_action(
    pool: &PgPool,
    action: ActionId,
    parts: Option<&[String]>,
    change: ActionId,
    now: DateTime<Utc>,
) -> Result<Erased, sqlx::Error> {
    erase(pool, &[action.as_uuid()], parts, change, now).await
}

/// What this change erased, as it is written down now.
pub async fn state(connection: &mut PgConnection, change: ActionId) -> Result<ErasedState, sqlx::Error> {
    let mut digest = Context::new(&SHA256);
    let mut parts = 0;
    let (mut action, mut part) = (Uuid::nil(), String::new());
    loop {
        let rows = sqlx::query!(
            r#"
            SELECT action_id, part, erased_at
            FROM ledger_erasures
            WHERE change_id = $1 AND (action_id, part) > ($2, $3)
            ORDER BY action_id, part
            LIMIT $4
            "#,
            change.as_uuid(),
            action,
            part,
            BATCH,
        )
        .fetch_all(&mut *connection)
        .await?;
        for row in &rows {
            let line = format!("{} {} {}\n", row.action_id, row.part, row.erased_at.timestamp_micros());
            digest.update(line.as_bytes());
        }
        parts += rows.len() as u64;
        let Some(last) = rows.last() else { break };
        (action, part) = (last.action_id, last.part.clone());
    }
    Ok(ErasedState { parts, sha256: hex::encode(digest.finish()) })
}

/// The names of the parts that are kept of an action's content.
pub async fn kept_parts(pool: &PgPool, action: ActionId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT part FROM ledger_content WHERE action_id = $1 ORDER BY part", action.as_uuid())
        .fetch_all(pool)
        .await
}

/// The names of the parts of an action's content that were erased.
pub async fn erased_parts(pool: &PgPool, action: ActionId) -> Result<Vec<String>, sqlx::Error> {
    sqlx::query_scalar!("SELECT part FROM ledger_erasures WHERE action_id = $1 ORDER BY part", action.as_uuid())
        .fetch_all(pool)
        .await
}

async fn erase(
    pool: &PgPool,
    actions: &[Uuid],
    parts: Option<&[String]>,
    change: ActionId,
    now: DateTime<Utc>,
) -> Result<Erased, sqlx::Error> {
    let row = sqlx::query!(
        r#"
        WITH gone AS (
            DELETE FROM ledger_content
            WHERE action_id = ANY ($1) AND ($2::text[] IS NULL OR part = ANY ($2))
            RETURNING action_id, part
        ), noted AS (
            INSERT INTO ledger_erasures (action_id, part, erased_at, change_id)
            SELECT action_id, part, $3, $4 FROM gone
            ON CONFLICT (action_id, part) DO NOTHING
        )
        SELECT COUNT(DISTINCT action_id) AS "actions!", COUNT(*) AS "parts!" FROM gone
        "#,
        actions,
        parts,
        now,
        change.as_uuid(),
    )
    .fetch_one(pool)
    .await?;
    Ok(Erased { actions: row.actions as u64, parts: row.parts as u64 })
}
