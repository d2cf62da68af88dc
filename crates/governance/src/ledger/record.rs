//! What the ledger stores about one request, and the canonical form its digests are taken over.
//!
//! Everything here can be rebuilt from the stored rows, which is what [`verify`](super::verify) does.
//! Two rules keep it so: times have microseconds, as PostgreSQL stores them, and texts contain no NUL, which PostgreSQL
//! cannot store.

use std::borrow::Cow;
use std::fmt::Write as _;

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, Utc};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::canonical::{CanonicalObject, canonical};
use crate::policy::Evaluation;

/// A SHA-256 digest.
pub(crate) type Sha = [u8; 32];

/// Texts a client chooses are cut here before they become part of a row. Content has its own, larger limits.
const TEXT_LIMIT: usize = 1024;

/// The message of requests that were found open after their server died.
pub(crate) const ABANDONED: &str = "abandoned: the server that admitted it stopped before it ended";

/// What is stored when a request is admitted or refused. Never changes afterwards.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Admission {
    pub(crate) id: Uuid,
    pub(crate) instance_id: Uuid,
    pub(crate) user_id: Uuid,
    pub(crate) session_id: Uuid,
    pub(crate) trace_id: Uuid,
    pub(crate) context_id: Option<Uuid>,
    pub(crate) task_id: Option<Uuid>,
    pub(crate) mcp_execution_id: Option<Uuid>,
    pub(crate) conversation_id: Option<String>,
    pub(crate) actor_kind: Cow<'static, str>,
    pub(crate) actor_id: String,
    pub(crate) client: Option<String>,
    pub(crate) client_trace_id: Option<String>,
    pub(crate) dialect: String,
    pub(crate) provider: Option<String>,
    pub(crate) upstream_model: Option<String>,
    pub(crate) requested_model: Option<String>,
    pub(crate) route_match: Option<String>,
    pub(crate) system_prompt_override: Option<String>,
    pub(crate) temperature: Option<f64>,
    pub(crate) top_p: Option<f64>,
    pub(crate) max_tokens: Option<i64>,
    /// Canonical JSON.
    pub(crate) stop_sequences: Option<String>,
    pub(crate) tools_offered: i32,
    pub(crate) is_streaming: bool,
    pub(crate) synthetic: bool,
    pub(crate) content_bytes: i64,
    pub(crate) prepared_sha256: Sha,
    pub(crate) created_at: DateTime<Utc>,
    pub(crate) decision: Decision,
}

/// The decision that belongs to an admission. What it shares with the request is not repeated.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Decision {
    pub(crate) id: Uuid,
    pub(crate) entity_type: Cow<'static, str>,
    pub(crate) entity_id: String,
    pub(crate) tool_name: Option<Cow<'static, str>>,
    pub(crate) agent_id: Option<String>,
    pub(crate) agent_scope: Option<String>,
    pub(crate) plugin_id: Option<String>,
    /// `allow`, `deny` or `warn`; the column `decision`.
    pub(crate) verdict: Cow<'static, str>,
    pub(crate) policy: String,
    pub(crate) reason: Option<String>,
    /// Canonical JSON.
    pub(crate) evaluated_rules: String,
    pub(crate) policy_version: String,
    /// Canonical JSON.
    pub(crate) act_chain: Option<String>,
    pub(crate) created_at: DateTime<Utc>,
}

impl Admission {
    /// Whether the request may not be carried out, so there will be no outcome.
    pub(crate) fn is_refusal(&self) -> bool {
        self.decision.verdict == "deny"
    }

    /// The canonical JSON of the row's immutable part and of its decision: `{"decision": …, "kind": "decision",
    /// "request": …}`, keys named after the columns, absent columns left out, times in microseconds since 1970, bytes in
    /// hexadecimal.
    pub(crate) fn canonical(&self) -> String {
        let mut entry = CanonicalObject::new();
        entry.object("decision", |row| {
            let decision = &self.decision;
            row.json("act_chain", decision.act_chain.as_deref());
            row.text("agent_id", decision.agent_id.as_deref());
            row.text("agent_scope", decision.agent_scope.as_deref());
            row.time("created_at", Some(decision.created_at));
            row.text("decision", Some(&decision.verdict));
            row.text("entity_id", Some(&decision.entity_id));
            row.text("entity_type", Some(&decision.entity_type));
            row.json("evaluated_rules", Some(&decision.evaluated_rules));
            row.uuid("id", Some(decision.id));
            row.text("plugin_id", decision.plugin_id.as_deref());
            row.text("policy", Some(&decision.policy));
            row.text("policy_version", Some(&decision.policy_version));
            row.text("reason", decision.reason.as_deref());
            row.text("tool_name", decision.tool_name.as_deref());
        });
        entry.text("kind", Some(EntryKind::Decision.as_str()));
        entry.object("request", |row| {
            row.text("actor_id", Some(&self.actor_id));
            row.text("actor_kind", Some(&self.actor_kind));
            row.text("client", self.client.as_deref());
            row.text("client_trace_id", self.client_trace_id.as_deref());
            row.integer("content_bytes", Some(self.content_bytes));
            row.uuid("context_id", self.context_id);
            row.time("created_at", Some(self.created_at));
            row.text("dialect", Some(&self.dialect));
            row.text("gateway_conversation_id", self.conversation_id.as_deref());
            row.uuid("id", Some(self.id));
            row.uuid("instance_id", Some(self.instance_id));
            row.boolean("is_streaming", Some(self.is_streaming));
            row.integer("max_tokens", self.max_tokens);
            row.uuid("mcp_execution_id", self.mcp_execution_id);
            row.bytes("prepared_sha256", Some(&self.prepared_sha256));
            row.text("provider", self.provider.as_deref());
            row.text("requested_model", self.requested_model.as_deref());
            row.text("route_match", self.route_match.as_deref());
            row.uuid("session_id", Some(self.session_id));
            row.json("stop_sequences", self.stop_sequences.as_deref());
            row.boolean("synthetic", Some(self.synthetic));
            row.text("system_prompt_override", self.system_prompt_override.as_deref());
            row.uuid("task_id", self.task_id);
            row.number("temperature", self.temperature);
            row.integer("tools_offered", Some(i64::from(self.tools_offered)));
            row.number("top_p", self.top_p);
            row.uuid("trace_id", Some(self.trace_id));
            row.text("upstream_model", self.upstream_model.as_deref());
            row.uuid("user_id", Some(self.user_id));
        });
        entry.finish()
    }
}

/// How a request ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Closing {
    pub(crate) id: Uuid,
    pub(crate) status: Cow<'static, str>,
    pub(crate) error_message: Option<String>,
    pub(crate) served_provider: Option<String>,
    pub(crate) model: Option<String>,
    pub(crate) provider_request_id: Option<String>,
    pub(crate) http_status: Option<i16>,
    pub(crate) stop_reason: Option<String>,
    pub(crate) input_tokens: Option<i64>,
    pub(crate) output_tokens: Option<i64>,
    pub(crate) cache_read_tokens: Option<i64>,
    pub(crate) cache_creation_tokens: Option<i64>,
    pub(crate) cost_microdollars: Option<i64>,
    pub(crate) cache_hit: Option<bool>,
    pub(crate) latency_ms: Option<i64>,
    pub(crate) ttft_ms: Option<i64>,
    pub(crate) response_bytes: Option<i64>,
    pub(crate) response_sha256: Option<Sha>,
    pub(crate) completed_at: DateTime<Utc>,
}

impl Closing {
    /// A request that came to nothing, for this reason.
    pub(crate) fn failed(id: Uuid, reason: &str, at: DateTime<Utc>) -> Self {
        Self::bare(id, Cow::Borrowed("failed"), reason, at)
    }

    /// A request whose server died.
    pub(crate) fn abandoned(id: Uuid, at: DateTime<Utc>) -> Self {
        Self::bare(id, Cow::Borrowed("abandoned"), ABANDONED, at)
    }

    fn bare(id: Uuid, status: Cow<'static, str>, reason: &str, at: DateTime<Utc>) -> Self {
        Self {
            id,
            status,
            error_message: Some(clean(reason)),
            served_provider: None,
            model: None,
            provider_request_id: None,
            http_status: None,
            stop_reason: None,
            input_tokens: None,
            output_tokens: None,
            cache_read_tokens: None,
            cache_creation_tokens: None,
            cost_microdollars: None,
            cache_hit: None,
            latency_ms: None,
            ttft_ms: None,
            response_bytes: None,
            response_sha256: None,
            completed_at: micros(at),
        }
    }

    /// An abandoned request may still get its true outcome later, so it has an entry of its own kind, over what stays.
    pub(crate) fn entry_kind(&self) -> EntryKind {
        if self.status == "abandoned" { EntryKind::Abandoned } else { EntryKind::Outcome }
    }

    /// The canonical JSON of the outcome: `{"kind": …, "request": {…}}`, by the rules of [`Admission::canonical`].
    pub(crate) fn canonical(&self) -> String {
        let mut entry = CanonicalObject::new();
        entry.text("kind", Some(self.entry_kind().as_str()));
        entry.object("request", |row| {
            row.boolean("cache_hit", self.cache_hit);
            row.integer("cache_creation_tokens", self.cache_creation_tokens);
            row.integer("cache_read_tokens", self.cache_read_tokens);
            row.time("completed_at", Some(self.completed_at));
            row.integer("cost_microdollars", self.cost_microdollars);
            row.text("error_message", self.error_message.as_deref());
            row.integer("http_status", self.http_status.map(i64::from));
            row.uuid("id", Some(self.id));
            row.integer("input_tokens", self.input_tokens);
            row.integer("latency_ms", self.latency_ms);
            row.text("model", self.model.as_deref());
            row.integer("output_tokens", self.output_tokens);
            row.text("provider_request_id", self.provider_request_id.as_deref());
            row.integer("response_bytes", self.response_bytes);
            row.bytes("response_sha256", self.response_sha256.as_ref().map(<[u8; 32]>::as_slice));
            row.text("served_provider", self.served_provider.as_deref());
            row.text("status", Some(&self.status));
            row.text("stop_reason", self.stop_reason.as_deref());
            row.integer("ttft_ms", self.ttft_ms);
        });
        entry.finish()
    }
}

/// What a chain entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    Decision,
    Outcome,
    Abandoned,
}

impl EntryKind {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Decision => "decision",
            Self::Outcome => "outcome",
            Self::Abandoned => "abandoned",
        }
    }
}

/// What goes into the chain for one record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryKind,
    pub(crate) ref_id: Uuid,
    pub(crate) at: DateTime<Utc>,
    pub(crate) sha256: Sha,
}

impl Entry {
    pub(crate) fn of_admission(admission: &Admission) -> Self {
        Self {
            kind: EntryKind::Decision,
            ref_id: admission.id,
            at: admission.decision.created_at,
            sha256: sha256(admission.canonical().as_bytes()),
        }
    }

    pub(crate) fn of_closing(closing: &Closing) -> Self {
        Self {
            kind: closing.entry_kind(),
            ref_id: closing.id,
            at: closing.completed_at,
            sha256: sha256(closing.canonical().as_bytes()),
        }
    }
}

/// `SHA-256(previous ‖ seq ‖ entry)`, the sequence number as eight bytes, most significant first.
pub(crate) fn chain_hash(previous: &Sha, seq: i64, entry: &Sha) -> Sha {
    let mut hash = Sha256::new();
    hash.update(previous);
    hash.update(seq.to_be_bytes());
    hash.update(entry);
    hash.finalize().into()
}

pub(crate) fn sha256(bytes: &[u8]) -> Sha {
    Sha256::digest(bytes).into()
}

/// What is kept of the content of one request and its answer, already cut to what the retention setting allows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Kept {
    pub(crate) request: KeptText,
    pub(crate) response: Option<KeptText>,
}

impl Kept {
    /// Bytes held in memory until it is written.
    pub(crate) fn size(&self) -> usize {
        self.request.size() + self.response.as_ref().map_or(0, KeptText::size)
    }
}

/// A text that is kept in whole or by its ends.
#[derive(Debug, Clone, Default)]
pub(crate) struct KeptText {
    pub(crate) bytes: u64,
    pub(crate) body: Option<Bytes>,
    pub(crate) head: Option<Bytes>,
    pub(crate) tail: Option<Bytes>,
}

impl KeptText {
    pub(crate) fn truncated(&self) -> bool {
        self.body.is_none()
    }

    fn size(&self) -> usize {
        [&self.body, &self.head, &self.tail].into_iter().flatten().map(Bytes::len).sum()
    }
}

/// A tool the model asked for, cut to what is stored.
#[derive(Debug, Clone)]
pub(crate) struct KeptToolCall {
    pub(crate) id: String,
    pub(crate) name: String,
    pub(crate) input: Option<String>,
}

/// Bytes as a text that PostgreSQL can store.
pub(crate) fn storable(bytes: &[u8]) -> Cow<'_, str> {
    match String::from_utf8_lossy(bytes) {
        text if memchr::memchr(0, text.as_bytes()).is_none() => text,
        text => Cow::Owned(text.replace('\0', "\u{fffd}")),
    }
}

/// A text that PostgreSQL can store, cut to 1024 bytes.
pub(crate) fn clean(text: &str) -> String {
    cut(&storable(text.as_bytes()), TEXT_LIMIT).to_owned()
}

/// [`clean`] without a copy where nothing is to be done.
pub(crate) fn cleaned(text: String) -> String {
    if text.len() <= TEXT_LIMIT && memchr::memchr(0, text.as_bytes()).is_none() { text } else { clean(&text) }
}

/// [`cleaned`], where an empty text means there is none.
pub(crate) fn cleaned_or_none(text: String) -> Option<String> {
    (!text.is_empty()).then(|| cleaned(text))
}

/// The longest beginning of `text` of at most `limit` bytes.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

/// The time as PostgreSQL stores it.
pub(crate) fn micros(at: DateTime<Utc>) -> DateTime<Utc> {
    at.trunc_subsecs(6)
}

/// JSON as it is hashed and as `jsonb` can store it.
pub(crate) fn canonical_json(value: &Value) -> String {
    let text = canonical(value);
    // Escaped, a NUL passes for JSON and is refused by `jsonb`.
    if text.contains("\\u0000") { canonical(&without_nul(value)) } else { text }
}

/// `evaluated_rules` as it is hashed and stored: the canonical form of the list's JSON.
pub(crate) fn evaluations_json(evaluations: &[Evaluation]) -> String {
    let mut text = String::with_capacity(96 * evaluations.len() + 2);
    text.push('[');
    for (index, evaluation) in evaluations.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        let mut entry = CanonicalObject::within(text);
        let detail = (!evaluation.detail.is_empty()).then(|| storable(evaluation.detail.as_bytes()));
        entry.text("detail", detail.as_deref().map(|detail| cut(detail, TEXT_LIMIT)));
        entry.number("duration_ms", Some(evaluation.duration_ms));
        entry.text("policy_id", Some(&evaluation.policy_id));
        entry.text("result", Some(evaluation.result.as_str()));
        text = entry.finish();
    }
    text.push(']');
    text
}

fn without_nul(value: &Value) -> Value {
    match value {
        Value::String(text) => Value::String(text.replace('\0', "\u{fffd}")),
        Value::Array(items) => items.iter().map(without_nul).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (key.replace('\0', "\u{fffd}"), without_nul(value))).collect()
        }
        other => other.clone(),
    }
}

/// Lower-case hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
