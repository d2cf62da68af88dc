//! Traces: everything that was decided in one, whatever it was about. `infra logs trace …` reads them.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use sqlx::PgPool;
use systemprompt_model::{ActionId, DecisionId, SessionId, TraceId, UserId};
use uuid::Uuid;

use crate::ledger::text::first_id_at;
use crate::page::{Page, id_range};

/// Which traces to list. Absent fields do not restrict. A trace fits if something in it does.
#[derive(Debug, Clone, Default)]
pub struct TraceFilter {
    /// With something decided at this time or later.
    pub since: Option<DateTime<Utc>>,
    /// With something decided before this time.
    pub until: Option<DateTime<Utc>>,
    /// Of this account.
    pub user: Option<UserId>,
    /// Of the sessions whose ids lie between these two.
    pub session: Option<(Uuid, Uuid)>,
    /// `allow`, `deny` or `warn`.
    pub decision: Option<String>,
    /// Decided by this policy.
    pub policy: Option<String>,
    /// With an action of this kind: `infer`, `administer` …
    pub effect: Option<String>,
    /// One of these.
    pub among: Option<Vec<TraceId>>,
    /// Older than this decision: the oldest one of the page before.
    pub before: Option<DecisionId>,
    /// At most so many.
    pub limit: u32,
}

/// One line of a list of traces.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TraceSummary {
    /// The trace.
    pub trace_id: TraceId,
    /// When the first thing in it was decided.
    pub created_at: DateTime<Utc>,
    /// The account; absent for somebody without one.
    pub user_id: Option<UserId>,
    /// The session.
    pub session_id: Option<SessionId>,
    /// Who acted, of those without an account.
    pub actor_id: String,
    /// What was done, each once: `infer`, `user.create` …
    pub actions: Vec<String>,
    /// How much was decided.
    pub decisions: i64,
    /// How much of it was denied.
    pub denied: i64,
    /// The policies that objected.
    pub policies: Vec<String>,
    /// The oldest decision in it.
    #[serde(skip)]
    pub first: DecisionId,
}

/// The traces that fit the filter, the latest first.
pub async fn list_traces(pool: &PgPool, filter: &TraceFilter) -> Result<Page<TraceSummary, DecisionId>, sqlx::Error> {
    let (from, to) = id_range(filter.since, filter.until, filter.before.map(|id| id.as_uuid()));
    let among = filter.among.as_ref().map(|traces| traces.iter().map(TraceId::as_uuid).collect::<Vec<_>>());
    let items = sqlx::query!(
        r#"
        SELECT
            trace_id,
            MIN(created_at) AS "created_at!",
            (ARRAY_AGG(user_id ORDER BY id) FILTER (WHERE user_id IS NOT NULL))[1] AS user_id,
            (ARRAY_AGG(session_id ORDER BY id) FILTER (WHERE session_id IS NOT NULL))[1] AS session_id,
            (ARRAY_AGG(actor_id ORDER BY id))[1] AS "actor_id!",
            ARRAY_AGG(DISTINCT CASE WHEN effect = 'administer' THEN tool_name ELSE effect END) AS "actions!",
            COUNT(*) AS "decisions!",
            COUNT(*) FILTER (WHERE decision = 'deny') AS "denied!",
            COALESCE(ARRAY_AGG(DISTINCT policy) FILTER (WHERE decision <> 'allow'), '{}') AS "policies!",
            (ARRAY_AGG(id ORDER BY id))[1] AS "first!"
        FROM governance_decisions
        WHERE id >= $1
          AND id < $2
          AND ($3::timestamptz IS NULL OR created_at >= $3)
          AND ($4::timestamptz IS NULL OR created_at < $4)
          AND ($5::uuid IS NULL OR user_id = $5)
          AND ($6::uuid IS NULL OR session_id BETWEEN $6 AND $7)
          AND ($8::text IS NULL OR decision = $8)
          AND ($9::text IS NULL OR policy = $9)
          AND ($10::text IS NULL OR $10 IN (effect, tool_name))
          AND ($12::uuid[] IS NULL OR trace_id = ANY ($12))
        GROUP BY trace_id
        ORDER BY 10 DESC
        LIMIT $11
        "#,
        from,
        to,
        filter.since,
        filter.until,
        filter.user.map(|user| user.as_uuid()),
        filter.session.map(|(first, _)| first),
        filter.session.map(|(_, last)| last),
        filter.decision,
        filter.policy,
        filter.effect,
        i64::from(filter.limit) + 1,
        among.as_deref(),
    )
    .map(|row| TraceSummary {
        trace_id: TraceId::from_uuid(row.trace_id),
        created_at: row.created_at,
        user_id: row.user_id.map(UserId::from_uuid),
        session_id: row.session_id.map(SessionId::from_uuid),
        actor_id: row.actor_id,
        actions: row.actions,
        decisions: row.decisions,
        denied: row.denied,
        policies: row.policies,
        first: DecisionId::from_uuid(row.first),
    })
    .fetch_all(pool)
    .await?;
    Ok(Page::cut(items, filter.limit, |item| item.first))
}

/// One thing that was decided in a trace, and what came of it as far as governance knows.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct TraceStep {
    /// When.
    pub at: DateTime<Utc>,
    /// The action.
    pub action_id: ActionId,
    /// The trace.
    pub trace_id: TraceId,
    /// `infer`, `administer` …
    pub effect: String,
    /// The subject: `user_prompt`, or the operation of a change.
    pub subject: String,
    /// What it was about: its kind and its id.
    pub about: String,
    /// Who acted: its kind and its id.
    pub actor: String,
    /// The account.
    pub user_id: Option<UserId>,
    /// The session.
    pub session_id: Option<SessionId>,
    /// `allow`, `deny` or `warn`.
    pub decision: String,
    /// The policy that decided.
    pub policy: String,
    /// Its reason.
    pub reason: Option<String>,
    /// Of a change, how it ended.
    pub status: Option<String>,
}

/// How long a trace may go on.
const LONGEST: TimeDelta = TimeDelta::days(1);

/// What was decided in the traces whose ids lie between these two, oldest first: so many at most, and whether there are more.
pub async fn trace_steps(
    pool: &PgPool,
    from: Uuid,
    to: Uuid,
    most: u32,
) -> Result<(Vec<TraceStep>, bool), sqlx::Error> {
    // Ids hold their time, and what belongs to a trace comes after it: a stretch of the primary key is looked at.
    let begin = time_of(from).map_or(Uuid::nil(), |at| first_id_at(at - TimeDelta::minutes(10)));
    let end = time_of(to).map_or(Uuid::max(), |at| first_id_at(at + LONGEST));
    let mut steps = sqlx::query!(
        r#"
        SELECT
            d.created_at, d.action_id, d.trace_id, d.effect, d.tool_name, d.entity_type, d.entity_id, d.actor_kind,
            d.actor_id, d.user_id, d.session_id, d.decision, d.policy, d.reason,
            c.about_kind AS "about_kind?", c.about_id AS "about_id?", c.status AS "status?"
        FROM governance_decisions AS d
        LEFT JOIN governance_changes AS c ON c.id = d.action_id
        WHERE d.trace_id BETWEEN $1 AND $2
          AND d.id BETWEEN $3 AND $4
        ORDER BY d.id
        LIMIT $5
        "#,
        from,
        to,
        begin,
        end,
        i64::from(most) + 1,
    )
    .map(|row| TraceStep {
        at: row.created_at,
        action_id: ActionId::from_uuid(row.action_id),
        trace_id: TraceId::from_uuid(row.trace_id),
        effect: row.effect,
        subject: row.tool_name,
        about: match (row.about_kind, row.about_id) {
            (Some(kind), Some(id)) => format!("{kind} {id}"),
            _ => format!("{} {}", row.entity_type, row.entity_id),
        },
        actor: format!("{} {}", row.actor_kind, row.actor_id),
        user_id: row.user_id.map(UserId::from_uuid),
        session_id: row.session_id.map(SessionId::from_uuid),
        decision: row.decision,
        policy: row.policy,
        reason: row.reason,
        status: row.status,
    })
    .fetch_all(pool)
    .await?;
    let more = steps.len() > most as usize;
    steps.truncate(most as usize);
    Ok((steps, more))
}

/// The time in an id, if it is one that holds it.
fn time_of(id: Uuid) -> Option<DateTime<Utc>> {
    let millis = i64::try_from(id.as_u128() >> 80).ok()?;
    DateTime::from_timestamp_millis(millis).filter(|at| at.timestamp() > 0)
}
