//! Reading answers, streamed and buffered.

use systemprompt_model::json::loose;

use super::usage::usage;
use crate::answer::reading::{Reading, is_error, unwrapped};
use crate::answer::summary::{StopReason, bounded};

/// Reads one event of a stream.
pub(super) fn event(answer: &mut Reading, data: &[u8]) {
    let [kind, index, delta, message, block, usage_value, error, object] =
        answer.pick(data, ["type", "index", "delta", "message", "content_block", "usage", "error", "object"]);
    let index = index.and_then(loose::count).unwrap_or(0);
    match kind.and_then(loose::text).as_deref() {
        Some("message_start") => {
            let Some(message) = message else { return answer.unsound() };
            let [id, model, usage_value] = answer.pick(message, ["id", "model", "usage"]);
            answer.identity(id, model);
            usage(answer, usage_value);
        }
        Some("content_block_start") => match block {
            Some(block) => content_block(answer, index, block, true),
            None => answer.unsound(),
        },
        Some("content_block_delta") => {
            let Some(delta) = delta else { return answer.unsound() };
            let [kind, text, thinking, input] = answer.pick(delta, ["type", "text", "thinking", "partial_json"]);
            match kind.and_then(loose::text).as_deref() {
                Some("text_delta") => answer.text(text),
                Some("thinking_delta") => answer.thinking(thinking),
                Some("input_json_delta") => {
                    if let Some(part) = input.and_then(loose::text) {
                        answer.tool_input(index, &part);
                    }
                }
                _ => {}
            }
        }
        Some("message_delta") => {
            if let Some(delta) = delta {
                let [reason] = answer.pick(delta, ["stop_reason"]);
                answer.stop(reason, stop_reason);
            }
            usage(answer, usage_value);
        }
        Some("message_stop") => answer.finished = true,
        Some("error") => answer.error(error.unwrap_or(data)),
        // `ping`, `content_block_stop`, and events that were added since. Proxies report errors without a type.
        kind => {
            let is_bare = object.and_then(loose::text).is_some_and(|object| object == "error")
                || kind.is_none() && message.and_then(loose::text).is_some();
            if let Some(error) = error.filter(|error| is_error(error)) {
                answer.error(error);
            } else if is_bare {
                answer.error(data);
            }
        }
    }
}

/// Reads a buffered answer.
pub(super) fn body(answer: &mut Reading, body: &[u8]) {
    let body = unwrapped(body);
    let [id, model, content, reason, usage_value, error, request_id, kind, object, message] = answer.pick(
        body,
        ["id", "model", "content", "stop_reason", "usage", "error", "request_id", "type", "object", "message"],
    );
    let says_error = |word: Option<&[u8]>| word.and_then(loose::text).is_some_and(|word| word == "error");
    let error = error.filter(|error| is_error(error));
    let is_bare =
        says_error(kind) || says_error(object) || content.is_none() && message.and_then(loose::text).is_some();
    if let Some(error) = error.or(is_bare.then_some(body)) {
        answer.identity(request_id, None);
        answer.error(error);
        return;
    }
    answer.identity(id, model);
    answer.stop(reason, stop_reason);
    usage(answer, usage_value);
    match content {
        Some(content) => {
            for (index, block) in loose::elements(content, 4096).into_iter().enumerate() {
                content_block(answer, index as u64, block, false);
            }
        }
        None => answer.unsound(),
    }
    answer.finished = loose::is_whole(body);
}

fn content_block(answer: &mut Reading, index: u64, block: &[u8], streamed: bool) {
    let [kind, text, thinking, id, name, input] =
        answer.pick(block, ["type", "text", "thinking", "id", "name", "input"]);
    match kind.and_then(loose::text).as_deref() {
        Some("text") => answer.text(text),
        Some("thinking") => answer.thinking(thinking),
        // Also `server_tool_use` and `mcp_tool_use`: the ledger wants to know, whoever runs the tool.
        Some(kind) if kind.ends_with("tool_use") => {
            if let Some(call) = answer.new_tool_call(index) {
                call.id = id.and_then(loose::text).map(|id| bounded(&id)).unwrap_or_default();
                call.name = name.and_then(loose::text).map(|name| bounded(&name)).unwrap_or_default();
            }
            // In a stream the block starts with an empty object and the input follows in deltas.
            if let Some(input) = input.filter(|_| !streamed) {
                answer.tool_input(index, &String::from_utf8_lossy(input));
            }
        }
        _ => {}
    }
}

/// What a provider's word for the end of an answer means.
pub(super) fn stop_reason(word: &str) -> StopReason {
    match word {
        "end_turn" => StopReason::EndTurn,
        "max_tokens" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "tool_use" => StopReason::ToolUse,
        other => StopReason::other(other),
    }
}

/// The word for it. What this format cannot say is never turned into a normal end.
pub(crate) fn stop_word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn => "end_turn",
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::ToolUse => "tool_use",
        StopReason::Other(reason) => match reason.as_str() {
            own @ ("pause_turn" | "model_context_window_exceeded" | "compaction") => own,
            // `content_filter`, `SAFETY`, and whatever else others stop for.
            _ => "refusal",
        },
    }
}
