//! What the ledger knows of requests, as several commands show it.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use systemprompt_database::DbPool;
use systemprompt_gateway::request::filter::RequestFilter;
use systemprompt_gateway::request::list::{ListedRequest, RequestSummary, list_requests};
use systemprompt_gateway::request::queries::{self, Finding, LookupError, RequestDetail};
use systemprompt_gateway::request::said::Message;
use systemprompt_identity::{Origin, Origins};
use systemprompt_model::{SessionId, UserId};

use crate::change::{About, Change, Changed};
use crate::error::{CliError, CliResult, Exit};
use crate::ledger::catch_up;
use crate::project::{Invocation, OpenDatabase};
use crate::prompt::{condensed, typed};
use crate::view::{Record, Row, time};

/// How much of a message people see unless they ask for all.
pub(crate) const GLIMPSE: usize = 400;

/// A request, with the names of who made it.
#[derive(Debug, Serialize)]
pub(crate) struct Named<T> {
    #[serde(flatten)]
    pub(crate) request: T,
    #[serde(flatten)]
    pub(crate) origin: Origin,
}

/// These requests with the names of who made them.
pub(crate) async fn named<T: AsRef<RequestSummary>>(db: &DbPool, requests: Vec<T>) -> CliResult<Vec<Named<T>>> {
    let users = requests.iter().filter_map(|request| request.as_ref().user_id);
    let sessions = requests.iter().filter_map(|request| request.as_ref().session_id);
    let origins = Origins::find(db, users, sessions).await.map_err(CliError::database)?;
    let named = requests.into_iter().map(|request| {
        let origin = origins.of(request.as_ref().user_id, request.as_ref().session_id);
        Named { request, origin }
    });
    Ok(named.collect())
}

/// The requests that an id, a trace's id, or the beginning of one names; at least one.
pub(crate) async fn look_up(db: &DbPool, id: &str) -> CliResult<Vec<Named<RequestDetail>>> {
    catch_up(db).await?;
    let found = queries::audit(db.write(), id).await.map_err(|error| {
        let exit = if matches!(error, LookupError::Database(_)) { Exit::Failure } else { Exit::Usage };
        CliError::from_error("lookup_failed", &error)
            .help("systemprompt infra logs request list   shows ids")
            .exit(exit)
    })?;
    if found.is_empty() {
        return Err(CliError::new("unknown_request", format!("the ledger has no request or trace `{id}`"))
            .help("systemprompt infra logs request list   shows ids"));
    }
    named(db, found).await
}

/// Records that somebody reads what was said. Nothing is shown to whom that cannot be recorded of.
pub(crate) async fn record_reading(
    invocation: &Invocation,
    database: &OpenDatabase,
    requests: &[Named<RequestDetail>],
    by: &str,
) -> CliResult {
    let (Some(first), ids) = (requests.first(), requests.iter().map(|request| request.request.summary.request_id))
    else {
        return Ok(());
    };
    let about = match requests {
        [_] => About::new("request", first.request.summary.request_id),
        _ => About::new("trace", first.request.summary.trace_id),
    };
    let asked = json!({"command": by, "requests": ids.collect::<Vec<_>>()});
    let change = Change::new("content.read", about, &asked);
    invocation.change(database, change, async || Ok(Changed::unseen(()))).await
}

/// The latest requests of a user.
pub(crate) async fn latest_of(db: &DbPool, user: UserId, limit: u32) -> CliResult<Vec<RequestSummary>> {
    catch_up(db).await?;
    let filter = RequestFilter { user: Some(user), ..RequestFilter::default() };
    let found = list_requests(db.write(), &filter, None, limit).await.map_err(CliError::database)?;
    Ok(found.items.into_iter().map(|listed| listed.summary).collect())
}

/// One line about a request whose outcome is being written.
pub(crate) async fn settled(db: &DbPool, id: &str) -> CliResult<String> {
    let mut patience = 40;
    loop {
        catch_up(db).await?;
        let found =
            queries::audit(db.write(), id).await.map_err(|error| CliError::from_error("lookup_failed", &error))?;
        match found.first() {
            Some(detail) if detail.summary.status != "pending" || patience == 0 => {
                let summary = &detail.summary;
                let tokens = match (summary.input_tokens, summary.output_tokens) {
                    (Some(input), Some(output)) => {
                        format!(", {input} tokens in, {output} out, {}", summary.cost.unwrap_or_default())
                    }
                    _ => String::new(),
                };
                let decision = &detail.decision;
                let why = decision.reason.as_deref().map(|reason| format!(", {reason}")).unwrap_or_default();
                return Ok(format!(
                    "{} {} by {}{why}{tokens}  ({})",
                    summary.status, decision.decision, decision.policy, summary.request_id
                ));
            }
            None if patience == 0 => return Err(CliError::new("unknown_request", "no record yet")),
            _ => {}
        }
        patience -= 1;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

impl Row for Named<ListedRequest> {
    const COLUMNS: &'static [&'static str] = &[
        "time",
        "request",
        "~user",
        "~key",
        "~model",
        "decision",
        "?#cost",
        "?#ms",
        "?#in",
        "?#out",
        "?~provider",
        "?~session",
    ];
    const NONE: &'static str = "No requests.";

    fn cells(&self) -> Vec<String> {
        let Self { request, origin } = self;
        let summary = &request.summary;
        let number = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
        vec![
            time(summary.created_at),
            summary.request_id.to_string().chars().take(request.short_id).collect(),
            or_none(origin.user_name.clone().or_else(|| summary.user_id.map(|id| id.to_string()))),
            or_none(origin.api_key_name.clone().or_else(|| origin.api_key_prefix.clone())),
            or_none(summary.requested_model.clone().or_else(|| summary.model.clone())),
            request.decision.clone(),
            summary.cost.map_or("-".to_owned(), |cost| cost.to_string()),
            number(summary.latency_ms),
            number(summary.input_tokens),
            number(summary.output_tokens),
            or_none(summary.provider.clone()),
            or_none(summary.session_id.map(beginning)),
        ]
    }

    /// What was not as it usually is, and why.
    fn note(&self) -> Option<String> {
        let ListedRequest { summary, decision, policy, reason, .. } = &self.request;
        let because = |reason: &Option<String>| reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
        let decided =
            (decision != "allow" || reason.is_some()).then(|| format!("{decision} by {policy}{}", because(reason)));
        let ended = (!matches!(summary.status.as_str(), "completed" | "rejected"))
            .then(|| format!("{}{}", summary.status, because(&summary.error_message)));
        let parts: Vec<String> = [decided, ended].into_iter().flatten().collect();
        (!parts.is_empty()).then(|| parts.join("; "))
    }
}

/// The beginning of a session's id, which tells the sessions of a list apart.
fn beginning(session: SessionId) -> String {
    session.to_string().chars().take(13).collect()
}

/// A request for people: with its messages, each no longer than so many characters, and with its tools.
pub(crate) fn record(request: &Named<RequestDetail>, messages: Option<usize>, tools: bool) -> Record {
    let Named { request: detail, origin } = request;
    let summary = &detail.summary;
    let decision = &detail.decision;
    let number = |value: Option<i64>| value.map(|value| value.to_string());
    let counted = |value: Option<i64>| number(value.filter(|count| *count > 0));
    let with_id = |name: &Option<String>, id: Option<String>| match (name, id) {
        (Some(name), Some(id)) => Some(format!("{name} ({id})")),
        (name, id) => name.clone().or(id),
    };
    let status = match &summary.error_message {
        Some(message) => format!("{}: {message}", summary.status),
        None => summary.status.clone(),
    };
    let mut record = Record::new()
        .with("request", summary.request_id.to_string())
        .with("time", time(summary.created_at))
        .with("status", status)
        .with("decision", format!("{} by {}", decision.decision, decision.policy))
        .with("reason", decision.reason.clone())
        .with_list("rules", decision.evaluated_rules.as_array().into_iter().flatten().map(rule))
        .with_list("afterwards", detail.inspections.iter().filter_map(Value::as_array).flatten().map(rule))
        .with_list("findings", detail.findings.iter().map(found))
        .with("policy version", decision.policy_version.clone())
        .with("user", with_id(&origin.user_name, summary.user_id.map(|id| id.to_string())))
        .with("key", with_id(&origin.api_key_name, origin.api_key_prefix.clone()))
        .with("actor", format!("{} {}", detail.actor_kind, detail.actor_id))
        .with("session", summary.session_id.map(|id| id.to_string()))
        .with("client's session", origin.client_session_id.clone())
        .with("agent", detail.client_agent_id.clone())
        .with("trace", summary.trace_id.to_string())
        .with("conversation", detail.conversation_id.clone())
        .with("client", detail.client.clone())
        .with("dialect", format!("{}{}", detail.dialect, if summary.is_streaming { ", streamed" } else { "" }))
        .with("route", detail.route_match.clone())
        .with("system prompt", detail.system_prompt_override.clone())
        .with("provider", summary.provider.clone())
        .with("model", summary.model.clone())
        .with("asked for", summary.requested_model.clone())
        .with("provider's id", detail.provider_request_id.clone())
        .with("tokens in", number(summary.input_tokens))
        .with("tokens out", number(summary.output_tokens))
        .with("cache read", counted(detail.cache_read_tokens))
        .with("cache written", counted(detail.cache_creation_tokens))
        .with("of that, for 1 h", counted(detail.cache_creation_1h_tokens))
        .with("of out, reasoning", counted(detail.reasoning_tokens))
        .with("web searches", counted(detail.web_searches))
        .with("counted by", detail.usage_source.clone())
        .with("service tier", detail.service_tier.clone())
        .with(
            "answer",
            detail.answer_partial.filter(|partial| *partial).map(|_| "could only be read in part".to_owned()),
        )
        .with(
            "cost",
            match (summary.cost, detail.cost_source.as_deref()) {
                (Some(_), Some("unpriced")) => Some("unknown: the model has no price".to_owned()),
                (cost, _) => cost.map(|cost| cost.to_string()),
            },
        )
        .with("prices of", detail.price_version.clone())
        .with("latency", summary.latency_ms.map(|latency| format!("{latency} ms")))
        .with("first byte", detail.ttft_ms.map(|latency| format!("{latency} ms")))
        .with("served from", detail.cache_hit.filter(|hit| *hit).map(|_| "the gateway's cache".to_owned()))
        .with("served by", detail.served_provider.clone().filter(|served| summary.provider.as_ref() != Some(served)))
        .with("attempts", (detail.attempts > 1).then(|| detail.attempts.to_string()))
        .with("stop reason", detail.stop_reason.clone())
        .with("sent", format!("{} bytes, sha256 {}", detail.content_bytes, detail.prepared_sha256))
        .with(
            "answered",
            detail
                .response_bytes
                .map(|size| format!("{size} bytes, sha256 {}", detail.response_sha256.clone().unwrap_or_default())),
        );
    if let Some(limit) = messages {
        record = record.with_prose("typed", typed(&detail.messages).map(|prompt| glimpse(&prompt, limit)));
        for message in &detail.messages {
            record = record.with_prose(&message.role, text_of(message, limit));
        }
        for excerpt in &detail.excerpts {
            record = record.with_prose(
                excerpt.of,
                format!(
                    "{} bytes: {} … {}",
                    excerpt.bytes,
                    glimpse(&excerpt.head, limit),
                    glimpse(&excerpt.tail, limit)
                ),
            );
        }
    }
    if tools {
        for call in &detail.tool_calls {
            record = record.with_prose(
                "tool",
                format!(
                    "{} {}",
                    call.name,
                    glimpse(call.input.as_deref().unwrap_or_default(), messages.unwrap_or(GLIMPSE))
                ),
            );
        }
    }
    record
}

/// Something a safety scanner found, in a line.
fn found(finding: &Finding) -> String {
    let blocked = if finding.blocked { ", blocked" } else { "" };
    let excerpt = finding.excerpt.as_ref().map(|excerpt| format!("  {excerpt}")).unwrap_or_default();
    let Finding { category, severity, phase, scanner, .. } = finding;
    format!("{category} ({severity}, {phase}, {scanner}{blocked}){excerpt}")
}

fn rule(rule: &Value) -> String {
    let text = |key: &str| rule.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let detail = match rule.get("detail") {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(detail)) => format!("  {detail}"),
        Some(other) => format!("  {other}"),
    };
    format!("{} {}{detail}", text("result"), text("policy_id"))
}

/// What was said: the text of blocks that have one, the rest as JSON.
fn text_of(message: &Message, limit: usize) -> String {
    let whole = match &message.content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .map(|block| match block {
                Value::String(text) => text.clone(),
                block => block.get("text").and_then(Value::as_str).map_or_else(|| block.to_string(), str::to_owned),
            })
            .collect::<Vec<_>>()
            .join("\n"),
        Value::Null => "(no text)".to_owned(),
        other => other.to_string(),
    };
    // Who asks for all gets all.
    let whole = if limit == usize::MAX || message.role != "user" { whole } else { condensed(&whole) };
    glimpse(&whole, limit)
}

fn glimpse(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{} … (--full shows all)", &text[..end]),
        None => text.to_owned(),
    }
}
