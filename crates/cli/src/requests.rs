//! What the ledger knows of requests, as several commands show it.

use std::time::Duration;

use serde_json::Value;
use systemprompt_database::DbPool;
use systemprompt_gateway::request::queries::{
    self, LookupError, Message, RequestDetail, RequestFilter, RequestSummary,
};
use systemprompt_model::UserId;

use crate::error::{CliError, CliResult, Exit};
use crate::ledger::catch_up;
use crate::view::{Record, Row, time};

/// How much of a message people see unless they ask for all.
pub(crate) const GLIMPSE: usize = 400;

/// The requests that an id, a trace's id, or the beginning of one names; at least one.
pub(crate) async fn look_up(db: &DbPool, id: &str) -> CliResult<Vec<RequestDetail>> {
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
    Ok(found)
}

/// The latest requests of a user.
pub(crate) async fn latest_of(db: &DbPool, user: UserId, limit: u32) -> CliResult<Vec<RequestSummary>> {
    catch_up(db).await?;
    let filter = RequestFilter { user: Some(user), limit, ..RequestFilter::default() };
    Ok(queries::list_requests(db.write(), &filter).await.map_err(CliError::database)?.items)
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
                return Ok(format!(
                    "{} {} by {}{tokens}  ({})",
                    summary.status, detail.decision.decision, detail.decision.policy, summary.request_id
                ));
            }
            None if patience == 0 => return Err(CliError::new("unknown_request", "no record yet")),
            _ => {}
        }
        patience -= 1;
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

impl Row for RequestSummary {
    const COLUMNS: &'static [&'static str] =
        &["time", "request", "status", "model", "provider", "#in", "#out", "#cost", "#ms"];
    const NONE: &'static str = "No requests.";

    fn cells(&self) -> Vec<String> {
        let number = |value: Option<i64>| value.map_or("-".to_owned(), |value| value.to_string());
        vec![
            time(self.created_at),
            self.request_id.to_string(),
            self.status.clone(),
            self.requested_model.clone().unwrap_or_default(),
            self.provider.clone().unwrap_or_else(|| "-".to_owned()),
            number(self.input_tokens),
            number(self.output_tokens),
            self.cost.map_or("-".to_owned(), |cost| cost.to_string()),
            number(self.latency_ms),
        ]
    }
}

/// A request for people: with its messages, each no longer than so many characters, and with its tools.
pub(crate) fn record(detail: &RequestDetail, messages: Option<usize>, tools: bool) -> Record {
    let summary = &detail.summary;
    let decision = &detail.decision;
    let number = |value: Option<i64>| value.map(|value| value.to_string());
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
        .with("policy version", decision.policy_version.clone())
        .with("user", summary.user_id.map(|id| id.to_string()))
        .with("actor", format!("{} {}", detail.actor_kind, detail.actor_id))
        .with("session", summary.session_id.map(|id| id.to_string()))
        .with("trace", summary.trace_id.to_string())
        .with("conversation", detail.conversation_id.clone())
        .with("client", detail.client.clone())
        .with("dialect", format!("{}{}", detail.dialect, if summary.is_streaming { ", streamed" } else { "" }))
        .with("route", detail.route_match.clone())
        .with("provider", summary.provider.clone())
        .with("model", summary.model.clone())
        .with("asked for", summary.requested_model.clone())
        .with("provider's id", detail.provider_request_id.clone())
        .with("tokens in", number(summary.input_tokens))
        .with("tokens out", number(summary.output_tokens))
        .with("cached", number(detail.cache_read_tokens.filter(|count| *count > 0)))
        .with("cost", summary.cost.map(|cost| cost.to_string()))
        .with("latency", summary.latency_ms.map(|latency| format!("{latency} ms")))
        .with("first byte", detail.ttft_ms.map(|latency| format!("{latency} ms")))
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
            .map(|block| block.get("text").and_then(Value::as_str).map_or_else(|| block.to_string(), str::to_owned))
            .collect::<Vec<_>>()
            .join("\n"),
        other => other.to_string(),
    };
    glimpse(&whole, limit)
}

fn glimpse(text: &str, limit: usize) -> String {
    match text.char_indices().nth(limit) {
        Some((end, _)) => format!("{} … (--full shows all)", &text[..end]),
        None => text.to_owned(),
    }
}
