//! Reading answers, streamed and buffered: a chunk of a stream and a whole answer look the same.

use systemprompt_model::json::loose;

use super::usage::usage;
use crate::answer::reading::{Reading, is_error, raise, unwrapped};
use crate::answer::summary::{StopReason, bounded};

/// Most candidates and parts of one chunk that are read.
const MOST: usize = 4096;

/// Reads one event of a stream. Nothing in it says that it is the last.
pub(super) fn event(answer: &mut Reading, data: &[u8]) {
    // Clients of other vendors' habits are sent it, and by proxies.
    if data.trim_ascii() == b"[DONE]" {
        answer.finished = true;
    } else {
        chunk(answer, unwrapped(data));
    }
}

/// Reads a buffered answer: one object, or the array of chunks that a stream is without `alt=sse`.
pub(super) fn body(answer: &mut Reading, body: &[u8]) {
    let chunks = if body.trim_ascii_start().starts_with(b"[") { loose::elements(body, MOST) } else { vec![body] };
    if chunks.is_empty() {
        answer.unsound();
    }
    for part in chunks {
        chunk(answer, part);
    }
    answer.finished = answer.error.is_none() && loose::is_whole(body);
}

fn chunk(answer: &mut Reading, data: &[u8]) {
    let [id, model, candidates, usage_value, feedback, error] =
        answer.pick(data, ["responseId", "modelVersion", "candidates", "usageMetadata", "promptFeedback", "error"]);
    if let Some(error) = error.filter(|error| is_error(error)) {
        answer.error(error);
    }
    answer.identity(id, model);
    usage(answer, usage_value);
    let [blocked] = feedback.map_or([None], |feedback| answer.pick(feedback, ["blockReason"]));
    let blocked = answer.stop(blocked, stop_reason);
    let Some(candidates) = candidates.filter(|value| *value != b"null") else {
        // A prompt that is refused has no candidates, and a chunk may be about usage only.
        if answer.error.is_none() && !blocked && usage_value.is_none() {
            answer.unsound();
        }
        return;
    };
    for (position, candidate) in loose::elements(candidates, MOST).into_iter().enumerate() {
        let [index, content, reason, grounding, pages] =
            answer.pick(candidate, ["index", "content", "finishReason", "groundingMetadata", "urlContextMetadata"]);
        answer.provider_acted |= [grounding, pages].into_iter().flatten().any(|said| said.starts_with(b"{"));
        let stopped = answer.stop(reason.filter(|word| *word != UNSPECIFIED), stop_reason);
        let index = index.and_then(loose::count).unwrap_or(position as u64);
        let content = content.filter(|content| content.starts_with(b"{"));
        let [parts] = content.map_or([None], |content| answer.pick(content, ["parts"]));
        let parts = parts.map(|parts| loose::elements(parts, MOST)).unwrap_or_default();
        answer.choice(index, !parts.is_empty(), stopped);
        for said in parts {
            part(answer, index, said);
        }
        if let Some(grounding) = grounding.filter(|grounding| grounding.starts_with(b"{")) {
            let [queries] = answer.pick(grounding, ["webSearchQueries"]);
            let queries = queries.map(|queries| loose::elements(queries, MOST).len() as u64);
            raise(&mut answer.usage.web_searches, queries);
        }
    }
    // The format has one word for both.
    if answer.stop_reason == Some(StopReason::EndTurn) && answer.calls_tools() {
        answer.stop_reason = Some(StopReason::ToolUse);
    }
}

/// What a reason is that none was set for, as it stands.
const UNSPECIFIED: &[u8] = b"\"FINISH_REASON_UNSPECIFIED\"";

fn part(answer: &mut Reading, candidate: u64, part: &[u8]) {
    let [text, thought, call, inline, code, result] =
        answer.pick(part, ["text", "thought", "functionCall", "inlineData", "executableCode", "codeExecutionResult"]);
    answer.provider_acted |= [code, result].into_iter().flatten().any(|said| said.starts_with(b"{"));
    image(answer, thought, inline);
    if thought == Some(b"true") {
        answer.thinking(text);
    } else {
        answer.text(text);
    }
    let Some(call) = call.filter(|call| call.starts_with(b"{")) else { return };
    let [id, name, input] = answer.pick(call, ["id", "name", "args"]);
    // Calls come whole, and have no index.
    let index = answer.next_tool_call(candidate);
    if let Some(known) = answer.tool_call(index) {
        known.id = id.and_then(loose::text).map(|id| bounded(&id)).unwrap_or_default();
        known.name = name.and_then(loose::text).map(|name| bounded(&name)).unwrap_or_default();
    }
    answer.tool_input(index, &input.map_or("{}".into(), String::from_utf8_lossy));
}

/// Counts a part that is an image. A draft among the thoughts is none.
pub(super) fn image(answer: &mut Reading, thought: Option<&[u8]>, inline: Option<&[u8]>) {
    let Some(inline) = inline.filter(|_| thought != Some(b"true")) else { return };
    let [kind] = answer.pick(inline, ["mimeType"]);
    if kind.and_then(loose::text).is_some_and(|kind| kind.starts_with("image/")) {
        answer.usage.images = Some(answer.usage.images.unwrap_or(0).saturating_add(1));
    }
}

/// What a provider's word for the end of an answer, or for the refusal of a prompt, means.
pub(super) fn stop_reason(word: &str) -> StopReason {
    match word {
        "STOP" => StopReason::EndTurn,
        "MAX_TOKENS" => StopReason::MaxTokens,
        other => StopReason::other(other),
    }
}

/// The words there are for an end that is neither of the model's own choice nor the limit's.
const WORDS: [&str; 20] = [
    "SAFETY",
    "RECITATION",
    "LANGUAGE",
    "OTHER",
    "BLOCKLIST",
    "PROHIBITED_CONTENT",
    "SPII",
    "MALFORMED_FUNCTION_CALL",
    "IMAGE_SAFETY",
    "IMAGE_PROHIBITED_CONTENT",
    "IMAGE_OTHER",
    "NO_IMAGE",
    "IMAGE_RECITATION",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
    "ESCALATION",
    "CONTINUATION",
    "MODEL_ARMOR",
];

/// The word for it. What this format cannot say is never turned into a normal end.
pub(crate) fn stop_word(reason: &StopReason) -> &str {
    match reason {
        StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse => "STOP",
        StopReason::MaxTokens => "MAX_TOKENS",
        StopReason::Other(reason) => match reason.as_str() {
            "refusal" | "content_filter" => "SAFETY",
            "model_context_window_exceeded" => "MAX_TOKENS",
            known if WORDS.contains(&known) => known,
            _ => "OTHER",
        },
    }
}
