//! Recomputing the chain from the rows it speaks about.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;
use sqlx::PgPool;
use systemprompt_model::RequestId;
use uuid::Uuid;

use super::record::{Admission, Closing, Decision, Entry, Sha, canonical_json, chain_hash, hex};

/// Entries looked at with one pair of statements.
const PAGE: i64 = 1000;

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    /// The first entry that was looked at.
    pub from_seq: i64,
    /// The last entry that was looked at; less than `from_seq` when there was none.
    pub to_seq: i64,
    /// How many entries agree with the rows they speak about and with their neighbours.
    pub verified: u64,
    /// `chain_hash` of the last verified entry, in hexadecimal: what to compare with a copy kept elsewhere.
    pub head: Option<String>,
    /// The first entry that does not agree. Later ones were not looked at.
    pub divergence: Option<Divergence>,
}

/// Where the chain and the rows disagree.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Divergence {
    /// The entry; absent when a row changed that no entry speaks about.
    pub seq: Option<i64>,
    /// The request it speaks about.
    pub request_id: Option<RequestId>,
    /// What is wrong.
    pub problem: String,
}

/// Recomputes the entries from `from` (the first one if absent) to `to` (the last one if absent) out of the stored rows.
///
/// It names the first entry that is missing, out of place or does not fit its row, and, when it reaches the end of the
/// chain, requests that were given an end no entry speaks about. It holds no lock and no transaction, so it can run beside
/// a busy server.
pub async fn verify(pool: &PgPool, from: Option<i64>, to: Option<i64>) -> Result<VerifyReport, sqlx::Error> {
    let head = sqlx::query!("SELECT seq, chain_hash FROM audit_chain_head WHERE id = 1").fetch_one(pool).await?;
    let first = sqlx::query_scalar!(r#"SELECT MIN(seq) FROM audit_chain"#).fetch_one(pool).await?.unwrap_or(1);
    let from = from.unwrap_or(first).max(first);
    let to = to.unwrap_or(head.seq).min(head.seq);
    let mut report = VerifyReport { from_seq: from, to_seq: to, verified: 0, head: None, divergence: None };

    let mut previous = match from {
        1 => Some([0; 32].to_vec()),
        _ => {
            sqlx::query_scalar!("SELECT chain_hash FROM audit_chain WHERE seq = $1", from - 1)
                .fetch_optional(pool)
                .await?
        }
    };
    // Requests whose row shows an end that no entry has spoken about so far.
    let mut unexplained = HashSet::new();
    let mut next = from;
    while next <= to {
        let links = sqlx::query!(
            r#"
            SELECT seq, at, kind, ref_id, entry_sha256, prev_hash, chain_hash
            FROM audit_chain
            WHERE seq >= $1 AND seq <= $2
            ORDER BY seq
            LIMIT $3
            "#,
            next,
            to,
            PAGE,
        )
        .fetch_all(pool)
        .await?;
        let ids: Vec<_> = links.iter().map(|link| link.ref_id).collect();
        let rows = stored(pool, &ids).await?;
        for link in &links {
            let diverges = |problem: String| {
                Some(Divergence { seq: Some(next), request_id: Some(RequestId::from_uuid(link.ref_id)), problem })
            };
            if link.seq != next {
                let problem = format!("entry {next} is missing; the next one is {}", link.seq);
                report.divergence = Some(Divergence { seq: Some(next), request_id: None, problem });
                return Ok(report);
            }
            if previous.as_ref().is_some_and(|previous| *previous != link.prev_hash) {
                report.divergence = diverges("it does not follow the entry before it".to_owned());
                return Ok(report);
            }
            let Ok(entry) = Sha::try_from(link.entry_sha256.as_slice()) else {
                report.divergence = diverges("its digest is not a SHA-256".to_owned());
                return Ok(report);
            };
            let before = Sha::try_from(link.prev_hash.as_slice()).unwrap_or_default();
            if chain_hash(&before, link.seq, &entry)[..] != link.chain_hash {
                report.divergence = diverges("its chain hash does not fit it".to_owned());
                return Ok(report);
            }
            let row = rows.get(&link.ref_id);
            let problem = match (link.kind.as_str(), row) {
                (_, None) => Some("the request or its decision is missing".to_owned()),
                ("decision", Some(row)) => {
                    let refused = row.status == "rejected";
                    if refused != row.admission.is_refusal() {
                        Some(format!(
                            "the request is `{}`, its decision is `{}`",
                            row.status, row.admission.decision.verdict
                        ))
                    } else if refused && row.closing != row.expected_refusal() {
                        Some("the refused request was changed".to_owned())
                    } else {
                        if row.closing.is_some() && !refused {
                            unexplained.insert(link.ref_id);
                        }
                        differs(Entry::of_admission(&row.admission), &entry, "the request or its decision was changed")
                    }
                }
                ("outcome", Some(row)) => {
                    unexplained.remove(&link.ref_id);
                    match &row.closing {
                        Some(closing) => differs(Entry::of_closing(closing), &entry, "the outcome was changed"),
                        None => Some("the outcome was removed".to_owned()),
                    }
                }
                ("abandoned", Some(row)) => {
                    let closing = Closing::abandoned(link.ref_id, link.at);
                    if row.status == "pending" {
                        Some("the request was opened again".to_owned())
                    } else if row.status == "abandoned" && !row.was_abandoned_by(link.at) {
                        Some("the abandoned request was changed".to_owned())
                    } else {
                        if row.status == "abandoned" {
                            unexplained.remove(&link.ref_id);
                        }
                        differs(Entry::of_closing(&closing), &entry, "the time of the entry was changed")
                    }
                }
                (kind, Some(_)) => Some(format!("`{kind}` is not a kind of entry")),
            };
            if let Some(problem) = problem {
                report.divergence = diverges(problem);
                return Ok(report);
            }
            report.verified += 1;
            report.head = Some(hex(&link.chain_hash));
            previous = Some(link.chain_hash.clone());
            next += 1;
        }
        if links.is_empty() {
            let problem = format!("entry {next} is missing");
            report.divergence = Some(Divergence { seq: Some(next), request_id: None, problem });
            return Ok(report);
        }
    }
    if to == head.seq {
        if from <= to && previous.is_some_and(|last| last != head.chain_hash) {
            let problem = "the recorded end of the chain is another one".to_owned();
            report.divergence = Some(Divergence { seq: Some(to), request_id: None, problem });
        } else {
            report.divergence = find_unexplained(pool, to, unexplained).await?;
        }
    }
    Ok(report)
}

/// Whether a request has an end that no entry speaks about. Entries written while we were reading count.
async fn find_unexplained(
    pool: &PgPool,
    after: i64,
    mut unexplained: HashSet<Uuid>,
) -> Result<Option<Divergence>, sqlx::Error> {
    if unexplained.is_empty() {
        return Ok(None);
    }
    let ids: Vec<_> = unexplained.iter().copied().collect();
    let newer = sqlx::query_scalar!(
        "SELECT ref_id FROM audit_chain WHERE seq > $1 AND ref_id = ANY ($2) AND kind <> 'decision'",
        after,
        &ids,
    )
    .fetch_all(pool)
    .await?;
    for id in newer {
        unexplained.remove(&id);
    }
    Ok(unexplained.into_iter().min().map(|id| Divergence {
        seq: None,
        request_id: Some(RequestId::from_uuid(id)),
        problem: "the request was given an outcome that is not in the chain".to_owned(),
    }))
}

fn differs(computed: Entry, stored: &Sha, problem: &str) -> Option<String> {
    (computed.sha256 != *stored).then(|| problem.to_owned())
}

/// A request as the database has it.
struct Stored {
    admission: Admission,
    status: String,
    closing: Option<Closing>,
}

impl Stored {
    /// Whether the outcome columns say that it was found abandoned, and nothing else. Two servers may find the same
    /// request at the same time; then the earlier one is in the row.
    fn was_abandoned_by(&self, at: DateTime<Utc>) -> bool {
        self.closing.as_ref().is_some_and(|closing| {
            closing.completed_at <= at && *closing == Closing::abandoned(self.admission.id, closing.completed_at)
        })
    }

    /// What the outcome columns of a refusal contain.
    fn expected_refusal(&self) -> Option<Closing> {
        let decision = &self.admission.decision;
        let reason = decision.reason.as_deref().unwrap_or_default();
        let refusal = Closing::failed(self.admission.id, reason, decision.created_at);
        Some(Closing { status: "rejected".into(), ..refusal })
    }
}

async fn stored(pool: &PgPool, ids: &[Uuid]) -> Result<HashMap<Uuid, Stored>, sqlx::Error> {
    let rows = sqlx::query!(
        r#"
        SELECT
            r.id, r.instance_id, r.user_id, r.session_id, r.trace_id, r.context_id, r.task_id, r.mcp_execution_id,
            r.gateway_conversation_id, r.actor_kind, r.actor_id, r.client, r.client_trace_id, r.dialect, r.provider,
            r.upstream_model, r.requested_model, r.route_match, r.system_prompt_override, r.temperature, r.top_p,
            r.max_tokens, r.stop_sequences, r.tools_offered, r.is_streaming, r.synthetic, r.content_bytes,
            r.prepared_sha256, r.created_at,
            r.status, r.error_message, r.served_provider, r.model, r.provider_request_id, r.http_status,
            r.stop_reason, r.input_tokens, r.output_tokens, r.cache_read_tokens, r.cache_creation_tokens,
            r.cost_microdollars, r.cache_hit, r.latency_ms, r.ttft_ms, r.response_bytes, r.response_sha256,
            r.completed_at,
            d.id AS decision_id, d.entity_type, d.entity_id, d.tool_name, d.agent_id, d.agent_scope, d.plugin_id,
            d.decision, d.policy, d.reason, d.evaluated_rules, d.policy_version, d.act_chain,
            d.created_at AS decided_at
        FROM ai_requests AS r
        JOIN governance_decisions AS d
            ON d.id = r.decision_id
            AND d.request_id = r.id
            AND d.user_id = r.user_id
            AND d.session_id = r.session_id
            AND d.trace_id = r.trace_id
            AND d.context_id IS NOT DISTINCT FROM r.context_id
            AND d.task_id IS NOT DISTINCT FROM r.task_id
            AND d.actor_kind = r.actor_kind
            AND d.actor_id = r.actor_id
        WHERE r.id = ANY ($1)
        "#,
        ids,
    )
    .fetch_all(pool)
    .await?;
    let json = |value: Value| canonical_json(&value);
    let sha = |bytes: &[u8]| Sha::try_from(bytes).unwrap_or_default();
    Ok(rows
        .into_iter()
        .map(|row| {
            let closing = row.completed_at.map(|completed_at| Closing {
                id: row.id,
                status: row.status.clone().into(),
                error_message: row.error_message,
                served_provider: row.served_provider,
                model: row.model,
                provider_request_id: row.provider_request_id,
                http_status: row.http_status,
                stop_reason: row.stop_reason,
                input_tokens: row.input_tokens,
                output_tokens: row.output_tokens,
                cache_read_tokens: row.cache_read_tokens,
                cache_creation_tokens: row.cache_creation_tokens,
                cost_microdollars: row.cost_microdollars,
                cache_hit: row.cache_hit,
                latency_ms: row.latency_ms,
                ttft_ms: row.ttft_ms,
                response_bytes: row.response_bytes,
                response_sha256: row.response_sha256.as_deref().map(sha),
                completed_at,
            });
            let admission = Admission {
                id: row.id,
                instance_id: row.instance_id,
                user_id: row.user_id,
                session_id: row.session_id,
                trace_id: row.trace_id,
                context_id: row.context_id,
                task_id: row.task_id,
                mcp_execution_id: row.mcp_execution_id,
                conversation_id: row.gateway_conversation_id,
                actor_kind: row.actor_kind.into(),
                actor_id: row.actor_id,
                client: row.client,
                client_trace_id: row.client_trace_id,
                dialect: row.dialect,
                provider: row.provider,
                upstream_model: row.upstream_model,
                requested_model: row.requested_model,
                route_match: row.route_match,
                system_prompt_override: row.system_prompt_override,
                temperature: row.temperature,
                top_p: row.top_p,
                max_tokens: row.max_tokens,
                stop_sequences: row.stop_sequences.map(json),
                tools_offered: row.tools_offered,
                is_streaming: row.is_streaming,
                synthetic: row.synthetic,
                content_bytes: row.content_bytes,
                prepared_sha256: sha(&row.prepared_sha256),
                created_at: row.created_at,
                decision: Decision {
                    id: row.decision_id,
                    entity_type: row.entity_type.into(),
                    entity_id: row.entity_id,
                    tool_name: row.tool_name.map(Into::into),
                    agent_id: row.agent_id,
                    agent_scope: row.agent_scope,
                    plugin_id: row.plugin_id,
                    verdict: row.decision.into(),
                    policy: row.policy,
                    reason: row.reason,
                    evaluated_rules: json(row.evaluated_rules),
                    policy_version: row.policy_version,
                    act_chain: row.act_chain.map(json),
                    created_at: row.decided_at,
                },
            };
            (row.id, Stored { admission, status: row.status, closing })
        })
        .collect())
}
