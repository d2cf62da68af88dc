//! The projection `ai_requests`: one row for each model request, for each tool the model asked for, and for what safety
//! scanners found.
//!
//! What a row says follows from which entries there are, not from how they were cut into batches, nor from the order in
//! which those of several chains arrived: what a server says of its own request counts more than that another gave it up,
//! of several that did so the first counts, and attempts and times only grow.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::PgConnection;
use systemprompt_extension::ledger::{Decided, Ended, LedgerEntry, Projection, ProjectionError, Record};
use systemprompt_governance::Effect as _;
use systemprompt_model::ActionId;
use uuid::Uuid;

use super::effect::{Infer, InferFacts, InferredFacts};
use super::findings;

/// The projection.
pub(crate) struct Requests;

/// The status of a request that was given up on behalf of a server that died.
const ABANDONED: &str = "abandoned";

/// What a decision says.
struct Beginning<'a> {
    decided: &'a Decided,
    facts: InferFacts,
}

/// What later entries say.
struct Progress {
    /// When the newest of them was written.
    at: DateTime<Utc>,
    attempts: Option<i32>,
    end: Option<End>,
}

/// How a request ended.
struct End {
    status: &'static str,
    at: DateTime<Utc>,
    reason: Option<String>,
    answer: Option<(i64, Option<Vec<u8>>)>,
    latency_ms: Option<i64>,
    cost: Option<i64>,
    facts: Option<InferredFacts>,
}

impl Progress {
    fn at(at: DateTime<Utc>) -> Self {
        Self { at, attempts: None, end: None }
    }

    /// What is known of a request, with something that was written at this time.
    fn of(all: &mut BTreeMap<Uuid, Self>, request: Uuid, at: DateTime<Utc>) -> &mut Self {
        let progress = all.entry(request).or_insert_with(|| Self::at(at));
        progress.at = progress.at.max(at);
        progress
    }

    /// Takes an end if it counts more than the one that is known. The statement of `update` does the same.
    fn end(&mut self, end: End) {
        let counts = self.end.as_ref().is_none_or(|known| {
            known.status == ABANDONED && (end.status != ABANDONED || (end.at, &end.reason) < (known.at, &known.reason))
        });
        if counts {
            self.end = Some(end);
        }
    }
}

impl End {
    fn of(entry: &LedgerEntry, ended: &Ended) -> Result<Self, ProjectionError> {
        let facts =
            ended.facts.as_ref().map(|facts| facts.read()).transpose().map_err(|error| entry.unreadable(error))?;
        Ok(Self {
            status: if ended.status == "completed" { "completed" } else { "failed" },
            at: ended.at,
            reason: ended.reason.clone(),
            answer: ended.answer.as_ref().map(|answer| (answer.bytes, answer.sha256.as_deref().and_then(bytes))),
            latency_ms: ended.latency_ms,
            cost: Some(ended.usage.cost_microdollars),
            facts,
        })
    }

    fn bare(status: &'static str, at: DateTime<Utc>, reason: Option<String>) -> Self {
        Self { status, at, reason, answer: None, latency_ms: None, cost: None, facts: None }
    }
}

#[async_trait]
impl Projection for Requests {
    fn name(&self) -> &'static str {
        "ai_requests"
    }

    fn tables(&self) -> &'static [&'static str] {
        &["ai_requests", "ai_request_tool_calls", "ai_safety_findings"]
    }

    async fn apply(&self, connection: &mut PgConnection, entries: &[LedgerEntry]) -> Result<(), ProjectionError> {
        let mut begun: BTreeMap<Uuid, Beginning<'_>> = BTreeMap::new();
        let mut progress: BTreeMap<Uuid, Progress> = BTreeMap::new();
        for entry in entries {
            let id = entry.action.as_uuid();
            match &entry.record {
                Record::Decided(decided) if decided.effect.kind == Infer::KIND => {
                    let facts = decided.effect.facts.read().map_err(|error| entry.unreadable(error))?;
                    begun.insert(id, Beginning { decided, facts });
                    if decided.is_refused() {
                        let end = End::bare("rejected", decided.at, decided.decision.reason.clone());
                        Progress::of(&mut progress, id, decided.at).end(end);
                    }
                }
                Record::Attempted(attempted) if attempted.effect == Infer::KIND => {
                    let progress = Progress::of(&mut progress, id, attempted.at);
                    progress.attempts = progress.attempts.max(i32::try_from(attempted.number).ok());
                }
                Record::Ended(ended) if ended.effect == Infer::KIND => {
                    Progress::of(&mut progress, id, ended.at).end(End::of(entry, ended)?);
                }
                Record::Abandoned(abandoned) if abandoned.effect == Infer::KIND => {
                    // The server that was thought dead may only have been slow: its own word counts.
                    let end = End::bare(ABANDONED, abandoned.at, Some(abandoned.reason.clone()));
                    Progress::of(&mut progress, id, abandoned.at).end(end);
                }
                _ => {}
            }
        }
        if !begun.is_empty() {
            insert(connection, &begun, &progress).await?;
        }
        let later: BTreeMap<_, _> = progress.iter().filter(|(id, _)| !begun.contains_key(*id)).collect();
        if !later.is_empty() {
            update(connection, &later).await?;
        }
        insert_tool_calls(connection, &progress).await?;
        findings::insert(connection, entries).await
    }

    async fn forget(&self, connection: &mut PgConnection, actions: &[ActionId]) -> Result<(), ProjectionError> {
        let actions: Vec<Uuid> = actions.iter().map(ActionId::as_uuid).collect();
        sqlx::query!("DELETE FROM ai_safety_findings WHERE request_id = ANY ($1)", &actions)
            .execute(&mut *connection)
            .await?;
        sqlx::query!("DELETE FROM ai_request_tool_calls WHERE request_id = ANY ($1)", &actions)
            .execute(&mut *connection)
            .await?;
        sqlx::query!("DELETE FROM ai_requests WHERE id = ANY ($1)", &actions).execute(connection).await?;
        Ok(())
    }
}

/// Requests that began, with their end if that is here too: one statement for all of them.
async fn insert(
    connection: &mut PgConnection,
    begun: &BTreeMap<Uuid, Beginning<'_>>,
    progress: &BTreeMap<Uuid, Progress>,
) -> Result<(), ProjectionError> {
    let rows: Vec<_> = begun.iter().map(|(id, beginning)| (beginning, progress.get(id))).collect();
    macro_rules! column {
        (|$decided:ident, $facts:ident| $value:expr) => {
            &rows
                .iter()
                .map(|(beginning, _)| {
                    let ($decided, $facts) = (beginning.decided, &beginning.facts);
                    let _ = ($decided, $facts);
                    $value
                })
                .collect::<Vec<_>>()
        };
    }
    let ends = Ends::of(rows.iter().map(|(beginning, progress)| (beginning.decided.at, *progress)));
    sqlx::query!(
        r#"
        INSERT INTO ai_requests (
            id, decision_id, instance_id, user_id, session_id, trace_id, context_id, task_id, gateway_conversation_id,
            actor_kind, actor_id, client, client_trace_id, client_agent_id, dialect, provider, upstream_model, requested_model,
            route_match, temperature, top_p, max_tokens, stop_sequences, tools_offered, is_streaming, content_bytes,
            prepared_sha256, created_at, status, error_message, attempts, model, provider_request_id, http_status,
            stop_reason, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, cost_microdollars,
            latency_ms, ttft_ms, response_bytes, response_sha256, updated_at, completed_at, cache_creation_1h_tokens,
            reasoning_tokens, web_searches, service_tier, usage_source, answer_partial, losses, served_provider,
            cost_source, price_version, cache_hit, system_prompt_override, api_key_id
        )
        SELECT
            r.id, r.decision_id, r.instance_id, r.user_id, r.session_id, r.trace_id, r.context_id, r.task_id,
            r.gateway_conversation_id, r.actor_kind, r.actor_id, r.client, r.client_trace_id, r.client_agent_id, r.dialect, r.provider,
            r.upstream_model, r.requested_model, COALESCE(r.left_route, r.route_match), r.temperature, r.top_p, r.max_tokens,
            r.stop_sequences::jsonb, r.tools_offered, r.is_streaming, r.content_bytes, r.prepared_sha256, r.created_at,
            r.status, r.error_message, COALESCE(r.attempts, 1),
            -- Of a request that was sent, the model that was asked counts until the provider names another.
            COALESCE(r.model, CASE WHEN r.status IN ('completed', 'failed') THEN r.upstream_model END),
            r.provider_request_id, r.http_status, r.stop_reason, r.input_tokens, r.output_tokens, r.cache_read_tokens,
            r.cache_creation_tokens, r.cost_microdollars, r.latency_ms, r.ttft_ms, r.response_bytes, r.response_sha256,
            r.updated_at, r.completed_at, r.cache_creation_1h_tokens, r.reasoning_tokens, r.web_searches,
            r.service_tier, r.usage_source, r.answer_partial, r.losses::jsonb, r.served_provider,
            r.cost_source, r.price_version, r.cache_hit,
            NULLIF(COALESCE(r.left_prompt, r.system_prompt_override), 'none'), r.api_key_id
        FROM UNNEST(
            $1::uuid[], $2::uuid[], $3::uuid[], $4::uuid[], $5::uuid[], $6::uuid[], $7::uuid[], $8::uuid[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], $16::text[],
            $17::text[], $18::text[], $19::text[], $20::float8[], $21::float8[], $22::bigint[], $23::text[],
            $24::int[], $25::boolean[], $26::bigint[], $27::bytea[], $28::timestamptz[], $29::text[], $30::text[],
            $31::int[], $32::text[], $33::text[], $34::smallint[], $35::text[], $36::bigint[], $37::bigint[],
            $38::bigint[], $39::bigint[], $40::bigint[], $41::bigint[], $42::bigint[], $43::bigint[], $44::bytea[],
            $45::timestamptz[], $46::timestamptz[], $47::bigint[], $48::bigint[], $49::bigint[], $50::text[],
            $51::text[], $52::boolean[], $53::text[], $54::text[], $55::text[], $56::text[], $57::text[],
            $58::boolean[], $59::text[], $60::text[], $61::uuid[]
        ) AS r (
            id, decision_id, instance_id, user_id, session_id, trace_id, context_id, task_id, gateway_conversation_id,
            actor_kind, actor_id, client, client_trace_id, client_agent_id, dialect, provider, upstream_model, requested_model,
            route_match, temperature, top_p, max_tokens, stop_sequences, tools_offered, is_streaming, content_bytes,
            prepared_sha256, created_at, status, error_message, attempts, model, provider_request_id, http_status,
            stop_reason, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, cost_microdollars,
            latency_ms, ttft_ms, response_bytes, response_sha256, updated_at, completed_at, cache_creation_1h_tokens,
            reasoning_tokens, web_searches, service_tier, usage_source, answer_partial, losses, served_provider, left_route,
            cost_source, price_version, cache_hit, left_prompt, system_prompt_override, api_key_id
        )
        "#,
        column!(|decided, _facts| decided.action.as_uuid()) as _,
        column!(|decided, _facts| decided.decision.id.as_uuid()) as _,
        column!(|decided, _facts| decided.instance.as_uuid()) as _,
        column!(|decided, _facts| decided.by.user.map(|id| id.as_uuid())) as _,
        column!(|decided, _facts| decided.by.session.map(|id| id.as_uuid())) as _,
        column!(|decided, _facts| decided.by.trace.as_uuid()) as _,
        column!(|decided, _facts| decided.by.context.map(|id| id.as_uuid())) as _,
        column!(|decided, _facts| decided.by.task.map(|id| id.as_uuid())) as _,
        column!(|_decided, facts| facts.conversation.as_deref()) as _,
        column!(|decided, _facts| decided.by.actors.first().map_or("", |actor| actor.kind.as_str())) as _,
        column!(|decided, _facts| decided.by.actors.first().map_or("", |actor| actor.id.as_str())) as _,
        column!(|decided, _facts| decided.by.client.as_deref()) as _,
        column!(|decided, _facts| decided.by.client_trace.as_deref()) as _,
        column!(|_decided, facts| facts.agent.as_deref()) as _,
        column!(|_decided, facts| facts.dialect.as_str()) as _,
        column!(|_decided, facts| facts.provider.as_deref()) as _,
        column!(|_decided, facts| facts.model.as_deref()) as _,
        column!(|_decided, facts| facts.requested_model.as_deref()) as _,
        column!(|_decided, facts| facts.route_match.as_deref()) as _,
        column!(|_decided, facts| facts.temperature) as _,
        column!(|_decided, facts| facts.top_p) as _,
        column!(|_decided, facts| facts.max_tokens) as _,
        column!(|_decided, facts| facts.stop_sequences.as_ref().map(|texts| serde_json::json!(texts).to_string())) as _,
        column!(|_decided, facts| i32::try_from(facts.tools).unwrap_or(i32::MAX)) as _,
        column!(|_decided, facts| facts.stream) as _,
        column!(|decided, _facts| decided.content.bytes) as _,
        column!(|decided, _facts| decided.content.sha256.as_deref().and_then(bytes).unwrap_or_default()) as _,
        column!(|decided, _facts| decided.received_at) as _,
        &ends.status as _,
        &ends.reason as _,
        &ends.attempts as _,
        &ends.model as _,
        &ends.provider_request_id as _,
        &ends.http_status as _,
        &ends.stop_reason as _,
        &ends.input_tokens as _,
        &ends.output_tokens as _,
        &ends.cache_read_tokens as _,
        &ends.cache_creation_tokens as _,
        &ends.cost as _,
        &ends.latency_ms as _,
        &ends.ttft_ms as _,
        &ends.response_bytes as _,
        &ends.response_sha256 as _,
        &ends.updated_at as _,
        &ends.completed_at as _,
        &ends.cache_creation_1h_tokens as _,
        &ends.reasoning_tokens as _,
        &ends.web_searches as _,
        &ends.service_tier as _,
        &ends.usage_source as _,
        &ends.partial as _,
        column!(|_decided, facts| (!facts.losses.is_empty()).then(|| serde_json::json!(facts.losses).to_string())) as _,
        &ends.served_provider as _,
        &ends.route_match as _,
        &ends.cost_source as _,
        &ends.price_version as _,
        &ends.cache_hit as _,
        &ends.system_prompt_override as _,
        column!(|_decided, facts| facts.system_prompt_override.as_deref()) as _,
        column!(|decided, _facts| decided.by.key.map(|id| id.as_uuid())) as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// Requests of which the row is there already.
async fn update(connection: &mut PgConnection, later: &BTreeMap<&Uuid, &Progress>) -> Result<(), ProjectionError> {
    let ids: Vec<Uuid> = later.keys().map(|id| **id).collect();
    let ends = Ends::of(later.values().map(|progress| (progress.at, Some(*progress))));
    sqlx::query!(
        r#"
        UPDATE ai_requests AS r
        SET status = CASE WHEN e.counts THEN e.status ELSE r.status END,
            error_message = CASE WHEN e.counts THEN e.error_message ELSE r.error_message END,
            attempts = GREATEST(r.attempts, e.attempts),
            model = CASE
                WHEN e.counts AND e.status IN ('completed', 'failed') THEN COALESCE(e.model, r.upstream_model)
                ELSE r.model
            END,
            provider_request_id = CASE WHEN e.counts THEN e.provider_request_id ELSE r.provider_request_id END,
            http_status = CASE WHEN e.counts THEN e.http_status ELSE r.http_status END,
            stop_reason = CASE WHEN e.counts THEN e.stop_reason ELSE r.stop_reason END,
            input_tokens = CASE WHEN e.counts THEN e.input_tokens ELSE r.input_tokens END,
            output_tokens = CASE WHEN e.counts THEN e.output_tokens ELSE r.output_tokens END,
            cache_read_tokens = CASE WHEN e.counts THEN e.cache_read_tokens ELSE r.cache_read_tokens END,
            cache_creation_tokens = CASE WHEN e.counts THEN e.cache_creation_tokens ELSE r.cache_creation_tokens END,
            cost_microdollars = CASE WHEN e.counts THEN e.cost_microdollars ELSE r.cost_microdollars END,
            latency_ms = CASE WHEN e.counts THEN e.latency_ms ELSE r.latency_ms END,
            ttft_ms = CASE WHEN e.counts THEN e.ttft_ms ELSE r.ttft_ms END,
            response_bytes = CASE WHEN e.counts THEN e.response_bytes ELSE r.response_bytes END,
            response_sha256 = CASE WHEN e.counts THEN e.response_sha256 ELSE r.response_sha256 END,
            updated_at = GREATEST(r.updated_at, e.updated_at),
            completed_at = CASE WHEN e.counts THEN e.completed_at ELSE r.completed_at END,
            cache_creation_1h_tokens = CASE WHEN e.counts THEN e.cache_creation_1h_tokens ELSE r.cache_creation_1h_tokens END,
            reasoning_tokens = CASE WHEN e.counts THEN e.reasoning_tokens ELSE r.reasoning_tokens END,
            web_searches = CASE WHEN e.counts THEN e.web_searches ELSE r.web_searches END,
            service_tier = CASE WHEN e.counts THEN e.service_tier ELSE r.service_tier END,
            usage_source = CASE WHEN e.counts THEN e.usage_source ELSE r.usage_source END,
            answer_partial = CASE WHEN e.counts THEN e.answer_partial ELSE r.answer_partial END,
            served_provider = CASE WHEN e.counts THEN e.served_provider ELSE r.served_provider END,
            route_match = CASE WHEN e.counts THEN COALESCE(e.left_route, r.route_match) ELSE r.route_match END,
            cost_source = CASE WHEN e.counts THEN e.cost_source ELSE r.cost_source END,
            price_version = CASE WHEN e.counts THEN e.price_version ELSE r.price_version END,
            cache_hit = CASE WHEN e.counts THEN e.cache_hit ELSE r.cache_hit END,
            system_prompt_override = CASE
                WHEN e.counts THEN NULLIF(COALESCE(e.left_prompt, r.system_prompt_override), 'none')
                ELSE r.system_prompt_override
            END
        FROM (
            SELECT
                l.*,
                -- Whoever was given up too early has the last word, of those who gave it up the first; nobody else's end
                -- is taken back.
                l.status IS NOT NULL AND (
                    known.status = 'pending'
                    OR known.status = 'abandoned' AND (
                        l.status <> 'abandoned'
                        OR (l.completed_at, l.error_message COLLATE "C")
                            < (known.completed_at, known.error_message COLLATE "C")
                    )
                ) AS counts
            FROM UNNEST(
                $1::uuid[], $2::text[], $3::text[], $4::int[], $5::text[], $6::text[], $7::smallint[], $8::text[],
                $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], $14::bigint[], $15::bigint[],
                $16::bigint[], $17::bytea[], $18::timestamptz[], $19::timestamptz[], $20::bigint[], $21::bigint[],
                $22::bigint[], $23::text[], $24::text[], $25::boolean[], $26::text[], $27::text[], $28::text[], $29::text[],
                $30::boolean[], $31::text[]
            ) AS l (
                id, status, error_message, attempts, model, provider_request_id, http_status, stop_reason, input_tokens,
                output_tokens, cache_read_tokens, cache_creation_tokens, cost_microdollars, latency_ms, ttft_ms,
                response_bytes, response_sha256, updated_at, completed_at, cache_creation_1h_tokens, reasoning_tokens,
                web_searches, service_tier, usage_source, answer_partial, served_provider, left_route,
                cost_source, price_version, cache_hit, left_prompt
            )
            JOIN ai_requests AS known ON known.id = l.id
        ) AS e
        WHERE r.id = e.id
        "#,
        &ids,
        &ends.later_status as _,
        &ends.reason as _,
        &ends.attempts as _,
        &ends.model as _,
        &ends.provider_request_id as _,
        &ends.http_status as _,
        &ends.stop_reason as _,
        &ends.input_tokens as _,
        &ends.output_tokens as _,
        &ends.cache_read_tokens as _,
        &ends.cache_creation_tokens as _,
        &ends.cost as _,
        &ends.latency_ms as _,
        &ends.ttft_ms as _,
        &ends.response_bytes as _,
        &ends.response_sha256 as _,
        &ends.updated_at as _,
        &ends.completed_at as _,
        &ends.cache_creation_1h_tokens as _,
        &ends.reasoning_tokens as _,
        &ends.web_searches as _,
        &ends.service_tier as _,
        &ends.usage_source as _,
        &ends.partial as _,
        &ends.served_provider as _,
        &ends.route_match as _,
        &ends.cost_source as _,
        &ends.price_version as _,
        &ends.cache_hit as _,
        &ends.system_prompt_override as _,
    )
    .execute(connection)
    .await?;
    Ok(())
}

async fn insert_tool_calls(
    connection: &mut PgConnection,
    progress: &BTreeMap<Uuid, Progress>,
) -> Result<(), ProjectionError> {
    let mut requests = Vec::new();
    let mut sequences = Vec::new();
    let (mut ids, mut names, mut times) = (Vec::new(), Vec::new(), Vec::new());
    for (request, progress) in progress {
        let Some(end) = &progress.end else { continue };
        let calls = end.facts.as_ref().map(|facts| facts.tool_calls.as_slice()).unwrap_or_default();
        for (sequence, call) in (0..).zip(calls) {
            requests.push(*request);
            sequences.push(sequence);
            ids.push(call.id.as_str());
            names.push(call.name.as_str());
            times.push(end.at);
        }
    }
    if requests.is_empty() {
        return Ok(());
    }
    // An end whose beginning retention has dropped leaves nothing, and neither does a second one.
    sqlx::query!(
        r#"
        INSERT INTO ai_request_tool_calls (request_id, sequence, tool_call_id, name, created_at)
        SELECT c.request_id, c.sequence, c.tool_call_id, c.name, c.created_at
        FROM UNNEST($1::uuid[], $2::int[], $3::text[], $4::text[], $5::timestamptz[])
            AS c (request_id, sequence, tool_call_id, name, created_at)
        JOIN ai_requests AS r ON r.id = c.request_id
        ON CONFLICT (request_id, sequence) DO NOTHING
        "#,
        &requests,
        &sequences,
        &ids as _,
        &names as _,
        &times,
    )
    .execute(connection)
    .await?;
    Ok(())
}

/// What later entries say, column by column.
#[derive(Default)]
struct Ends<'a> {
    /// `pending` until there is an end.
    status: Vec<&'static str>,
    /// The same, absent until there is an end.
    later_status: Vec<Option<&'static str>>,
    reason: Vec<Option<&'a str>>,
    attempts: Vec<Option<i32>>,
    model: Vec<Option<&'a str>>,
    provider_request_id: Vec<Option<&'a str>>,
    http_status: Vec<Option<i16>>,
    stop_reason: Vec<Option<&'a str>>,
    input_tokens: Vec<Option<i64>>,
    output_tokens: Vec<Option<i64>>,
    cache_read_tokens: Vec<Option<i64>>,
    cache_creation_tokens: Vec<Option<i64>>,
    cost: Vec<Option<i64>>,
    latency_ms: Vec<Option<i64>>,
    ttft_ms: Vec<Option<i64>>,
    response_bytes: Vec<Option<i64>>,
    response_sha256: Vec<Option<&'a [u8]>>,
    updated_at: Vec<DateTime<Utc>>,
    completed_at: Vec<Option<DateTime<Utc>>>,
    cache_creation_1h_tokens: Vec<Option<i64>>,
    reasoning_tokens: Vec<Option<i64>>,
    web_searches: Vec<Option<i64>>,
    service_tier: Vec<Option<&'a str>>,
    usage_source: Vec<Option<&'a str>>,
    partial: Vec<Option<bool>>,
    served_provider: Vec<Option<&'a str>>,
    route_match: Vec<Option<&'a str>>,
    cost_source: Vec<Option<&'a str>>,
    price_version: Vec<Option<&'a str>>,
    cache_hit: Vec<Option<bool>>,
    /// Where it is another than the decision says; `none` where there was none.
    system_prompt_override: Vec<Option<&'a str>>,
}

impl<'a> Ends<'a> {
    fn of(rows: impl Iterator<Item = (DateTime<Utc>, Option<&'a Progress>)>) -> Self {
        let mut ends = Self::default();
        for (at, progress) in rows {
            let end = progress.and_then(|progress| progress.end.as_ref());
            let facts = end.and_then(|end| end.facts.as_ref());
            let answer = end.and_then(|end| end.answer.as_ref());
            ends.status.push(end.map_or("pending", |end| end.status));
            ends.later_status.push(end.map(|end| end.status));
            ends.reason.push(end.and_then(|end| end.reason.as_deref()));
            ends.attempts.push(progress.and_then(|progress| progress.attempts));
            ends.model.push(facts.and_then(|facts| facts.model.as_deref()));
            ends.provider_request_id.push(facts.and_then(|facts| facts.provider_request_id.as_deref()));
            ends.http_status.push(facts.and_then(|facts| facts.http_status));
            ends.stop_reason.push(facts.and_then(|facts| facts.stop_reason.as_deref()));
            ends.input_tokens.push(facts.map(|facts| facts.input_tokens));
            ends.output_tokens.push(facts.map(|facts| facts.output_tokens));
            ends.cache_read_tokens.push(facts.map(|facts| facts.cache_read_tokens));
            ends.cache_creation_tokens.push(facts.map(|facts| facts.cache_creation_tokens));
            ends.cost.push(end.and_then(|end| end.cost));
            ends.latency_ms.push(end.and_then(|end| end.latency_ms));
            ends.ttft_ms.push(facts.and_then(|facts| facts.ttft_ms));
            ends.response_bytes.push(answer.map(|(bytes, _)| *bytes));
            ends.response_sha256.push(answer.and_then(|(_, sha256)| sha256.as_deref()));
            ends.updated_at.push(progress.map_or(at, |progress| progress.at));
            ends.completed_at.push(end.map(|end| end.at));
            ends.cache_creation_1h_tokens.push(facts.and_then(|facts| facts.cache_creation_1h_tokens));
            ends.reasoning_tokens.push(facts.and_then(|facts| facts.reasoning_tokens));
            ends.web_searches.push(facts.and_then(|facts| facts.web_searches));
            ends.service_tier.push(facts.and_then(|facts| facts.service_tier.as_deref()));
            ends.usage_source.push(facts.and_then(|facts| facts.usage_source.as_deref()));
            ends.partial.push(facts.map(|facts| facts.partial));
            ends.served_provider.push(facts.and_then(|facts| facts.served_provider.as_deref()));
            ends.route_match.push(facts.and_then(|facts| facts.route_match.as_deref()));
            ends.cost_source.push(facts.and_then(|facts| facts.cost_source.as_deref()));
            ends.price_version.push(facts.and_then(|facts| facts.prices.as_deref()));
            ends.cache_hit.push(facts.and_then(|facts| facts.cache_hit));
            ends.system_prompt_override.push(facts.and_then(|facts| facts.system_prompt_override.as_deref()));
        }
        ends
    }
}

fn bytes(digits: &str) -> Option<Vec<u8>> {
    hex::decode(digits).ok()
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use serde_json::{Value, json};
    use systemprompt_database::testing;
    use systemprompt_database::{Module, SchemaDefinition};
    use systemprompt_extension::ledger::EntryKind;

    use super::*;

    const REQUEST: Uuid = Uuid::from_u128(7);

    /// What is said of one request, at this second.
    fn entry(second: i64, kind: EntryKind, mut body: Value) -> LedgerEntry {
        let at = DateTime::UNIX_EPOCH + TimeDelta::seconds(1_800_000_000 + second);
        body["kind"] = kind.as_str().into();
        body["action"] = REQUEST.to_string().into();
        body["at"] = at.timestamp_micros().into();
        if kind == EntryKind::Decided {
            body["received_at"] = at.timestamp_micros().into();
        }
        let record = Record::read(kind, &body.to_string()).expect("it is an entry");
        LedgerEntry { chain: Uuid::nil(), seq: second + 1, at, action: ActionId::from_uuid(REQUEST), record }
    }

    fn decided() -> LedgerEntry {
        let id = Uuid::from_u128(9);
        entry(
            0,
            EntryKind::Decided,
            json!({
                "by": {"actors": [{"id": "ada", "kind": "user"}], "credential": "api_key", "trace": id},
                "content": {"bytes": 2, "sha256": "00".repeat(32)},
                "decision": {"evaluations": [], "id": id, "policy": "default_allow", "policy_version": "1",
                    "subject": "user_prompt", "verdict": "allow"},
                "effect": {"kind": "infer", "facts": {
                    "dialect": "openai-chat", "model": "gpt-test", "stream": false, "tools": 0}},
                "instance": id,
                "resource": {"id": "all", "kind": "gateway_route"},
            }),
        )
    }

    fn abandoned(second: i64, reason: &str) -> LedgerEntry {
        entry(second, EntryKind::Abandoned, json!({"effect": "infer", "reason": reason}))
    }

    fn attempted(second: i64, number: i64) -> LedgerEntry {
        let body = json!({"effect": "infer", "number": number, "target": "oai/gpt-test", "why": "nobody read it"});
        entry(second, EntryKind::Attempted, body)
    }

    fn ended(second: i64) -> LedgerEntry {
        let facts = json!({
            "cache_creation_tokens": 0, "cache_read_tokens": 0, "input_tokens": 3, "output_tokens": 4,
            "tool_calls": [{"id": "call_1", "name": "look_up"}],
        });
        let usage = json!({"calls": 1, "cost_microdollars": 5, "input_tokens": 4, "output_tokens": 3});
        let body = json!({"effect": "infer", "facts": facts, "latency_ms": 6, "status": "completed", "usage": usage});
        entry(second, EntryKind::Ended, body)
    }

    /// All orders of `rest`.
    fn orders(rest: &[LedgerEntry]) -> Vec<Vec<LedgerEntry>> {
        if rest.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for at in 0..rest.len() {
            let mut others = rest.to_vec();
            let first = others.remove(at);
            all.extend(orders(&others).into_iter().map(|mut order| {
                order.insert(0, first.clone());
                order
            }));
        }
        all
    }

    #[tokio::test]
    async fn a_row_is_the_same_however_its_entries_come() {
        let module = Module {
            id: "gateway".to_owned(),
            schemas: vec![SchemaDefinition::inline("ai_requests", include_str!("../../schema/requests.sql"))],
            ..Module::default()
        };
        let database = testing::database(&[module]).await;
        let mut connection = database.pool.write().acquire().await.expect("a connection");
        for (later, status, attempts) in [
            (vec![abandoned(2, "gone"), abandoned(3, "dead"), attempted(4, 2)], "abandoned", 2),
            (vec![abandoned(2, "gone"), abandoned(2, "dead"), attempted(1, 2), attempted(4, 3)], "abandoned", 3),
            (vec![abandoned(2, "gone"), abandoned(3, "dead"), attempted(4, 2), ended(5)], "completed", 2),
            (vec![ended(2), abandoned(3, "dead"), attempted(1, 2)], "completed", 2),
        ] {
            let mut first: Option<Vec<Value>> = None;
            for order in orders(&later) {
                let entries: Vec<LedgerEntry> = std::iter::once(decided()).chain(order).collect();
                // A bit for each place where a batch may end.
                for cuts in 0..1_u32 << (entries.len() - 1) {
                    let mut start = 0;
                    for end in 1..=entries.len() {
                        if end == entries.len() || cuts & 1 << (end - 1) != 0 {
                            Requests.apply(&mut connection, &entries[start..end]).await.expect("applies");
                            start = end;
                        }
                    }
                    let rows: Vec<Value> = sqlx::query_scalar(
                        "SELECT to_jsonb(r) FROM ai_requests AS r UNION ALL SELECT to_jsonb(c) FROM ai_request_tool_calls AS c",
                    )
                    .fetch_all(&mut *connection)
                    .await
                    .expect("the tables");
                    assert_eq!((&rows[0]["status"], &rows[0]["attempts"]), (&json!(status), &json!(attempts)));
                    let expected = first.get_or_insert_with(|| rows.clone());
                    assert_eq!(&rows, expected, "{entries:#?}, cut at {cuts:b}");
                    Requests.forget(&mut connection, &[ActionId::from_uuid(REQUEST)]).await.expect("forgets");
                }
            }
        }
    }
}
