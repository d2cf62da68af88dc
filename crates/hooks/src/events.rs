//! The projection `hook_events`: what coding clients asked and told.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{Decided, LedgerEntry, Projection, ProjectionError, Record};
use systemprompt_governance::Effect as _;
use systemprompt_governance::page::Page;
use systemprompt_model::{ActionId, ApiKeyId, SessionId, TraceId, UserId};
use uuid::Uuid;

use crate::effect::{Hook, HookEvent};

/// An event, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct HookEventRow {
    /// The action.
    pub id: ActionId,
    /// When it was recorded.
    pub created_at: DateTime<Utc>,
    /// Its name, as the client wrote it.
    pub event: String,
    /// Whose it is.
    pub user_id: Option<UserId>,
    /// The session.
    pub session_id: Option<SessionId>,
    /// The API key of the client.
    pub api_key_id: Option<ApiKeyId>,
    /// The trace.
    pub trace_id: TraceId,
    /// The client's own id of the session.
    pub client_session_id: Option<String>,
    /// The plugin that sent it.
    pub plugin_id: Option<String>,
    /// The agent that acted, in the client's words.
    pub agent_id: Option<String>,
    /// The tool.
    pub tool_name: Option<String>,
    /// The client's id of the call.
    pub tool_use_id: Option<String>,
    /// What more the event says: its source, reason, trigger or type.
    pub detail: Option<String>,
    /// `allow`, `deny` or `warn`.
    pub decision: String,
    /// The policy that decided.
    pub policy: String,
    /// Its reason.
    pub reason: Option<String>,
}

/// Which events to list. Absent fields do not restrict.
#[derive(Debug, Clone)]
pub struct HookEventFilter {
    /// At this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Before this time.
    pub until: Option<DateTime<Utc>>,
    /// Of this name.
    pub event: Option<String>,
    /// Of the sessions whose ids lie between these two, both included.
    pub session: Option<(Uuid, Uuid)>,
    /// With one of these keys.
    pub keys: Option<Vec<ApiKeyId>>,
    /// About this tool.
    pub tool: Option<String>,
    /// Of this account.
    pub user: Option<UserId>,
    /// With this decision.
    pub decision: Option<String>,
    /// Older than this event: the last one of the page before.
    pub before: Option<ActionId>,
    /// At most so many.
    pub limit: u32,
}

impl Default for HookEventFilter {
    fn default() -> Self {
        Self {
            since: None,
            until: None,
            event: None,
            session: None,
            keys: None,
            tool: None,
            user: None,
            decision: None,
            before: None,
            limit: 20,
        }
    }
}

/// The events that fit the filter, the newest first.
pub async fn list_hook_events(
    pool: &PgPool,
    filter: &HookEventFilter,
) -> Result<Page<HookEventRow, ActionId>, sqlx::Error> {
    let keys = filter.keys.as_ref().map(|keys| keys.iter().map(ApiKeyId::as_uuid).collect::<Vec<_>>());
    let items = sqlx::query!(
        r#"
        SELECT
            id, created_at, event, user_id, session_id, trace_id, client_session_id, plugin_id, agent_id, tool_name,
            tool_use_id, detail, decision, policy, reason, api_key_id
        FROM hook_events
        WHERE ($1::timestamptz IS NULL OR created_at >= $1)
          AND ($2::text IS NULL OR event = $2)
          AND ($3::uuid IS NULL OR session_id BETWEEN $3 AND $7)
          AND ($4::uuid IS NULL OR user_id = $4)
          AND ($5::text IS NULL OR decision = $5)
          AND ($8::timestamptz IS NULL OR created_at < $8)
          AND ($9::uuid[] IS NULL OR api_key_id = ANY ($9))
          AND ($10::text IS NULL OR tool_name = $10)
          -- Ids of events that can come again do not contain their time.
          AND ($11::uuid IS NULL OR (created_at, id) < (SELECT b.created_at, b.id FROM hook_events AS b WHERE b.id = $11))
        ORDER BY created_at DESC, id DESC
        LIMIT $6
        "#,
        filter.since,
        filter.event,
        filter.session.map(|(from, _)| from),
        filter.user.map(|id| id.as_uuid()),
        filter.decision,
        i64::from(filter.limit) + 1,
        filter.session.map(|(_, to)| to),
        filter.until,
        keys.as_deref(),
        filter.tool,
        filter.before.map(|id| id.as_uuid()),
    )
    .map(|row| HookEventRow {
        id: ActionId::from_uuid(row.id),
        created_at: row.created_at,
        event: row.event,
        user_id: row.user_id.map(UserId::from_uuid),
        session_id: row.session_id.map(SessionId::from_uuid),
        api_key_id: row.api_key_id.map(ApiKeyId::from_uuid),
        trace_id: TraceId::from_uuid(row.trace_id),
        client_session_id: row.client_session_id,
        plugin_id: row.plugin_id,
        agent_id: row.agent_id,
        tool_name: row.tool_name,
        tool_use_id: row.tool_use_id,
        detail: row.detail,
        decision: row.decision,
        policy: row.policy,
        reason: row.reason,
    })
    .fetch_all(pool)
    .await?;
    Ok(Page::cut(items, filter.limit, |item| item.id))
}

/// What the effects write, read back: what is absent was empty.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Facts {
    agent_id: Option<String>,
    agent_type: Option<String>,
    call: Option<String>,
    client_session: Option<String>,
    cwd: Option<String>,
    detail: Option<String>,
    event: String,
    mode: Option<String>,
    plugin_id: Option<String>,
    tool: Option<String>,
}

/// The projection.
pub(crate) struct HookEvents;

#[async_trait]
impl Projection for HookEvents {
    fn name(&self) -> &'static str {
        "hook_events"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["hook_events"]
    }

    async fn apply(&self, connection: &mut PgConnection, entries: &[LedgerEntry]) -> Result<(), ProjectionError> {
        let mut rows: Vec<(&Decided, Facts)> = Vec::new();
        for entry in entries {
            if let Record::Decided(decided) = &entry.record
                && [Hook::KIND, HookEvent::KIND].contains(&&*decided.effect.kind)
            {
                let facts = decided.effect.facts.read().map_err(|error| entry.unreadable(error))?;
                rows.push((&**decided, facts));
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let decided = |value: for<'d> fn(&'d Decided) -> Option<&'d str>| {
            rows.iter().map(|(row, _)| value(row)).collect::<Vec<_>>()
        };
        let told = |value: for<'d> fn(&'d Facts) -> Option<&'d str>| {
            rows.iter().map(|(_, facts)| value(facts)).collect::<Vec<_>>()
        };
        let ids = |value: fn(&Decided) -> Option<Uuid>| rows.iter().map(|(row, _)| value(row)).collect::<Vec<_>>();
        sqlx::query!(
            r#"
            INSERT INTO hook_events (
                id, event, user_id, session_id, trace_id, client_session_id, plugin_id, agent_id, agent_type, tool_name,
                tool_use_id, permission_mode, cwd, detail, decision, policy, reason, created_at, api_key_id
            )
            SELECT *
            FROM UNNEST(
                $1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::uuid[], $6::text[], $7::text[], $8::text[],
                $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
                $17::text[], $18::timestamptz[], $19::uuid[]
            )
            ON CONFLICT DO NOTHING
            "#,
            &ids(|row| Some(row.action.as_uuid())) as _,
            &told(|facts| Some(&facts.event)) as _,
            &ids(|row| row.by.user.map(|id| id.as_uuid())) as _,
            &ids(|row| row.by.session.map(|id| id.as_uuid())) as _,
            &ids(|row| Some(row.by.trace.as_uuid())) as _,
            &told(|facts| facts.client_session.as_deref()) as _,
            &told(|facts| facts.plugin_id.as_deref()) as _,
            &told(|facts| facts.agent_id.as_deref()) as _,
            &told(|facts| facts.agent_type.as_deref()) as _,
            &told(|facts| facts.tool.as_deref()) as _,
            &told(|facts| facts.call.as_deref()) as _,
            &told(|facts| facts.mode.as_deref()) as _,
            &told(|facts| facts.cwd.as_deref()) as _,
            &told(|facts| facts.detail.as_deref()) as _,
            &decided(|row| Some(&row.decision.verdict)) as _,
            &decided(|row| Some(&row.decision.policy)) as _,
            &decided(|row| row.decision.reason.as_deref()) as _,
            &rows.iter().map(|(row, _)| row.at).collect::<Vec<_>>() as _,
            &ids(|row| row.by.key.map(|id| id.as_uuid())) as _,
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn forget(&self, connection: &mut PgConnection, actions: &[ActionId]) -> Result<(), ProjectionError> {
        let actions: Vec<Uuid> = actions.iter().map(ActionId::as_uuid).collect();
        sqlx::query!("DELETE FROM hook_events WHERE id = ANY ($1)", &actions).execute(connection).await?;
        Ok(())
    }
}
