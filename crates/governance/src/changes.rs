//! The projection `governance_changes`: who changed what of the installation. `infra logs changes …` reads it.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{LedgerEntry, Projection, ProjectionError, Record};
use systemprompt_model::{ActionId, ApiKeyId, SessionId, TraceId, UserId};
use uuid::Uuid;

use crate::administer::{Administer, StateDigest};
use crate::effect::Effect as _;
use crate::page::Page;

/// The projection.
pub(crate) struct Changes;

impl Changes {
    /// The name of the projection and of its table.
    pub(crate) const NAME: &'static str = "governance_changes";
}

/// A change, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChangeRow {
    /// The action.
    pub id: ActionId,
    /// When it was decided.
    pub created_at: DateTime<Utc>,
    /// What was done, e.g. `user.create`.
    pub operation: String,
    /// What was changed: its kind.
    pub about_kind: String,
    /// And its id.
    pub about_id: String,
    /// The account that did it; absent for the operator and the installation.
    pub user_id: Option<UserId>,
    /// Its session.
    pub session_id: Option<SessionId>,
    /// The API key it was done with.
    pub api_key_id: Option<ApiKeyId>,
    /// `user`, `operator`, `system` …
    pub actor_kind: String,
    /// Which of them.
    pub actor_id: String,
    /// The trace it belongs to.
    pub trace_id: TraceId,
    /// `allow`, `deny` or `warn`.
    pub decision: String,
    /// The policy that decided.
    pub policy: String,
    /// `pending`, `completed`, `failed`, `abandoned` or `rejected`.
    pub status: String,
    /// Why it failed or was refused.
    pub reason: Option<String>,
    /// Digest of the state before.
    pub before_sha256: Option<String>,
    /// Digest of the state after.
    pub after_sha256: Option<String>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
}

/// A change with what was asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ChangeDetail {
    /// What lists show of it.
    #[serde(flatten)]
    pub change: ChangeRow,
    /// What was asked for, as long as it is kept.
    pub request: Option<serde_json::Value>,
}

/// Which changes to list. Absent fields do not restrict.
#[derive(Debug, Clone, Default)]
pub struct ChangeFilter {
    /// At this time or later.
    pub since: Option<DateTime<Utc>>,
    /// With this operation, or an operation of this group (`user` for `user.create`).
    pub operation: Option<String>,
    /// Of this kind of thing, or of this very thing.
    pub about: Option<String>,
    /// Older than this change: the last one of the page before.
    pub before: Option<ActionId>,
    /// At most so many.
    pub limit: u32,
}

/// The changes that fit the filter, newest first.
pub async fn list_changes(pool: &PgPool, filter: &ChangeFilter) -> Result<Page<ChangeRow, ActionId>, sqlx::Error> {
    let rows = sqlx::query_as!(
        StoredChange,
        r#"
        SELECT *
        FROM governance_changes
        WHERE ($1::timestamptz IS NULL OR created_at >= $1)
          AND ($2::text IS NULL OR operation = $2 OR starts_with(operation, $2 || '.'))
          AND ($3::text IS NULL OR $3 IN (about_kind, about_id))
          AND ($4::uuid IS NULL OR id < $4)
        ORDER BY id DESC
        LIMIT $5
        "#,
        filter.since,
        filter.operation,
        filter.about,
        filter.before.map(|id| id.as_uuid()),
        i64::from(filter.limit) + 1,
    )
    .fetch_all(pool)
    .await?;
    let items = rows.into_iter().map(ChangeRow::from).collect();
    Ok(Page::cut(items, filter.limit, |item: &ChangeRow| item.id))
}

/// One change.
pub async fn show_change(pool: &PgPool, id: ActionId) -> Result<Option<ChangeDetail>, sqlx::Error> {
    let row = sqlx::query_as!(StoredChange, "SELECT * FROM governance_changes WHERE id = $1", id.as_uuid())
        .fetch_optional(pool)
        .await?;
    let Some(row) = row else { return Ok(None) };
    let request =
        sqlx::query_scalar!("SELECT body FROM ledger_content WHERE action_id = $1 AND part = 'request'", id.as_uuid())
            .fetch_optional(pool)
            .await?
            .flatten();
    Ok(Some(ChangeDetail {
        change: row.into(),
        request: request.and_then(|request| serde_json::from_str(&request).ok()),
    }))
}

/// Up to ten changes whose ids lie between these two, both included.
pub async fn changes_between(pool: &PgPool, from: Uuid, to: Uuid) -> Result<Vec<ActionId>, sqlx::Error> {
    let ids = sqlx::query_scalar!(
        "SELECT id FROM governance_changes WHERE id BETWEEN $1 AND $2 ORDER BY id LIMIT 10",
        from,
        to,
    )
    .fetch_all(pool)
    .await?;
    Ok(ids.into_iter().map(ActionId::from_uuid).collect())
}

/// What was asked for in these changes, as long as it is kept.
pub async fn asked_for(
    pool: &PgPool,
    changes: &[ActionId],
) -> Result<HashMap<ActionId, serde_json::Value>, sqlx::Error> {
    let ids: Vec<Uuid> = changes.iter().map(ActionId::as_uuid).collect();
    let rows = sqlx::query!(
        r#"SELECT action_id, body AS "body!" FROM ledger_content WHERE action_id = ANY ($1) AND part = 'request' AND body IS NOT NULL"#,
        &ids,
    )
    .fetch_all(pool)
    .await?;
    let read = rows
        .into_iter()
        .filter_map(|row| Some((ActionId::from_uuid(row.action_id), serde_json::from_str(&row.body).ok()?)));
    Ok(read.collect())
}

/// The state that the last change of this kind left behind.
pub(crate) async fn last_state(
    pool: &PgPool,
    operation: &str,
    about_id: &str,
) -> Result<Option<StateDigest>, sqlx::Error> {
    let last = sqlx::query_scalar!(
        r#"
        SELECT after_sha256
        FROM governance_changes
        WHERE operation = $1 AND about_id = $2 AND status = 'completed'
        ORDER BY id DESC
        LIMIT 1
        "#,
        operation,
        about_id,
    )
    .fetch_optional(pool)
    .await?;
    Ok(last.flatten().and_then(|digest| StateDigest::read(&digest)))
}

/// What a change is known to have left behind.
#[derive(Debug, Clone)]
pub struct RecordedState {
    /// The change.
    pub id: ActionId,
    /// What was done.
    pub operation: String,
    /// What was changed, by its id or, when it was new, its name.
    pub about_id: String,
    /// `pending`, `completed`, `failed`, `abandoned` or `rejected`.
    pub status: String,
    /// The state before.
    pub before: Option<StateDigest>,
    /// The state after.
    pub after: Option<StateDigest>,
}

/// Everything that was done to things of this kind, oldest first.
pub async fn recorded_states(pool: &PgPool, about_kind: &str) -> Result<Vec<RecordedState>, sqlx::Error> {
    let digest = |digest: Option<String>| digest.and_then(|digest| StateDigest::read(&digest));
    sqlx::query!(
        r#"
        SELECT id, operation, about_id, status, before_sha256, after_sha256
        FROM governance_changes
        WHERE about_kind = $1
        ORDER BY id
        "#,
        about_kind,
    )
    .map(|row| RecordedState {
        id: ActionId::from_uuid(row.id),
        operation: row.operation,
        about_id: row.about_id,
        status: row.status,
        before: digest(row.before_sha256),
        after: digest(row.after_sha256),
    })
    .fetch_all(pool)
    .await
}

struct StoredChange {
    id: Uuid,
    operation: String,
    about_kind: String,
    about_id: String,
    user_id: Option<Uuid>,
    actor_kind: String,
    actor_id: String,
    trace_id: Uuid,
    decision: String,
    policy: String,
    status: String,
    reason: Option<String>,
    before_sha256: Option<String>,
    after_sha256: Option<String>,
    created_at: DateTime<Utc>,
    completed_at: Option<DateTime<Utc>>,
    session_id: Option<Uuid>,
    api_key_id: Option<Uuid>,
}

impl From<StoredChange> for ChangeRow {
    fn from(row: StoredChange) -> Self {
        Self {
            id: ActionId::from_uuid(row.id),
            created_at: row.created_at,
            operation: row.operation,
            about_kind: row.about_kind,
            about_id: row.about_id,
            user_id: row.user_id.map(UserId::from_uuid),
            session_id: row.session_id.map(SessionId::from_uuid),
            api_key_id: row.api_key_id.map(ApiKeyId::from_uuid),
            actor_kind: row.actor_kind,
            actor_id: row.actor_id,
            trace_id: TraceId::from_uuid(row.trace_id),
            decision: row.decision,
            policy: row.policy,
            status: row.status,
            reason: row.reason,
            before_sha256: row.before_sha256,
            after_sha256: row.after_sha256,
            completed_at: row.completed_at,
        }
    }
}

/// What [`Administer`] writes, read back: what is absent was empty.
#[derive(Default, Deserialize)]
#[serde(default)]
struct DecidedFacts {
    about_id: String,
    about_kind: String,
    operation: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct EndedFacts {
    after_sha256: Option<String>,
    before_sha256: Option<String>,
}

#[async_trait]
impl Projection for Changes {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn tables(&self) -> &'static [&'static str] {
        &["governance_changes"]
    }

    /// Changes are few: a statement each is plain and fast enough.
    async fn apply(&self, connection: &mut PgConnection, entries: &[LedgerEntry]) -> Result<(), ProjectionError> {
        for entry in entries {
            match &entry.record {
                Record::Decided(decided) if decided.effect.kind == Administer::KIND => {
                    let facts: DecidedFacts = decided.effect.facts.read().map_err(|error| entry.unreadable(error))?;
                    let actor = decided.by.actors.first();
                    let refused = decided.is_refused();
                    sqlx::query!(
                        r#"
                        INSERT INTO governance_changes (
                            id, operation, about_kind, about_id, user_id, actor_kind, actor_id, trace_id, decision,
                            policy, status, reason, created_at, completed_at, session_id, api_key_id
                        )
                        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)
                        ON CONFLICT (id) DO NOTHING
                        "#,
                        decided.action.as_uuid(),
                        facts.operation,
                        facts.about_kind,
                        facts.about_id,
                        decided.by.user.map(|id| id.as_uuid()),
                        actor.map_or("", |actor| actor.kind.as_str()),
                        actor.map_or("", |actor| actor.id.as_str()),
                        decided.by.trace.as_uuid(),
                        decided.decision.verdict,
                        decided.decision.policy,
                        if refused { "rejected" } else { "pending" },
                        decided.decision.reason,
                        decided.at,
                        refused.then_some(decided.at),
                        decided.by.session.map(|id| id.as_uuid()),
                        decided.by.key.map(|id| id.as_uuid()),
                    )
                    .execute(&mut *connection)
                    .await?;
                }
                Record::Ended(ended) if ended.effect == Administer::KIND => {
                    let facts: EndedFacts = match &ended.facts {
                        Some(facts) => facts.read().map_err(|error| entry.unreadable(error))?,
                        None => EndedFacts::default(),
                    };
                    sqlx::query!(
                        r#"
                        UPDATE governance_changes
                        SET status = $2, reason = $3, before_sha256 = $4, after_sha256 = $5, completed_at = $6
                        WHERE id = $1 AND status IN ('pending', 'abandoned')
                        "#,
                        ended.action.as_uuid(),
                        ended.status,
                        ended.reason,
                        facts.before_sha256,
                        facts.after_sha256,
                        ended.at,
                    )
                    .execute(&mut *connection)
                    .await?;
                }
                Record::Abandoned(abandoned) if abandoned.effect == Administer::KIND => {
                    sqlx::query!(
                        r#"
                        UPDATE governance_changes
                        SET status = 'abandoned', reason = $2, completed_at = $3
                        WHERE id = $1 AND status = 'pending'
                        "#,
                        abandoned.action.as_uuid(),
                        abandoned.reason,
                        abandoned.at,
                    )
                    .execute(&mut *connection)
                    .await?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    async fn forget(&self, connection: &mut PgConnection, actions: &[ActionId]) -> Result<(), ProjectionError> {
        let actions: Vec<Uuid> = actions.iter().map(ActionId::as_uuid).collect();
        sqlx::query!("DELETE FROM governance_changes WHERE id = ANY ($1)", &actions).execute(connection).await?;
        Ok(())
    }
}
