//! Lists of requests, newest first, and what came since one looked.

use chrono::{DateTime, Utc};
use serde::Serialize;
use sqlx::{FromRow, PgPool, Postgres, QueryBuilder};
use systemprompt_governance::page::Page;
use systemprompt_model::{ActionId, ApiKeyId, Microdollars, SessionId, TraceId, UserId};
use uuid::Uuid;

use super::filter::{RequestFilter, With};

/// One line of a list of requests.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestSummary {
    /// Its id.
    pub request_id: ActionId,
    /// When it reached us.
    pub created_at: DateTime<Utc>,
    /// `pending`, `completed`, `failed`, `abandoned` or `rejected`.
    pub status: String,
    /// Why it failed or was refused.
    pub error_message: Option<String>,
    /// The account that made it; absent for somebody without one.
    pub user_id: Option<UserId>,
    /// Its session.
    pub session_id: Option<SessionId>,
    /// The API key it was made with.
    pub api_key_id: Option<ApiKeyId>,
    /// Its trace.
    pub trace_id: TraceId,
    /// The provider that was asked; absent when it was refused before one was chosen.
    pub provider: Option<String>,
    /// The model that answered, or was asked.
    pub model: Option<String>,
    /// The model the caller named.
    pub requested_model: Option<String>,
    /// Whether the answer was streamed.
    pub is_streaming: bool,
    /// Tokens of the prompt.
    pub input_tokens: Option<i64>,
    /// Tokens of the answer.
    pub output_tokens: Option<i64>,
    /// Price of both.
    #[serde(rename = "cost_microdollars")]
    pub cost: Option<Microdollars>,
    /// From sending to the end of the answer, in milliseconds.
    pub latency_ms: Option<i64>,
}

/// A request of a list, with what was decided of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ListedRequest {
    /// The request.
    #[serde(flatten)]
    pub summary: RequestSummary,
    /// `allow`, `deny` or `warn`.
    pub decision: String,
    /// The policy that decided.
    pub policy: String,
    /// Its reason.
    pub reason: Option<String>,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// How many characters of its id no other request's begins with.
    #[serde(skip)]
    pub short_id: usize,
}

impl AsRef<RequestSummary> for RequestSummary {
    fn as_ref(&self) -> &RequestSummary {
        self
    }
}

impl AsRef<RequestSummary> for ListedRequest {
    fn as_ref(&self) -> &RequestSummary {
        &self.summary
    }
}

#[derive(FromRow)]
struct StoredRequest {
    id: Uuid,
    created_at: DateTime<Utc>,
    status: String,
    error_message: Option<String>,
    user_id: Option<Uuid>,
    session_id: Option<Uuid>,
    api_key_id: Option<Uuid>,
    trace_id: Uuid,
    provider: Option<String>,
    model: Option<String>,
    requested_model: Option<String>,
    is_streaming: bool,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cost_microdollars: Option<i64>,
    latency_ms: Option<i64>,
    decision: String,
    policy: String,
    reason: Option<String>,
    conversation_id: Option<String>,
}

impl From<StoredRequest> for ListedRequest {
    fn from(row: StoredRequest) -> Self {
        Self {
            summary: RequestSummary {
                request_id: ActionId::from_uuid(row.id),
                created_at: row.created_at,
                status: row.status,
                error_message: row.error_message,
                user_id: row.user_id.map(UserId::from_uuid),
                session_id: row.session_id.map(SessionId::from_uuid),
                api_key_id: row.api_key_id.map(ApiKeyId::from_uuid),
                trace_id: TraceId::from_uuid(row.trace_id),
                provider: row.provider,
                model: row.model,
                requested_model: row.requested_model,
                is_streaming: row.is_streaming,
                input_tokens: row.input_tokens,
                output_tokens: row.output_tokens,
                cost: row.cost_microdollars.map(Microdollars),
                latency_ms: row.latency_ms,
            },
            decision: row.decision,
            policy: row.policy,
            reason: row.reason,
            conversation_id: row.conversation_id,
            short_id: LEAST_SHORT,
        }
    }
}

const COLUMNS: &str = "SELECT r.id, r.created_at, r.status, r.error_message, r.user_id, r.session_id, r.api_key_id, r.trace_id, \
    r.provider, COALESCE(r.model, r.upstream_model) AS model, r.requested_model, r.is_streaming, r.input_tokens, \
    r.output_tokens, r.cost_microdollars, r.latency_ms, d.decision, d.policy, d.reason, \
    r.gateway_conversation_id AS conversation_id";

/// The requests that fit the filter and come before a cursor, the last one of the page before: at most `limit`.
pub async fn list_requests(
    pool: &PgPool,
    filter: &RequestFilter,
    before: Option<ActionId>,
    limit: u32,
) -> Result<Page<ListedRequest, ActionId>, sqlx::Error> {
    let mut query = QueryBuilder::new(COLUMNS);
    filter.restrict(&mut query, With::Decisions, before);
    query.push(" ORDER BY r.id DESC LIMIT ").push_bind(i64::from(limit) + 1);
    let rows: Vec<StoredRequest> = query.build_query_as().fetch_all(pool).await?;
    let mut page =
        Page::cut(rows.into_iter().map(ListedRequest::from).collect(), limit, |item| item.summary.request_id);
    shorten(pool, &mut page.items).await?;
    Ok(page)
}

/// Most requests that one look at what is new gives.
pub const NEW_LIMIT: i64 = 1_000;

/// The latest requests that fit the filter, were received since then and have ended: at most [`NEW_LIMIT`], oldest first.
pub async fn lately_ended(
    pool: &PgPool,
    filter: &RequestFilter,
    since: ActionId,
) -> Result<Vec<ListedRequest>, sqlx::Error> {
    let mut query = ended(filter);
    query.push(" AND r.id >= ").push_bind(since.as_uuid());
    query.push(" ORDER BY r.id DESC LIMIT ").push_bind(NEW_LIMIT);
    let mut items = listed(pool, query).await?;
    items.reverse();
    Ok(items)
}

/// Those of these requests that fit the filter and have ended, oldest first.
pub async fn ended_among(
    pool: &PgPool,
    filter: &RequestFilter,
    ids: &[ActionId],
) -> Result<Vec<ListedRequest>, sqlx::Error> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut query = ended(filter);
    query.push(" AND r.id = ANY (").push_bind(uuids(ids)).push(") ORDER BY r.id");
    listed(pool, query).await
}

/// The requests that run, were received since then or are among these, and may fit the filter when they have ended.
pub async fn running(
    pool: &PgPool,
    filter: &RequestFilter,
    since: ActionId,
    among: &[ActionId],
) -> Result<Vec<ActionId>, sqlx::Error> {
    let mut query = QueryBuilder::new("SELECT r.id");
    filter.still_running().restrict(&mut query, With::Nothing, None);
    query.push(" AND (r.id >= ").push_bind(since.as_uuid());
    query.push(" OR r.id = ANY (").push_bind(uuids(among)).push("))");
    let ids: Vec<Uuid> = query.build_query_scalar().fetch_all(pool).await?;
    Ok(ids.into_iter().map(ActionId::from_uuid).collect())
}

fn ended(filter: &RequestFilter) -> QueryBuilder<Postgres> {
    let mut query = QueryBuilder::new(COLUMNS);
    filter.restrict(&mut query, With::Decisions, None);
    query.push(" AND r.status <> 'pending'");
    query
}

fn uuids(ids: &[ActionId]) -> Vec<Uuid> {
    ids.iter().map(ActionId::as_uuid).collect()
}

async fn listed(pool: &PgPool, mut query: QueryBuilder<Postgres>) -> Result<Vec<ListedRequest>, sqlx::Error> {
    let rows: Vec<StoredRequest> = query.build_query_as().fetch_all(pool).await?;
    let mut items: Vec<ListedRequest> = rows.into_iter().map(ListedRequest::from).collect();
    shorten(pool, &mut items).await?;
    Ok(items)
}

/// Short ids have at least so many characters: those that hold the time, to the millisecond. Whatever is received later
/// begins otherwise.
const LEAST_SHORT: usize = 13;

/// Finds how much of their ids tells requests from all others: the neighbours of an id share the most with it.
async fn shorten(pool: &PgPool, items: &mut [ListedRequest]) -> Result<(), sqlx::Error> {
    let ids: Vec<Uuid> = items.iter().map(|item| item.summary.request_id.as_uuid()).collect();
    let neighbours = sqlx::query!(
        r#"
        SELECT
            (SELECT n.id FROM ai_requests AS n WHERE n.id < given.id ORDER BY n.id DESC LIMIT 1) AS before,
            (SELECT n.id FROM ai_requests AS n WHERE n.id > given.id ORDER BY n.id LIMIT 1) AS after
        FROM UNNEST($1::uuid[]) WITH ORDINALITY AS given (id, place)
        ORDER BY given.place
        "#,
        &ids,
    )
    .fetch_all(pool)
    .await?;
    for (item, neighbours) in items.iter_mut().zip(neighbours) {
        let id = item.summary.request_id.to_string();
        item.short_id = [neighbours.before, neighbours.after]
            .into_iter()
            .flatten()
            .map(|other| told_apart(&id, &other.to_string()))
            .fold(LEAST_SHORT, usize::max);
    }
    Ok(())
}

/// How many characters it takes to tell an id from another.
fn told_apart(id: &str, other: &str) -> usize {
    let shared = id.bytes().zip(other.bytes()).take_while(|(one, other)| one == other).count();
    // What ends in a hyphen says no more than without it.
    let end = (shared + 1).min(id.len());
    if id.as_bytes().get(end - 1) == Some(&b'-') { (end + 1).min(id.len()) } else { end }
}

#[cfg(test)]
mod tests {
    use super::told_apart;

    #[test]
    fn ids_are_told_apart_by_the_first_character_that_differs() {
        let id = "01a20374-da7b-7f52-aa93-1a0c6f8b99b6";
        for (other, expected) in [
            ("01a20374-da7c-7f52-aa93-1a0c6f8b99b6", 13),
            ("01a20374-da7b-7e00-aa93-1a0c6f8b99b6", 16),
            ("02a20374-da7b-7f52-aa93-1a0c6f8b99b6", 2),
            ("01a20374-da7b-7f52-aa93-1a0c6f8b99b7", 36),
        ] {
            assert_eq!(told_apart(id, other), expected, "{other}");
        }
    }
}
