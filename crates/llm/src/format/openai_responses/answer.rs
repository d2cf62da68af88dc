//! Reading answers, streamed and buffered.

use systemprompt_model::json::loose;

use super::usage::usage;
use crate::answer::reading::{Reading, is_error, unwrapped};
use crate::answer::summary::{StopReason, Usage, bounded};

/// Items of one response that are told apart.
const ITEMS: usize = 4096;

/// Reads one event of a stream.
pub(super) fn event(answer: &mut Reading, data: &[u8]) {
    // Some servers end with the word that another format has for it. It says nothing here.
    if data.trim_ascii() == b"[DONE]" {
        return;
    }
    let data = unwrapped(data);
    let [kind, number, index, response, item, delta, error, arguments, input] = answer.pick(
        data,
        ["type", "sequence_number", "output_index", "response", "item", "delta", "error", "arguments", "input"],
    );
    if let Some(number) = number.and_then(loose::count) {
        answer.at_event(number);
    }
    let index = index.and_then(loose::count).unwrap_or(0);
    let kind = kind.and_then(loose::text).unwrap_or_default();
    match (&*kind, response, item) {
        ("response.created" | "response.in_progress" | "response.queued", Some(response), _) => {
            let [id, model, created, tier] = answer.pick(response, ["id", "model", "created_at", "service_tier"]);
            answer.identity(id, model);
            answer.created(created);
            answer.service_tier(tier);
        }
        (
            "response.completed" | "response.incomplete" | "response.failed" | "response.cancelled" | "response.done",
            Some(whole),
            _,
        ) => self::response(answer, whole, false),
        ("response.output_item.added", _, Some(item)) => call(answer, index, item),
        ("response.output_item.done", _, Some(item)) => {
            call(answer, index, item);
            let mut usage = answer.usage;
            serve(&mut usage, item);
            answer.usage = usage;
        }
        ("response.output_text.delta" | "response.refusal.delta", _, _) => answer.text(delta),
        ("response.reasoning_summary_text.delta" | "response.reasoning_text.delta", _, _) => answer.thinking(delta),
        ("response.function_call_arguments.delta" | "response.custom_tool_call_input.delta", _, _) => {
            if let Some(part) = delta.and_then(loose::text) {
                answer.tool_input(index, &part);
            }
        }
        ("response.function_call_arguments.done" | "response.custom_tool_call_input.done", _, _) => {
            whole_input(answer, index, arguments.or(input));
        }
        ("error", _, _) => {
            let error = error.filter(|error| is_error(error)).unwrap_or(data);
            answer.error(error);
            // Of the event itself this is not what the error is.
            if let Some(error) = &mut answer.error {
                error.kind = error.kind.take().filter(|kind| kind != "error");
            }
        }
        (kind, _, _) if kind.starts_with("response.") || kind == "keepalive" => {}
        _ => other(answer, data),
    }
}

/// Reads a buffered answer.
pub(super) fn body(answer: &mut Reading, body: &[u8]) {
    let body = unwrapped(body);
    let [object, output, status] = answer.pick(body, ["object", "output", "status"]);
    let is_response = object.and_then(loose::text).is_some_and(|object| object == "response");
    if is_response || output.is_some_and(|output| output.starts_with(b"[")) && status.is_some() {
        response(answer, body, true);
        answer.finished &= answer.error.is_none() && loose::is_whole(body);
    } else {
        other(answer, body);
    }
}

/// What is no event and no response may be an error, in one of the forms in which servers tell them.
fn other(answer: &mut Reading, data: &[u8]) {
    let [error, object, kind, message] = answer.pick(data, ["error", "object", "type", "message"]);
    let says_error = |word: Option<&[u8]>| word.and_then(loose::text).is_some_and(|word| word == "error");
    if let Some(error) = error.filter(|error| is_error(error)) {
        answer.error(error);
    } else if says_error(object) || says_error(kind) || message.and_then(loose::text).is_some() {
        answer.error(data);
    } else {
        answer.unsound();
    }
}

/// Reads a response. What it says was said before by the events of its stream, unless `say` or they said nothing.
fn response(answer: &mut Reading, response: &[u8], say: bool) {
    let [id, model, created, status, error, incomplete, output, usage_value, tier, tool_usage] = answer.pick(
        response,
        [
            "id",
            "model",
            "created_at",
            "status",
            "error",
            "incomplete_details",
            "output",
            "usage",
            "service_tier",
            "tool_usage",
        ],
    );
    answer.identity(id, model);
    answer.created(created);
    answer.service_tier(tier);
    usage(answer, usage_value);
    let status = status.and_then(loose::text).unwrap_or_else(|| "completed".into());
    if let Some(error) = error.filter(|error| is_error(error)) {
        answer.error(error);
    } else if status == "failed" {
        answer.error(b"the provider says that the response failed, and not why");
    }
    let say = say || answer.is_silent();
    let mut counted = Usage::default();
    for (index, item) in (0..).zip(output.map(|output| loose::elements(output, ITEMS)).unwrap_or_default()) {
        serve(&mut counted, item);
        if say {
            said(answer, item);
            call(answer, index, item);
        }
    }
    // What the provider charges for is told apart, by those that tell.
    let [web] = object(tool_usage).map_or([None], |tools| answer.pick(tools, ["web_search"]));
    let [charged] = object(web).map_or([None], |web| answer.pick(web, ["num_requests"]));
    let charged = answer.count(charged);
    let usage = &mut answer.usage;
    usage.web_searches = charged.or(counted.web_searches.max(usage.web_searches));
    usage.file_searches = counted.file_searches.max(usage.file_searches);
    usage.code_executions = counted.code_executions.max(usage.code_executions);
    let [reason] = object(incomplete).map_or([None], |incomplete| answer.pick(incomplete, ["reason"]));
    match &*status {
        "completed" if answer.calls_tools() => answer.stop_reason = Some(StopReason::ToolUse),
        "incomplete" if answer.stop(reason, stop_reason) => {}
        "in_progress" | "queued" => return,
        status => answer.stop_reason = Some(stop_reason(status)),
    }
    answer.finished = true;
}

/// A raw value that is an object.
fn object(value: Option<&[u8]>) -> Option<&[u8]> {
    value.filter(|value| value.starts_with(b"{"))
}

/// Counts what the provider did itself, if the item is that.
fn serve(usage: &mut Usage, item: &[u8]) {
    let [kind, action] = loose::pick(item, ["type", "action"]);
    let [action] = action.map_or([None], |action| loose::pick(action, ["type"]));
    let count = match kind.and_then(loose::text).as_deref() {
        // To open a page is no search.
        Some("web_search_call") if action.and_then(loose::text).is_none_or(|action| action == "search") => {
            &mut usage.web_searches
        }
        Some("file_search_call") => &mut usage.file_searches,
        Some("code_interpreter_call") => &mut usage.code_executions,
        _ => return,
    };
    *count = Some(count.unwrap_or(0).saturating_add(1));
}

/// Reads the texts of an item.
fn said(answer: &mut Reading, item: &[u8]) {
    let [kind, content, summary] = answer.pick(item, ["type", "content", "summary"]);
    let thinks = kind.and_then(loose::text).is_some_and(|kind| kind == "reasoning");
    for part in [summary, content].into_iter().flatten().flat_map(|parts| loose::elements(parts, ITEMS)) {
        let [text, refusal] = answer.pick(part, ["text", "refusal"]);
        if thinks {
            answer.thinking(text);
        } else {
            answer.text(text);
            answer.text(refusal);
        }
    }
}

/// Reads a call that the caller's program is to make, if the item is one.
fn call(answer: &mut Reading, index: u64, item: &[u8]) {
    let [kind, id, call_id, name, arguments, input, action, operation, execution] =
        answer.pick(item, ["type", "id", "call_id", "name", "arguments", "input", "action", "operation", "execution"]);
    let kind = kind.and_then(loose::text).unwrap_or_default();
    let input = match &*kind {
        "function_call" => arguments,
        "custom_tool_call" => input,
        "local_shell_call" | "shell_call" | "computer_call" => action,
        "apply_patch_call" => operation,
        "tool_search_call" if execution.and_then(loose::text).is_some_and(|by| by == "client") => arguments,
        "message" | "reasoning" | "" => return,
        // Of a tool of its own, or an approval of one; whatever else there will be counts as that.
        _ => return answer.provider_acted = true,
    };
    let Some(known) = answer.tool_call(index) else { return };
    for (field, value) in [(&mut known.id, call_id.or(id)), (&mut known.name, name)] {
        if let Some(value) = value.and_then(loose::text).filter(|_| field.is_empty()) {
            *field = bounded(&value);
        }
    }
    if known.name.is_empty() {
        known.name = bounded(kind.trim_end_matches("_call"));
    }
    whole_input(answer, index, input);
}

/// The whole input of a call, of which nothing may have come in pieces.
fn whole_input(answer: &mut Reading, index: u64, input: Option<&[u8]>) {
    if answer.tool_call(index).is_none_or(|call| call.input_bytes > 0) {
        return;
    }
    match input.map(|input| (input, loose::text(input))) {
        Some((_, Some(text))) => answer.tool_input(index, &text),
        Some((raw, None)) if raw.starts_with(b"{") => answer.tool_input(index, &String::from_utf8_lossy(raw)),
        _ => {}
    }
}

/// What a provider's word for the end of an answer means: its status, or why it is not complete.
pub(super) fn stop_reason(word: &str) -> StopReason {
    match word {
        "completed" => StopReason::EndTurn,
        "max_output_tokens" => StopReason::MaxTokens,
        other => StopReason::other(other),
    }
}

/// The word for it: that it is complete, or why it is not.
pub(crate) fn stop_word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse => "completed",
        StopReason::MaxTokens => "max_output_tokens",
        StopReason::Other(reason) => match reason.as_str() {
            // It could have gone on.
            "model_context_window_exceeded" | "pause_turn" => "max_output_tokens",
            _ => "content_filter",
        },
    }
}
