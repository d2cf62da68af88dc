//! What operators ask about one request: `infra logs request show`, `infra logs audit`. [`list`](super::list) and
//! [`figures`](super::figures) ask about many.
//!
//! They read the projection, so whoever must see what was just written catches the ledger up first.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use systemprompt_governance::decisions::DecisionDetail;
use systemprompt_governance::ledger::content;
use systemprompt_governance::page::prefix_range;
use systemprompt_governance::safety::masked;
use systemprompt_model::{ActionId, ApiKeyId, DecisionId, Microdollars, SessionId, TraceId, UserId};
use uuid::Uuid;

use super::list::RequestSummary;
use super::said::{Excerpt, Message, answer, messages_of_request, part_of_answer};

/// Everything about one request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RequestDetail {
    /// What lists show of it.
    #[serde(flatten)]
    pub summary: RequestSummary,
    /// The conversation it belongs to.
    pub conversation_id: Option<String>,
    /// The task it belongs to.
    pub task_id: Option<Uuid>,
    /// The client program.
    pub client: Option<String>,
    /// The agent of the client that asked, by the client's own id.
    pub client_agent_id: Option<String>,
    /// The trace id the client sent.
    pub client_trace_id: Option<String>,
    /// What kind of actor made it.
    pub actor_kind: String,
    /// Which actor made it.
    pub actor_id: String,
    /// The dialect the caller spoke.
    pub dialect: String,
    /// The route that matched.
    pub route_match: Option<String>,
    /// What was done to the caller's system prompt: the name of the override.
    pub system_prompt_override: Option<String>,
    /// Whether it was answered from the gateway's cache.
    pub cache_hit: Option<bool>,
    /// The provider that answered; another one than `provider` after a failover.
    pub served_provider: Option<String>,
    /// The provider's own id of the request.
    pub provider_request_id: Option<String>,
    /// The status the provider answered with.
    pub http_status: Option<i16>,
    /// How often it was sent.
    pub attempts: i32,
    /// Why the answer ended.
    pub stop_reason: Option<String>,
    /// Tokens read from the provider's cache.
    pub cache_read_tokens: Option<i64>,
    /// Tokens written to the provider's cache.
    pub cache_creation_tokens: Option<i64>,
    /// Of those, the ones that stay there for an hour.
    pub cache_creation_1h_tokens: Option<i64>,
    /// Tokens of hidden reasoning among the output, where the provider tells.
    pub reasoning_tokens: Option<i64>,
    /// Searches of the web that the provider made.
    pub web_searches: Option<i64>,
    /// The class of service the provider gave it.
    pub service_tier: Option<String>,
    /// Who counted the tokens: `provider`, `estimated`, `bounded` if the provider said more than can be, or `none` if there was
    /// nothing to count.
    pub usage_source: Option<String>,
    /// How the cost came about: `provider` or `estimated`, as the tokens were counted; `unpriced` if nobody knows a price,
    /// so that it is recorded as zero; `none` if nothing was used.
    pub cost_source: Option<String>,
    /// The version of the price table it was computed with.
    pub price_version: Option<String>,
    /// Whether something of the answer could not be read.
    pub answer_partial: Option<bool>,
    /// From sending to the first byte of the answer, in milliseconds.
    pub ttft_ms: Option<i64>,
    /// Size of what was sent.
    pub content_bytes: i64,
    /// Digest of what was sent, in hexadecimal.
    pub prepared_sha256: String,
    /// Size of the answer.
    pub response_bytes: Option<i64>,
    /// Digest of the answer, in hexadecimal.
    pub response_sha256: Option<String>,
    /// When it ended.
    pub completed_at: Option<DateTime<Utc>>,
    /// The decision of the Gate.
    pub decision: DecisionDetail,
    /// What policies said after it, of the answer and of the tools the model asked for in it; absent if none looked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inspections: Option<Value>,
    /// What was said, as far as it is kept.
    pub messages: Vec<Message>,
    /// The ends of what was said, where it was too long to be kept in whole.
    pub excerpts: Vec<Excerpt>,
    /// The tools the model asked for.
    pub tool_calls: Vec<ToolCall>,
    /// What safety scanners found.
    pub findings: Vec<Finding>,
}

impl AsRef<RequestSummary> for RequestDetail {
    fn as_ref(&self) -> &RequestSummary {
        &self.summary
    }
}

/// A tool the model asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// Its place in the answer.
    pub sequence: i32,
    /// The id the model gave it.
    pub id: String,
    /// The tool.
    pub name: String,
    /// What the tool was to be called with, as far as it is kept.
    pub input: Option<String>,
    /// What it gave.
    pub result: Option<String>,
}

/// Something a safety scanner found.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Finding {
    /// Its number among those of the request.
    pub sequence: i32,
    /// Where: `request`, `request_history` or `response`.
    pub phase: String,
    /// `low`, `medium` or `high`.
    pub severity: String,
    /// What it is.
    pub category: String,
    /// Who found it.
    pub scanner: String,
    /// Whether it refused the request, or withheld or cut the answer.
    pub blocked: bool,
    /// What stands around it, with everything sensitive masked, as far as it is kept.
    pub excerpt: Option<String>,
    /// When it was recorded.
    pub created_at: DateTime<Utc>,
}

/// Everything about one request.
pub async fn show_request(pool: &PgPool, id: ActionId) -> Result<Option<RequestDetail>, sqlx::Error> {
    let id = id.as_uuid();
    let row = sqlx::query!(
        r#"
        SELECT
            r.id, r.created_at, r.status, r.error_message, r.user_id, r.session_id, r.api_key_id, r.trace_id, r.provider,
            COALESCE(r.model, r.upstream_model) AS model, r.requested_model, r.is_streaming, r.input_tokens,
            r.output_tokens, r.cost_microdollars, r.latency_ms, r.gateway_conversation_id, r.task_id, r.client,
            r.client_agent_id, r.client_trace_id, r.actor_kind, r.actor_id, r.dialect, r.route_match, r.served_provider, r.provider_request_id,
            r.http_status, r.stop_reason, r.cache_read_tokens, r.cache_creation_tokens, r.ttft_ms, r.content_bytes,
            r.prepared_sha256, r.response_bytes, r.response_sha256, r.completed_at,
            r.attempts, r.cache_creation_1h_tokens, r.reasoning_tokens, r.web_searches, r.service_tier, r.usage_source,
            r.answer_partial, r.cost_source, r.price_version, r.system_prompt_override, r.cache_hit, r.decision_id, d.effect, d.created_at AS decided_at, d.entity_type, d.entity_id,
            d.tool_name, d.decision,
            d.policy, d.reason, d.evaluated_rules, d.policy_version,
            (
                SELECT l.body::jsonb -> 'inspections' FROM ledger AS l WHERE l.action_id = r.id AND l.kind = 'ended' LIMIT 1
            ) AS inspections
        FROM ai_requests AS r
        JOIN governance_decisions AS d ON d.id = r.decision_id
        WHERE r.id = $1
        "#,
        id,
    )
    .fetch_optional(pool)
    .await?;
    let Some(row) = row else { return Ok(None) };
    let mut tool_calls = sqlx::query_as!(
        ToolCall,
        r#"
        SELECT c.sequence, c.tool_call_id AS id, c.name, COALESCE(t.body, t.head) AS input, c.result
        FROM ai_request_tool_calls AS c
        LEFT JOIN ledger_content AS t ON t.action_id = c.request_id AND t.part = 'tool_call.' || c.sequence
        WHERE c.request_id = $1
        ORDER BY c.sequence
        "#,
        id,
    )
    .fetch_all(pool)
    .await?;

    let findings = sqlx::query_as!(
        Finding,
        r#"
        SELECT f.sequence, f.phase, f.severity, f.category, f.scanner, f.blocked, COALESCE(t.body, t.head) AS excerpt,
            f.created_at
        FROM ai_safety_findings AS f
        LEFT JOIN ledger_content AS t ON t.action_id = f.request_id AND t.part = $2::text || f.sequence
        WHERE f.request_id = $1
        ORDER BY f.sequence
        "#,
        id,
        content::FINDING,
    )
    .fetch_all(pool)
    .await?;

    let kept = sqlx::query!(
        r#"SELECT part, bytes, body, head, tail FROM ledger_content WHERE action_id = $1 AND part IN ($2, $3)"#,
        id,
        content::REQUEST,
        content::ANSWER,
    )
    .fetch_all(pool)
    .await?;

    let body = |part| kept.iter().find(|kept| kept.part == part).and_then(|kept| kept.body.as_deref());
    let mut messages = body(content::REQUEST).map(messages_of_request).unwrap_or_default();
    if let Some(body) = body(content::ANSWER) {
        messages.push(answer(messages.len() as u32, body, &row.dialect));
    }
    let mut excerpts: Vec<Excerpt> = [("request", content::REQUEST), ("response", content::ANSWER)]
        .into_iter()
        .filter_map(|(of, part)| {
            let kept = kept.iter().find(|kept| kept.part == part)?;
            let end = |text: &String| if of == "response" { part_of_answer(text, &row.dialect) } else { text.clone() };
            Some(Excerpt { of, bytes: kept.bytes, head: end(kept.head.as_ref()?), tail: end(kept.tail.as_ref()?) })
        })
        .collect();
    if findings.iter().any(|finding| finding.category.starts_with("pii_")) {
        // Kept as it was said, and shown to nobody.
        for message in &mut messages {
            message.mask();
        }
        for excerpt in &mut excerpts {
            excerpt.mask();
        }
        for text in tool_calls.iter_mut().flat_map(|call: &mut ToolCall| [&mut call.input, &mut call.result]) {
            *text = text.take().map(|text| masked(&text).into_owned());
        }
    }

    let summary = RequestSummary {
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
    };
    let decision = DecisionDetail {
        decision_id: DecisionId::from_uuid(row.decision_id),
        action_id: summary.request_id,
        effect: row.effect,
        created_at: row.decided_at,
        user_id: summary.user_id,
        session_id: summary.session_id,
        api_key_id: summary.api_key_id,
        trace_id: summary.trace_id,
        entity_type: row.entity_type,
        entity_id: row.entity_id,
        tool_name: row.tool_name,
        decision: row.decision,
        policy: row.policy,
        reason: row.reason,
        evaluated_rules: row.evaluated_rules,
        policy_version: row.policy_version,
        // Requests to models say nothing of these.
        agent_id: None,
        agent_scope: None,
        plugin_id: None,
    };
    Ok(Some(RequestDetail {
        conversation_id: row.gateway_conversation_id,
        task_id: row.task_id,
        client: row.client,
        client_agent_id: row.client_agent_id,
        client_trace_id: row.client_trace_id,
        actor_kind: row.actor_kind,
        actor_id: row.actor_id,
        dialect: row.dialect,
        route_match: row.route_match,
        system_prompt_override: row.system_prompt_override,
        cache_hit: row.cache_hit,
        served_provider: row.served_provider,
        provider_request_id: row.provider_request_id,
        http_status: row.http_status,
        attempts: row.attempts,
        stop_reason: row.stop_reason,
        cache_read_tokens: row.cache_read_tokens,
        cache_creation_tokens: row.cache_creation_tokens,
        cache_creation_1h_tokens: row.cache_creation_1h_tokens,
        reasoning_tokens: row.reasoning_tokens,
        web_searches: row.web_searches,
        service_tier: row.service_tier,
        usage_source: row.usage_source,
        cost_source: row.cost_source,
        price_version: row.price_version,
        answer_partial: row.answer_partial,
        ttft_ms: row.ttft_ms,
        content_bytes: row.content_bytes,
        prepared_sha256: hex::encode(&row.prepared_sha256),
        response_bytes: row.response_bytes,
        response_sha256: row.response_sha256.as_deref().map(hex::encode),
        completed_at: row.completed_at,
        decision,
        inspections: row.inspections,
        messages,
        excerpts,
        tool_calls,
        findings,
        summary,
    }))
}

/// What an operator typed does not name one request or trace.
#[derive(Debug, thiserror::Error)]
pub enum LookupError {
    /// It cannot be the beginning of an id.
    #[error("`{0}` is not the beginning of a request id or trace id: hexadecimal digits and hyphens are expected")]
    NotAnId(String),
    /// It is the beginning of several ids.
    #[error("`{given}` is the beginning of several request ids: {}", .candidates.join(", "))]
    Ambiguous {
        /// What was typed.
        given: String,
        /// Up to ten that it may mean.
        candidates: Vec<String>,
    },
    /// The database could not be asked.
    #[error("reading the ledger")]
    Database(#[from] sqlx::Error),
}

/// Most requests of one trace that [`audit`] gives.
pub const TRACE_LIMIT: i64 = 200;

/// The request with this id, or the requests of the trace with this id, oldest first; the beginning of an id is enough.
/// Empty when there is none.
pub async fn audit(pool: &PgPool, reference: &str) -> Result<Vec<RequestDetail>, LookupError> {
    let (from, to) =
        prefix_range(reference).ok_or_else(|| LookupError::NotAnId(reference.chars().take(80).collect()))?;
    let mut ids =
        sqlx::query_scalar!("SELECT id FROM ai_requests WHERE id >= $1 AND id <= $2 ORDER BY id LIMIT 11", from, to,)
            .fetch_all(pool)
            .await?;
    if ids.len() > 1 {
        let candidates = ids.iter().take(10).map(Uuid::to_string).collect();
        return Err(LookupError::Ambiguous { given: reference.to_owned(), candidates });
    }
    if ids.is_empty() {
        let traced = sqlx::query!(
            "SELECT id, trace_id FROM ai_requests WHERE trace_id >= $1 AND trace_id <= $2 ORDER BY trace_id, id LIMIT $3",
            from,
            to,
            TRACE_LIMIT,
        )
        .fetch_all(pool)
        .await?;
        let mut traces: Vec<_> = traced.iter().map(|row| row.trace_id.to_string()).collect();
        traces.dedup();
        if traces.len() > 1 {
            traces.truncate(10);
            return Err(LookupError::Ambiguous { given: reference.to_owned(), candidates: traces });
        }
        ids = traced.into_iter().map(|row| row.id).collect();
    }
    let mut details = Vec::with_capacity(ids.len());
    for id in ids {
        details.extend(show_request(pool, ActionId::from_uuid(id)).await?);
    }
    Ok(details)
}
