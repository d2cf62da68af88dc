//! Reading answers, streamed and buffered.

use systemprompt_model::json::loose;

use super::usage::usage;
use crate::answer::reading::{Reading, is_error, unwrapped};
use crate::answer::summary::{StopReason, bounded};

/// Reads one event of a stream.
pub(super) fn event(answer: &mut Reading, data: &[u8]) {
    if data.trim_ascii() == b"[DONE]" {
        answer.finished = true;
    } else {
        chunk(answer, data, "delta");
    }
}

/// Reads a buffered answer. It is complete if it is there: compatible servers leave out `finish_reason`, or have `null`.
pub(super) fn body(answer: &mut Reading, body: &[u8]) {
    chunk(answer, body, "message");
    answer.finished = answer.error.is_none() && loose::is_whole(body);
}

/// A chunk and a whole completion differ only in where a choice keeps its message.
fn chunk(answer: &mut Reading, data: &[u8], message_field: &str) {
    let data = unwrapped(data);
    let [id, model, choices, usage_value, groq, tier, error, object, kind, message] = answer.pick(
        data,
        ["id", "model", "choices", "usage", "x_groq", "service_tier", "error", "object", "type", "message"],
    );
    let says_error = |word: Option<&[u8]>| word.and_then(loose::text).is_some_and(|word| word == "error");
    if let Some(error) = error.filter(|error| is_error(error)) {
        answer.error(error);
    } else if says_error(object) || says_error(kind) || choices.is_none() && message.and_then(loose::text).is_some() {
        // The error itself, without anything around it.
        answer.error(data);
        return;
    }
    answer.identity(id, model);
    answer.service_tier(tier);
    usage(answer, usage_value);
    if let Some(groq) = groq {
        let [usage_value] = answer.pick(groq, ["usage"]);
        usage(answer, usage_value);
    }
    let Some(choices) = choices else {
        // A chunk may be about usage only, a whole completion may not.
        if answer.error.is_none() && (message_field == "message" || usage_value.is_none()) {
            answer.unsound();
        }
        return;
    };
    for (position, choice) in loose::elements(choices, 1024).into_iter().enumerate() {
        let [index, message, finish_reason, usage_value, error] =
            answer.pick(choice, ["index", message_field, "finish_reason", "usage", "error"]);
        let stopped = answer.stop(finish_reason, stop_reason);
        let message = message.filter(|message| message.starts_with(b"{"));
        let has_said = message.is_some_and(says_something);
        answer.choice(index.and_then(loose::count).unwrap_or(position as u64), has_said, stopped);
        usage(answer, usage_value);
        if let Some(error) = error.filter(|error| is_error(error)) {
            answer.error(error);
        }
        if let Some(message) = message {
            said(answer, message);
        }
    }
}

/// Whether there is more in a piece of a message than whose it is.
fn says_something(message: &[u8]) -> bool {
    let fields = loose::pick(message, ["content", "reasoning_content", "reasoning", "tool_calls"]);
    fields.into_iter().flatten().any(|value| !matches!(value, b"null" | b"\"\"" | b"[]"))
}

/// Reads what a message, or a piece of one, says.
fn said(answer: &mut Reading, message: &[u8]) {
    let [content, refusal, reasoning, reasoning_content, tool_calls, function_call, annotations] = answer.pick(
        message,
        ["content", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call", "annotations"],
    );
    // What it found on the web is cited.
    answer.provider_acted |= annotations.is_some_and(|found| !loose::elements(found, 1).is_empty());
    match content {
        // Some servers answer in parts, as in requests.
        Some(parts) if parts.starts_with(b"[") => {
            for part in loose::elements(parts, 4096) {
                let [text, thinking] = answer.pick(part, ["text", "thinking"]);
                answer.text(text);
                answer.thinking(thinking);
            }
        }
        content => answer.text(content),
    }
    answer.text(refusal);
    // Compatible servers have two names for it, and some send both with the same words.
    answer.thinking(reasoning_content.filter(|value| *value != b"null").or(reasoning));
    if let Some(calls) = tool_calls {
        for (position, call) in loose::elements(calls, 1024).into_iter().enumerate() {
            tool_call(answer, position as u64, call);
        }
    }
    // The form before there could be several.
    if let Some(call) = function_call.filter(|call| call.starts_with(b"{")) {
        let [name, arguments] = answer.pick(call, ["name", "arguments"]);
        call_of(answer, 0, None, name, arguments);
    }
}

fn tool_call(answer: &mut Reading, position: u64, call: &[u8]) {
    let [index, id, function, custom] = answer.pick(call, ["index", "id", "function", "custom"]);
    let index = index.and_then(loose::count).unwrap_or(position);
    let [name, arguments] = match (function, custom) {
        (Some(function), _) => answer.pick(function, ["name", "arguments"]),
        (None, Some(custom)) => answer.pick(custom, ["name", "input"]),
        (None, None) => [None; 2],
    };
    call_of(answer, index, id, name, arguments);
}

fn call_of(answer: &mut Reading, index: u64, id: Option<&[u8]>, name: Option<&[u8]>, input: Option<&[u8]>) {
    let Some(known) = answer.tool_call(index) else { return };
    for (field, value) in [(&mut known.id, id), (&mut known.name, name)] {
        if let Some(value) = value.and_then(loose::text).filter(|_| field.is_empty()) {
            *field = bounded(&value);
        }
    }
    match input.map(|input| (input, loose::text(input))) {
        Some((_, Some(text))) => answer.tool_input(index, &text),
        // Some servers send the object itself instead of its text.
        Some((raw, None)) if raw.starts_with(b"{") => answer.tool_input(index, &String::from_utf8_lossy(raw)),
        _ => {}
    }
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
        StopReason::Other(reason) if reason == "model_context_window_exceeded" => "length",
        StopReason::Other(_) => "content_filter",
    }
}
