//! The projection `governance_decisions`: one row for each decision of the Gate.

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sqlx::PgPool;
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{Decided, LedgerEntry, Projection, ProjectionError, Record};
use systemprompt_model::{ActionId, ApiKeyId, DecisionId, EntityKind, SessionId, TraceId, UserId};
use uuid::Uuid;

use crate::page::{Page, id_range};

/// A decision of the Gate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DecisionDetail {
    /// Its id.
    pub decision_id: DecisionId,
    /// The action it is about.
    pub action_id: ActionId,
    /// The kind of effect.
    pub effect: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// The account that asked; absent for somebody without one.
    pub user_id: Option<UserId>,
    /// Its session.
    pub session_id: Option<SessionId>,
    /// The API key it asked with.
    pub api_key_id: Option<ApiKeyId>,
    /// Its trace.
    pub trace_id: TraceId,
    /// The kind of thing it is about.
    pub entity_type: String,
    /// The thing it is about.
    pub entity_id: String,
    /// The tool, `user_prompt`, or the operation of a change.
    pub tool_name: String,
    /// `allow`, `deny` or `warn`.
    pub decision: String,
    /// The policy that decided.
    pub policy: String,
    /// Its reason.
    pub reason: Option<String>,
    /// Every rule that was looked at: `{policy_id, result, detail, duration_ms}`.
    pub evaluated_rules: Value,
    /// Digest of the policy documents in force.
    pub policy_version: String,
    /// The agent that acts, in its client's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_id: Option<String>,
    /// What the caller's credential allows, whoever acts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent_scope: Option<String>,
    /// The plugin that asked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugin_id: Option<String>,
}

/// What was decided about an action, in short.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Whether it may be done.
    pub allowed: bool,
    /// The policy that decided.
    pub policy: String,
    /// Its reason.
    pub reason: Option<String>,
}

/// What was decided about these actions; those of which nothing is known are left out.
pub async fn decisions_about(pool: &PgPool, actions: &[ActionId]) -> Result<HashMap<ActionId, Made>, sqlx::Error> {
    let ids: Vec<Uuid> = actions.iter().map(ActionId::as_uuid).collect();
    let rows = sqlx::query!(
        "SELECT action_id, decision, policy, reason FROM governance_decisions WHERE action_id = ANY ($1)",
        &ids,
    )
    .fetch_all(pool)
    .await?;
    let made = rows.into_iter().map(|row| {
        let made = Made { allowed: row.decision != "deny", policy: row.policy, reason: row.reason };
        (ActionId::from_uuid(row.action_id), made)
    });
    Ok(made.collect())
}

/// What effects say of who acts, whatever their kind: absent for most.
#[derive(Default, Deserialize)]
#[serde(default)]
struct ActorFacts {
    agent_id: Option<String>,
    agent_scope: Option<String>,
    plugin_id: Option<String>,
}

impl ActorFacts {
    fn of(entry: &LedgerEntry, decided: &Decided) -> Result<Self, ProjectionError> {
        let facts = &decided.effect.facts;
        // Most facts say nothing of it, and need not be read.
        if !["\"agent_", "\"plugin_id\""].iter().any(|key| facts.text().contains(key)) {
            return Ok(Self::default());
        }
        facts.read().map_err(|error| entry.unreadable(error))
    }
}

/// Which decisions to list. Absent fields do not restrict.
#[derive(Debug, Clone)]
pub struct DecisionFilter {
    /// Made at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// Made before this time.
    pub until: Option<DateTime<Utc>>,
    /// `allow`, `deny` or `warn`.
    pub decision: Option<String>,
    /// Made by this policy.
    pub policy: Option<String>,
    /// About this account.
    pub user: Option<UserId>,
    /// Older than this decision: the last one of the page before.
    pub before: Option<DecisionId>,
    /// At most so many; 20 unless changed.
    pub limit: u32,
}

impl Default for DecisionFilter {
    fn default() -> Self {
        Self { since: None, until: None, decision: None, policy: None, user: None, before: None, limit: 20 }
    }
}

/// The decisions that fit the filter.
pub async fn list_decisions(
    pool: &PgPool,
    filter: &DecisionFilter,
) -> Result<Page<DecisionDetail, DecisionId>, sqlx::Error> {
    let (from, to) = id_range(filter.since, filter.until, filter.before.map(|id| id.as_uuid()));
    let items = sqlx::query!(
        r#"
        SELECT
            id, action_id, effect, created_at, user_id, session_id, trace_id, entity_type, entity_id, tool_name, decision,
            policy, reason, evaluated_rules, policy_version, agent_id, agent_scope, plugin_id, api_key_id
        FROM governance_decisions
        WHERE id >= $1
          AND id < $2
          AND ($3::timestamptz IS NULL OR created_at >= $3)
          AND ($4::timestamptz IS NULL OR created_at < $4)
          AND ($5::text IS NULL OR decision = $5)
          AND ($6::text IS NULL OR policy = $6)
          AND ($7::uuid IS NULL OR user_id = $7)
        ORDER BY id DESC
        LIMIT $8
        "#,
        from,
        to,
        filter.since,
        filter.until,
        filter.decision,
        filter.policy,
        filter.user.map(|user| user.as_uuid()),
        i64::from(filter.limit) + 1,
    )
    .map(|row| DecisionDetail {
        decision_id: DecisionId::from_uuid(row.id),
        action_id: ActionId::from_uuid(row.action_id),
        effect: row.effect,
        created_at: row.created_at,
        user_id: row.user_id.map(UserId::from_uuid),
        session_id: row.session_id.map(SessionId::from_uuid),
        api_key_id: row.api_key_id.map(ApiKeyId::from_uuid),
        trace_id: TraceId::from_uuid(row.trace_id),
        entity_type: row.entity_type,
        entity_id: row.entity_id,
        tool_name: row.tool_name,
        decision: row.decision,
        policy: row.policy,
        reason: row.reason,
        evaluated_rules: row.evaluated_rules,
        policy_version: row.policy_version,
        agent_id: row.agent_id,
        agent_scope: row.agent_scope,
        plugin_id: row.plugin_id,
    })
    .fetch_all(pool)
    .await?;
    Ok(Page::cut(items, filter.limit, |item| item.decision_id))
}

/// What an account asked for, and how often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The account.
    pub user: UserId,
    /// The kind of entity.
    pub kind: EntityKind,
    /// Its id.
    pub id: String,
    /// How often.
    pub count: i64,
    /// When last.
    pub last: DateTime<Utc>,
}

/// What accounts asked for since then, by account and entity.
pub async fn asked_for(pool: &PgPool, since: Option<DateTime<Utc>>) -> Result<Vec<Asked>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            user_id AS "user_id!",
            entity_type,
            entity_id,
            count(*) AS "count!",
            max(created_at) AS "last!"
        FROM governance_decisions
        WHERE user_id IS NOT NULL
          AND ($1::timestamptz IS NULL OR created_at >= $1)
        GROUP BY user_id, entity_type, entity_id
        ORDER BY user_id, entity_type, entity_id
        "#,
        since,
    )
    .fetch_all(pool)
    .await?;
    // Other decisions are about no entity: access rules do not speak of them.
    let asked = rows.into_iter().filter_map(|row| {
        Some(Asked {
            user: UserId::from_uuid(row.user_id),
            kind: row.entity_type.parse().ok()?,
            id: row.entity_id,
            count: row.count,
            last: row.last,
        })
    });
    Ok(asked.collect())
}

/// The projection.
pub(crate) struct Decisions;

#[async_trait]
impl Projection for Decisions {
    fn name(&self) -> &'static str {
        "governance_decisions"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["governance_decisions"]
    }

    async fn apply(&self, connection: &mut PgConnection, entries: &[LedgerEntry]) -> Result<(), ProjectionError> {
        let mut rows: Vec<&Decided> = Vec::new();
        let mut actors: Vec<ActorFacts> = Vec::new();
        for entry in entries {
            if let Record::Decided(decided) = &entry.record {
                rows.push(decided);
                actors.push(ActorFacts::of(entry, decided)?);
            }
        }
        if rows.is_empty() {
            return Ok(());
        }
        let texts =
            |value: for<'d> fn(&'d Decided) -> Option<&'d str>| rows.iter().map(|row| value(row)).collect::<Vec<_>>();
        let ids = |value: fn(&Decided) -> Option<Uuid>| rows.iter().map(|row| value(row)).collect::<Vec<_>>();
        let acting = |value: for<'f> fn(&'f ActorFacts) -> Option<&'f str>| {
            actors.iter().map(|facts| value(facts)).collect::<Vec<_>>()
        };
        sqlx::query!(
            r#"
            INSERT INTO governance_decisions (
                id, action_id, effect, user_id, session_id, trace_id, context_id, task_id, entity_type, entity_id,
                tool_name, decision, policy, reason, evaluated_rules, policy_version, actor_kind, actor_id, act_chain,
                created_at, agent_id, agent_scope, plugin_id, api_key_id
            )
            SELECT
                d.id, d.action_id, d.effect, d.user_id, d.session_id, d.trace_id, d.context_id, d.task_id,
                d.entity_type, d.entity_id, d.tool_name, d.decision, d.policy, d.reason, d.evaluated_rules::jsonb,
                d.policy_version, d.actor_kind, d.actor_id, d.act_chain::jsonb, d.created_at, d.agent_id, d.agent_scope,
                d.plugin_id, d.api_key_id
            FROM UNNEST(
                $1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[],
                $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
                $17::text[], $18::text[], $19::text[], $20::timestamptz[], $21::text[], $22::text[], $23::text[],
                $24::uuid[]
            ) AS d (
                id, action_id, effect, user_id, session_id, trace_id, context_id, task_id, entity_type, entity_id,
                tool_name, decision, policy, reason, evaluated_rules, policy_version, actor_kind, actor_id, act_chain,
                created_at, agent_id, agent_scope, plugin_id, api_key_id
            )
            ON CONFLICT DO NOTHING
            "#,
            &ids(|row| Some(row.decision.id.as_uuid())) as _,
            &ids(|row| Some(row.action.as_uuid())) as _,
            &texts(|row| Some(&*row.effect.kind)) as _,
            &ids(|row| row.by.user.map(|id| id.as_uuid())) as _,
            &ids(|row| row.by.session.map(|id| id.as_uuid())) as _,
            &ids(|row| Some(row.by.trace.as_uuid())) as _,
            &ids(|row| row.by.context.map(|id| id.as_uuid())) as _,
            &ids(|row| row.by.task.map(|id| id.as_uuid())) as _,
            &texts(|row| Some(&*row.resource.kind)) as _,
            &texts(|row| Some(&*row.resource.id)) as _,
            &texts(|row| Some(&*row.decision.subject)) as _,
            &texts(|row| Some(&*row.decision.verdict)) as _,
            &texts(|row| Some(&*row.decision.policy)) as _,
            &texts(|row| row.decision.reason.as_deref()) as _,
            &texts(|row| Some(row.decision.evaluations.text())) as _,
            &texts(|row| Some(&*row.decision.policy_version)) as _,
            &texts(|row| Some(row.by.actors.first().map_or("", |actor| actor.kind.as_str()))) as _,
            &texts(|row| Some(row.by.actors.first().map_or("", |actor| &actor.id))) as _,
            &rows.iter().map(|row| act_chain(row)).collect::<Vec<_>>() as _,
            &rows.iter().map(|row| row.at).collect::<Vec<_>>() as _,
            &acting(|facts| facts.agent_id.as_deref()) as _,
            &acting(|facts| facts.agent_scope.as_deref()) as _,
            &acting(|facts| facts.plugin_id.as_deref()) as _,
            &ids(|row| row.by.key.map(|id| id.as_uuid())) as _,
        )
        .execute(connection)
        .await?;
        Ok(())
    }

    async fn forget(&self, connection: &mut PgConnection, actions: &[ActionId]) -> Result<(), ProjectionError> {
        let actions: Vec<Uuid> = actions.iter().map(ActionId::as_uuid).collect();
        sqlx::query!("DELETE FROM governance_decisions WHERE action_id = ANY ($1)", &actions)
            .execute(connection)
            .await?;
        Ok(())
    }
}

/// Who acts for whom, where there is more than one.
fn act_chain(row: &Decided) -> Option<String> {
    let delegated = row.by.actors.len() > 1;
    delegated.then(|| serde_json::to_string(&row.by.actors).unwrap_or_default())
}
