//! Reading answers, streamed and buffered.

use systemprompt_model::json::loose;

use super::exception::exception;
use super::usage::usage;
use crate::answer::reading::Reading;
use crate::answer::summary::{StopReason, bounded};

/// Most blocks of an answer that are read.
const MOST: usize = 4096;

/// Reads one event of a stream.
pub(super) fn event(answer: &mut Reading, data: &[u8]) {
    let [start, block, delta, stop, metadata, block_stop, message] = answer.pick(
        data,
        [
            "messageStart",
            "contentBlockStart",
            "contentBlockDelta",
            "messageStop",
            "metadata",
            "contentBlockStop",
            "message",
        ],
    );
    if let Some(block) = block {
        let [index, start] = answer.pick(block, ["contentBlockIndex", "start"]);
        let [tool] = start.map_or([None], |start| answer.pick(start, ["toolUse"]));
        if let Some(tool) = tool {
            let [id, name] = answer.pick(tool, ["toolUseId", "name"]);
            named(answer, index.and_then(loose::count).unwrap_or(0), id, name);
        }
    } else if let Some(delta) = delta {
        let [index, delta] = answer.pick(delta, ["contentBlockIndex", "delta"]);
        let index = index.and_then(loose::count).unwrap_or(0);
        let Some(delta) = delta else { return answer.unsound() };
        let [text, tool, reasoning] = answer.pick(delta, ["text", "toolUse", "reasoningContent"]);
        answer.text(text);
        let [thought] = reasoning.map_or([None], |reasoning| answer.pick(reasoning, ["text"]));
        answer.thinking(thought);
        let [input] = tool.map_or([None], |tool| answer.pick(tool, ["input"]));
        if let Some(part) = input.and_then(loose::text) {
            answer.tool_input(index, &part);
        }
    } else if let Some(stop) = stop {
        let [reason] = answer.pick(stop, ["stopReason"]);
        answer.stop(reason, stop_reason);
    } else if let Some(metadata) = metadata {
        let [counted, tier] = answer.pick(metadata, ["usage", "serviceTier"]);
        usage(answer, counted);
        service_tier(answer, tier);
        // It is the last.
        answer.finished |= answer.stop_reason.is_some();
    } else if !exception(answer, data)
        && start.is_none()
        && block_stop.is_none()
        && message.and_then(loose::text).is_some()
    {
        // The error itself, without its name.
        answer.error(data);
    }
}

/// Reads a buffered answer.
pub(super) fn body(answer: &mut Reading, body: &[u8]) {
    let [output, reason, counted, tier, message, upper] =
        answer.pick(body, ["output", "stopReason", "usage", "serviceTier", "message", "Message"]);
    if exception(answer, body) {
        return;
    }
    let said = message.or(upper).filter(|message| loose::text(message).is_some());
    if let Some(said) = said.filter(|_| output.is_none()) {
        // Some of the vendor's errors write it large.
        answer.error(if message.is_some() { body } else { said });
        return;
    }
    answer.stop(reason, stop_reason);
    usage(answer, counted);
    service_tier(answer, tier);
    let [message] = output.map_or([None], |output| answer.pick(output, ["message"]));
    let [content] = message.map_or([None], |message| answer.pick(message, ["content"]));
    let Some(content) = content else { return answer.unsound() };
    for (index, block) in loose::elements(content, MOST).into_iter().enumerate() {
        content_block(answer, index as u64, block);
    }
    answer.finished = loose::is_whole(body);
}

fn content_block(answer: &mut Reading, index: u64, block: &[u8]) {
    let [text, tool, reasoning, cited] =
        answer.pick(block, ["text", "toolUse", "reasoningContent", "citationsContent"]);
    answer.text(text);
    let [content] = cited.map_or([None], |cited| answer.pick(cited, ["content"]));
    for part in content.map(|content| loose::elements(content, MOST)).unwrap_or_default() {
        let [text] = answer.pick(part, ["text"]);
        answer.text(text);
    }
    let [thought] = reasoning.map_or([None], |reasoning| answer.pick(reasoning, ["reasoningText"]));
    let [thought] = thought.map_or([None], |thought| answer.pick(thought, ["text"]));
    answer.thinking(thought);
    if let Some(tool) = tool {
        let [id, name, input] = answer.pick(tool, ["toolUseId", "name", "input"]);
        named(answer, index, id, name);
        answer.tool_input(index, &input.map_or("{}".into(), String::from_utf8_lossy));
    }
}

fn named(answer: &mut Reading, index: u64, id: Option<&[u8]>, name: Option<&[u8]>) {
    if let Some(call) = answer.new_tool_call(index) {
        call.id = id.and_then(loose::text).map(|id| bounded(&id)).unwrap_or_default();
        call.name = name.and_then(loose::text).map(|name| bounded(&name)).unwrap_or_default();
    }
}

fn service_tier(answer: &mut Reading, tier: Option<&[u8]>) {
    let [kind] = tier.map_or([None], |tier| answer.pick(tier, ["type"]));
    answer.service_tier(kind);
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

/// The word for it.
pub(crate) fn stop_word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn => "end_turn",
        StopReason::MaxTokens => "max_tokens",
        StopReason::StopSequence => "stop_sequence",
        StopReason::ToolUse => "tool_use",
        StopReason::Other(reason) => match reason.as_str() {
            own @ ("guardrail_intervened"
            | "malformed_model_output"
            | "malformed_tool_use"
            | "model_context_window_exceeded") => own,
            _ => "content_filtered",
        },
    }
}
