use super::{Answer, raise};
use crate::Format;
use systemprompt_model::json::{self, SyntaxError};

/// The prompt's length as OpenAI counts it, cached tokens included.
#[derive(Debug, Default)]
pub(super) struct PromptTokens(Option<u64>);

/// Reads one event of a stream.
pub(super) fn event(answer: &mut Answer, data: &[u8]) -> Result<(), SyntaxError> {
    if data.trim_ascii() == b"[DONE]" {
        answer.finished = true;
        return Ok(());
    }
    chunk(answer, data, "delta")
}

/// Reads a buffered answer.
pub(super) fn body(answer: &mut Answer, body: &[u8]) -> Result<(), SyntaxError> {
    chunk(answer, body, "message")?;
    answer.finished = answer.error.is_none() && answer.stop_reason.is_some();
    Ok(())
}

/// `prompt_tokens` contains the cached tokens; ours are kinds that do not overlap.
pub(super) fn usage(answer: &mut Answer, usage: Option<&[u8]>) {
    let names = ["prompt_tokens", "completion_tokens", "prompt_tokens_details"];
    let Some(Ok([prompt, completion, details])) = usage.map(|usage| json::pick(usage, names)) else { return };
    raise(&mut answer.openai_prompt.0, prompt);
    raise(&mut answer.usage.output_tokens, completion);
    if let Some(Ok([read, written])) =
        details.map(|details| json::pick(details, ["cached_tokens", "cache_write_tokens"]))
    {
        raise(&mut answer.usage.cache_read_tokens, read);
        raise(&mut answer.usage.cache_creation_tokens, written);
    }
    let cached =
        answer.usage.cache_read_tokens.unwrap_or(0).saturating_add(answer.usage.cache_creation_tokens.unwrap_or(0));
    answer.usage.input_tokens = answer.openai_prompt.0.map(|prompt| prompt.saturating_sub(cached));
}

/// A chunk and a whole completion differ only in where a choice keeps its message.
fn chunk(answer: &mut Answer, data: &[u8], message_field: &str) -> Result<(), SyntaxError> {
    let [id, model, choices, usage_value, error] = json::pick(data, ["id", "model", "choices", "usage", "error"])?;
    if let Some(error) = error.filter(|error| *error != b"null") {
        answer.error(error);
        return Ok(());
    }
    answer.identity(id, model);
    usage(answer, usage_value);
    for choice in choices.map(|choices| json::elements(choices, 16)).into_iter().flatten() {
        let [message, finish_reason] = json::pick(choice, [message_field, "finish_reason"])?;
        answer.stop_word(Format::OpenAiChat, finish_reason);
        let Some(message) = message.filter(|message| message.starts_with(b"{")) else { continue };
        let [content, refusal, tool_calls] = json::pick(message, ["content", "refusal", "tool_calls"])?;
        answer.text(content);
        answer.text(refusal);
        let calls = tool_calls.map(|calls| json::elements(calls, 1024));
        for (position, call) in calls.into_iter().flatten().enumerate() {
            tool_call(answer, position as u64, call)?;
        }
    }
    Ok(())
}

fn tool_call(answer: &mut Answer, position: u64, call: &[u8]) -> Result<(), SyntaxError> {
    let [index, id, function] = json::pick(call, ["index", "id", "function"])?;
    let index = index.and_then(json::unsigned).unwrap_or(position);
    let [name, arguments] = function.map_or(Ok([None; 2]), |function| json::pick(function, ["name", "arguments"]))?;
    let Some(known) = answer.tool_call(index) else { return Ok(()) };
    for (field, value) in [(&mut known.id, id), (&mut known.name, name)] {
        if let Some(value) = value.and_then(json::text).filter(|_| field.is_empty()) {
            *field = super::bounded(&value);
        }
    }
    if let Some(arguments) = arguments.and_then(json::text) {
        answer.tool_input(index, &arguments);
    }
    Ok(())
}
