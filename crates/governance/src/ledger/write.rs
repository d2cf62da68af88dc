//! The one statement that writes a batch. Being one statement it is one transaction and one round trip.

use sqlx::encode::Encode;
use sqlx::postgres::{PgBindIterExt as _, PgConnection, PgHasArrayType};
use sqlx::{Postgres, Type};
use uuid::Uuid;

use chrono::{DateTime, Utc};

use super::Shared;
use super::chain::{Head, Link};
use super::queue::{Batch, Pending, QueuedClosing};
use super::record::{Closing, Kept, KeptText, KeptToolCall, storable};

/// Everything one statement writes.
pub(super) struct Rows<'a> {
    instance_id: Uuid,
    admissions: &'a [Pending],
    closings: &'a [QueuedClosing],
    payloads: Vec<PayloadRow<'a>>,
    tool_calls: Vec<ToolCallRow<'a>>,
    links: &'a [Link],
    now: DateTime<Utc>,
}

struct PayloadRow<'a> {
    id: Uuid,
    created_at: DateTime<Utc>,
    kept: &'a Kept,
}

struct ToolCallRow<'a> {
    id: Uuid,
    sequence: i32,
    call: &'a KeptToolCall,
    created_at: DateTime<Utc>,
}

impl<'a> Rows<'a> {
    pub(super) fn new(shared: &Shared, batch: &'a Batch, links: &'a [Link]) -> Self {
        let Batch { admissions, closings } = batch;
        let ended = || closings.iter().chain(admissions.iter().filter_map(|pending| pending.closing.as_ref()));
        let payloads = ended()
            .filter_map(|ended| {
                let kept = ended.kept.as_deref()?;
                Some(PayloadRow { id: ended.closing.id, created_at: ended.closing.completed_at, kept })
            })
            .collect();
        let tool_calls = ended()
            .flat_map(|ended| {
                let closing = &ended.closing;
                ended.tool_calls.iter().zip(0..).map(|(call, sequence)| ToolCallRow {
                    id: closing.id,
                    sequence,
                    call,
                    created_at: closing.completed_at,
                })
            })
            .collect();
        let (instance_id, now) = (shared.instance_id, shared.ambient.now());
        Self { instance_id, admissions, closings, payloads, tool_calls, links, now }
    }
}

/// Writes the batch, if `from` is still the end of the chain; `false` means it is not and nothing was written.
///
/// Every part reads from `head`, so the parts run only when the compare-and-swap has succeeded. The row lock it takes is
/// held until the commit; a second writer waits there, looks again, and finds another sequence number.
pub(super) async fn write(
    connection: &mut PgConnection,
    from: &Head,
    to: &Head,
    rows: &Rows<'_>,
) -> Result<bool, sqlx::Error> {
    let Rows { instance_id, admissions, closings, payloads, tool_calls, links, now } = rows;
    let written = sqlx::query_scalar!(
        r#"
        WITH head AS (
            UPDATE audit_chain_head
            SET seq = $3, chain_hash = $4, updated_at = $5
            WHERE id = 1 AND seq = $1 AND chain_hash = $2
            RETURNING seq
        ), admission AS (
            SELECT a.*
            FROM head CROSS JOIN UNNEST(
                $7::uuid[], $8::uuid[], $9::uuid[], $10::uuid[], $11::uuid[], $12::uuid[], $13::text[], $14::text[],
                $15::text[], $16::text[], $17::text[], $18::text[], $19::text[], $20::text[], $21::text[], $22::text[],
                $23::float8[], $24::float8[], $25::bigint[], $26::text[], $27::int[], $28::bool[], $29::bigint[],
                $30::bytea[], $31::timestamptz[],
                $32::text[], $33::text[], $34::text[], $35::text[], $36::text[], $37::text[], $38::text[], $39::text[],
                $40::text[], $41::timestamptz[],
                $42::text[], $43::text[], $44::text[], $45::text[], $46::text[], $47::smallint[], $48::text[],
                $49::bigint[], $50::bigint[], $51::bigint[], $52::bigint[], $53::bigint[], $54::bigint[], $55::bigint[],
                $56::bigint[], $57::bytea[], $58::timestamptz[]
            ) AS a (
                id, decision_id, user_id, session_id, trace_id, context_id, conversation_id, actor_kind,
                actor_id, client, client_trace_id, dialect, provider, upstream_model, requested_model, route_match,
                temperature, top_p, max_tokens, stop_sequences, tools_offered, is_streaming, content_bytes,
                prepared_sha256, created_at,
                entity_type, entity_id, tool_name, decision, policy, reason, evaluated_rules, policy_version,
                act_chain, decided_at,
                status, error_message, served_provider, model, provider_request_id, http_status, stop_reason,
                input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, cost_microdollars, latency_ms,
                ttft_ms, response_bytes, response_sha256, completed_at
            )
        ), decisions AS (
            INSERT INTO governance_decisions (
                id, request_id, user_id, session_id, trace_id, context_id, entity_type, entity_id, tool_name,
                decision, policy, reason, evaluated_rules, policy_version, actor_kind, actor_id, act_chain, created_at
            )
            SELECT
                decision_id, id, user_id, session_id, trace_id, context_id, entity_type, entity_id, tool_name,
                decision, policy, reason, evaluated_rules::jsonb, policy_version, actor_kind, actor_id,
                act_chain::jsonb, decided_at
            FROM admission
        ), requests AS (
            INSERT INTO ai_requests (
                id, decision_id, instance_id, user_id, session_id, trace_id, context_id, gateway_conversation_id,
                actor_kind, actor_id, client, client_trace_id, dialect, provider, upstream_model, requested_model,
                route_match, temperature, top_p, max_tokens, stop_sequences, tools_offered, is_streaming,
                content_bytes, prepared_sha256, created_at,
                status, error_message, served_provider, model, provider_request_id, http_status, stop_reason,
                input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, cost_microdollars, latency_ms,
                ttft_ms, response_bytes, response_sha256, completed_at, updated_at
            )
            SELECT
                id, decision_id, $6, user_id, session_id, trace_id, context_id, conversation_id,
                actor_kind, actor_id, client, client_trace_id, dialect, provider, upstream_model, requested_model,
                route_match, temperature, top_p, max_tokens, stop_sequences::jsonb, tools_offered, is_streaming,
                content_bytes, prepared_sha256, created_at,
                status, error_message, served_provider, model, provider_request_id, http_status, stop_reason,
                input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, cost_microdollars, latency_ms,
                ttft_ms, response_bytes, response_sha256, completed_at, COALESCE(completed_at, created_at)
            FROM admission
        ), outcomes AS (
            UPDATE ai_requests AS r
            SET status = o.status,
                error_message = o.error_message,
                served_provider = o.served_provider,
                model = o.model,
                provider_request_id = o.provider_request_id,
                http_status = o.http_status,
                stop_reason = o.stop_reason,
                input_tokens = o.input_tokens,
                output_tokens = o.output_tokens,
                cache_read_tokens = o.cache_read_tokens,
                cache_creation_tokens = o.cache_creation_tokens,
                cost_microdollars = o.cost_microdollars,
                latency_ms = o.latency_ms,
                ttft_ms = o.ttft_ms,
                response_bytes = o.response_bytes,
                response_sha256 = o.response_sha256,
                completed_at = o.completed_at,
                updated_at = o.completed_at
            FROM head CROSS JOIN UNNEST(
                $59::uuid[], $60::text[], $61::text[], $62::text[], $63::text[], $64::text[], $65::smallint[],
                $66::text[], $67::bigint[], $68::bigint[], $69::bigint[], $70::bigint[], $71::bigint[], $72::bigint[],
                $73::bigint[], $74::bigint[], $75::bytea[], $76::timestamptz[]
            ) AS o (
                id, status, error_message, served_provider, model, provider_request_id, http_status,
                stop_reason, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, cost_microdollars,
                latency_ms, ttft_ms, response_bytes, response_sha256, completed_at
            )
            WHERE r.id = o.id
              AND (r.status = 'pending' OR (r.status = 'abandoned' AND o.status <> 'abandoned'))
        ), payloads AS (
            INSERT INTO ai_request_payloads (
                request_id, created_at, request_bytes, request_truncated, request_body, request_head, request_tail,
                response_bytes, response_truncated, response_body, response_head, response_tail
            )
            SELECT p.*
            FROM head CROSS JOIN UNNEST(
                $77::uuid[], $78::timestamptz[], $79::bigint[], $80::bool[], $81::text[], $82::text[], $83::text[],
                $84::bigint[], $85::bool[], $86::text[], $87::text[], $88::text[]
            ) AS p
            ON CONFLICT (request_id) DO NOTHING
        ), tool_calls AS (
            INSERT INTO ai_request_tool_calls (request_id, sequence, tool_call_id, name, input, created_at)
            SELECT t.*
            FROM head CROSS JOIN UNNEST(
                $89::uuid[], $90::int[], $91::text[], $92::text[], $93::text[], $94::timestamptz[]
            ) AS t
            ON CONFLICT (request_id, sequence) DO NOTHING
        ), chain AS (
            INSERT INTO audit_chain (seq, at, kind, ref_id, entry_sha256, prev_hash, chain_hash)
            SELECT c.*
            FROM head CROSS JOIN UNNEST(
                $95::bigint[], $96::timestamptz[], $97::text[], $98::uuid[], $99::bytea[], $100::bytea[], $101::bytea[]
            ) AS c
        )
        SELECT seq AS "seq!" FROM head
        "#,
        from.seq,
        &from.hash[..],
        to.seq,
        &to.hash[..],
        *now,
        *instance_id,
        // admission
        column(admissions, |row| row.record.id) as _,
        column(admissions, |row| row.record.decision.id) as _,
        column(admissions, |row| row.record.user_id) as _,
        column(admissions, |row| row.record.session_id) as _,
        column(admissions, |row| row.record.trace_id) as _,
        column(admissions, |row| row.record.context_id) as _,
        column(admissions, |row| row.record.conversation_id.as_deref()) as _,
        column(admissions, |row| &*row.record.actor_kind) as _,
        column(admissions, |row| row.record.actor_id.as_str()) as _,
        column(admissions, |row| row.record.client.as_deref()) as _,
        column(admissions, |row| row.record.client_trace_id.as_deref()) as _,
        column(admissions, |row| row.record.dialect.as_str()) as _,
        column(admissions, |row| row.record.provider.as_deref()) as _,
        column(admissions, |row| row.record.upstream_model.as_deref()) as _,
        column(admissions, |row| row.record.requested_model.as_deref()) as _,
        column(admissions, |row| row.record.route_match.as_deref()) as _,
        column(admissions, |row| row.record.temperature) as _,
        column(admissions, |row| row.record.top_p) as _,
        column(admissions, |row| row.record.max_tokens) as _,
        column(admissions, |row| row.record.stop_sequences.as_deref()) as _,
        column(admissions, |row| row.record.tools_offered) as _,
        column(admissions, |row| row.record.is_streaming) as _,
        column(admissions, |row| row.record.content_bytes) as _,
        column(admissions, |row| row.record.prepared_sha256.as_slice()) as _,
        column(admissions, |row| row.record.created_at) as _,
        // decision
        column(admissions, |row| &*row.record.decision.entity_type) as _,
        column(admissions, |row| row.record.decision.entity_id.as_str()) as _,
        column(admissions, |row| row.record.decision.tool_name.as_deref()) as _,
        column(admissions, |row| &*row.record.decision.verdict) as _,
        column(admissions, |row| row.record.decision.policy.as_str()) as _,
        column(admissions, |row| row.record.decision.reason.as_deref()) as _,
        column(admissions, |row| row.record.decision.evaluated_rules.as_str()) as _,
        column(admissions, |row| row.record.decision.policy_version.as_str()) as _,
        column(admissions, |row| row.record.decision.act_chain.as_deref()) as _,
        column(admissions, |row| row.record.decision.created_at) as _,
        // an end that is known already
        column(admissions, |row| row.closing().map_or("pending", |end| &*end.status)) as _,
        column(admissions, |row| row.closing().and_then(|end| end.error_message.as_deref())) as _,
        column(admissions, |row| row.closing().and_then(|end| end.served_provider.as_deref())) as _,
        column(admissions, |row| row.closing().and_then(|end| end.model.as_deref())) as _,
        column(admissions, |row| row.closing().and_then(|end| end.provider_request_id.as_deref())) as _,
        column(admissions, |row| row.closing().and_then(|end| end.http_status)) as _,
        column(admissions, |row| row.closing().and_then(|end| end.stop_reason.as_deref())) as _,
        column(admissions, |row| row.closing().and_then(|end| end.input_tokens)) as _,
        column(admissions, |row| row.closing().and_then(|end| end.output_tokens)) as _,
        column(admissions, |row| row.closing().and_then(|end| end.cache_read_tokens)) as _,
        column(admissions, |row| row.closing().and_then(|end| end.cache_creation_tokens)) as _,
        column(admissions, |row| row.closing().and_then(|end| end.cost_microdollars)) as _,
        column(admissions, |row| row.closing().and_then(|end| end.latency_ms)) as _,
        column(admissions, |row| row.closing().and_then(|end| end.ttft_ms)) as _,
        column(admissions, |row| row.closing().and_then(|end| end.response_bytes)) as _,
        column(admissions, |row| row.closing().and_then(sha_of)) as _,
        column(admissions, |row| row.closing().map(|end| end.completed_at)) as _,
        // outcomes
        column(closings, |row| row.closing.id) as _,
        column(closings, |row| &*row.closing.status) as _,
        column(closings, |row| row.closing.error_message.as_deref()) as _,
        column(closings, |row| row.closing.served_provider.as_deref()) as _,
        column(closings, |row| row.closing.model.as_deref()) as _,
        column(closings, |row| row.closing.provider_request_id.as_deref()) as _,
        column(closings, |row| row.closing.http_status) as _,
        column(closings, |row| row.closing.stop_reason.as_deref()) as _,
        column(closings, |row| row.closing.input_tokens) as _,
        column(closings, |row| row.closing.output_tokens) as _,
        column(closings, |row| row.closing.cache_read_tokens) as _,
        column(closings, |row| row.closing.cache_creation_tokens) as _,
        column(closings, |row| row.closing.cost_microdollars) as _,
        column(closings, |row| row.closing.latency_ms) as _,
        column(closings, |row| row.closing.ttft_ms) as _,
        column(closings, |row| row.closing.response_bytes) as _,
        column(closings, |row| sha_of(&row.closing)) as _,
        column(closings, |row| row.closing.completed_at) as _,
        // payloads
        column(payloads, |row| row.id) as _,
        column(payloads, |row| row.created_at) as _,
        column(payloads, |row| row.kept.request.bytes as i64) as _,
        column(payloads, |row| row.kept.request.truncated()) as _,
        column(payloads, |row| row.kept.request.body.as_deref().map(storable)) as _,
        column(payloads, |row| row.kept.request.head.as_deref().map(storable)) as _,
        column(payloads, |row| row.kept.request.tail.as_deref().map(storable)) as _,
        column(payloads, |row| row.response().map(|kept| kept.bytes as i64)) as _,
        column(payloads, |row| row.response().is_some_and(KeptText::truncated)) as _,
        column(payloads, |row| row.response().and_then(|kept| kept.body.as_deref()).map(storable)) as _,
        column(payloads, |row| row.response().and_then(|kept| kept.head.as_deref()).map(storable)) as _,
        column(payloads, |row| row.response().and_then(|kept| kept.tail.as_deref()).map(storable)) as _,
        // tool calls
        column(tool_calls, |row| row.id) as _,
        column(tool_calls, |row| row.sequence) as _,
        column(tool_calls, |row| row.call.id.as_str()) as _,
        column(tool_calls, |row| row.call.name.as_str()) as _,
        column(tool_calls, |row| row.call.input.as_deref()) as _,
        column(tool_calls, |row| row.created_at) as _,
        // chain
        column(links, |link| link.seq) as _,
        column(links, |link| link.entry.at) as _,
        column(links, |link| link.entry.kind.as_str()) as _,
        column(links, |link| link.entry.ref_id) as _,
        column(links, |link| link.entry.sha256.as_slice()) as _,
        column(links, |link| link.previous.as_slice()) as _,
        column(links, |link| link.hash.as_slice()) as _,
    )
    .fetch_optional(connection)
    .await?;
    Ok(written.is_some())
}

/// One column of many rows as a PostgreSQL array, encoded as it is walked.
fn column<'q, R, V>(rows: &'q [R], value: impl Fn(&'q R) -> V) -> impl Encode<'q, Postgres> + Type<Postgres>
where
    V: Encode<'q, Postgres> + Type<Postgres> + PgHasArrayType,
{
    rows.iter().map(value).bind_iter()
}

fn sha_of(closing: &Closing) -> Option<&[u8]> {
    closing.response_sha256.as_ref().map(<[u8; 32]>::as_slice)
}

impl<'a> PayloadRow<'a> {
    fn response(&self) -> Option<&'a KeptText> {
        self.kept.response.as_ref()
    }
}
