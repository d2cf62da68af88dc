//! Reading answers, streamed and buffered.

use systemprompt_model::json::{self, SyntaxError};

use super::usage::usage;
use crate::answer::reading::Reading;
use crate::answer::summary::{StopReason, bounded};

/// Reads one event of a stream.
pub(super) fn event(answer: &mut Reading, data: &[u8]) -> Result<(), SyntaxError> {
    if data.trim_ascii() == b"[DONE]" {
        answer.finished = true;
        return Ok(());
    }
    chunk(answer, data, "delta")
}

/// Reads a buffered answer.
pub(super) fn body(answer: &mut Reading, body: &[u8]) -> Result<(), SyntaxError> {
    chunk(answer, body, "message")?;
    answer.finished = answer.error.is_none() && answer.stop_reason.is_some();
    Ok(())
}

/// A chunk and a whole completion differ only in where a choice keeps its message.
fn chunk(answer: &mut Reading, data: &[u8], message_field: &str) -> Result<(), SyntaxError> {
    let [id, model, choices, usage_value, error] = json::pick(data, ["id", "model", "choices", "usage", "error"])?;
    if let Some(error) = error.filter(|error| *error != b"null") {
        answer.error(error);
        return Ok(());
    }
    answer.identity(id, model);
    usage(answer, usage_value);
    for choice in choices.map(|choices| json::elements(choices, 16)).into_iter().flatten() {
        let [message, finish_reason] = json::pick(choice, [message_field, "finish_reason"])?;
        answer.stop(finish_reason, stop_reason);
        let Some(message) = message.filter(|message| message.starts_with(b"{")) else { continue };
        let [content, refusal, reasoning, reasoning_content, tool_calls] =
            json::pick(message, ["content", "refusal", "reasoning", "reasoning_content", "tool_calls"])?;
        answer.text(content);
        answer.text(refusal);
        // Compatible servers have two names for it, and some send both with the same words.
        answer.thinking(reasoning_content.filter(|value| *value != b"null").or(reasoning));
        let calls = tool_calls.map(|calls| json::elements(calls, 1024));
        for (position, call) in calls.into_iter().flatten().enumerate() {
            tool_call(answer, position as u64, call)?;
        }
    }
    Ok(())
}

fn tool_call(answer: &mut Reading, position: u64, call: &[u8]) -> Result<(), SyntaxError> {
    let [index, id, function] = json::pick(call, ["index", "id", "function"])?;
    let index = index.and_then(json::unsigned).unwrap_or(position);
    let [name, arguments] = function.map_or(Ok([None; 2]), |function| json::pick(function, ["name", "arguments"]))?;
    let Some(known) = answer.tool_call(index) else { return Ok(()) };
    for (field, value) in [(&mut known.id, id), (&mut known.name, name)] {
        if let Some(value) = value.and_then(json::text).filter(|_| field.is_empty()) {
            *field = bounded(&value);
        }
    }
    if let Some(arguments) = arguments.and_then(json::text) {
        answer.tool_input(index, &arguments);
    }
    Ok(())
}

/// What a provider's word for the end of an answer means.
pub(super) fn stop_reason(word: &str) -> StopReason {
    match word {
        "stop" => StopReason::EndTurn,
        "length" => StopReason::MaxTokens,
        "tool_calls" | "function_call" => StopReason::ToolUse,
        other => StopReason::other(other),
    }
}

/// The word for it. What this format cannot say is never turned into a normal end.
pub(crate) fn stop_word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence => "stop",
        StopReason::MaxTokens => "length",
        StopReason::ToolUse => "tool_calls",
        StopReason::Other(_) => "content_filter",
    }
}
