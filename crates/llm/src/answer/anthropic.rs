use super::{Answer, raise};
use crate::Format;
use systemprompt_model::json::{self, SyntaxError};

/// Reads one event of a stream.
pub(super) fn event(answer: &mut Answer, data: &[u8]) -> Result<(), SyntaxError> {
    let [kind, index, delta, message, block, usage_value, error] =
        json::pick(data, ["type", "index", "delta", "message", "content_block", "usage", "error"])?;
    let index = index.and_then(json::unsigned).unwrap_or(0);
    match kind.and_then(json::text).as_deref() {
        Some("message_start") => {
            let Some(message) = message else { return Ok(()) };
            let [id, model, usage_value] = json::pick(message, ["id", "model", "usage"])?;
            answer.identity(id, model);
            usage(answer, usage_value);
        }
        Some("content_block_start") => block.map_or(Ok(()), |block| content_block(answer, index, block, true))?,
        Some("content_block_delta") => {
            let Some(delta) = delta else { return Ok(()) };
            let [kind, text, input] = json::pick(delta, ["type", "text", "partial_json"])?;
            match kind.and_then(json::text).as_deref() {
                Some("text_delta") => answer.text(text),
                Some("input_json_delta") => {
                    if let Some(part) = input.and_then(json::text) {
                        answer.tool_input(index, &part);
                    }
                }
                _ => {}
            }
        }
        Some("message_delta") => {
            let [stop_reason] = delta.map_or(Ok([None]), |delta| json::pick(delta, ["stop_reason"]))?;
            answer.stop_word(Format::AnthropicMessages, stop_reason);
            usage(answer, usage_value);
        }
        Some("message_stop") => answer.finished = true,
        Some("error") => answer.error(error.unwrap_or(b"{}")),
        // `ping`, `content_block_stop`, and events that were added since.
        _ => {}
    }
    Ok(())
}

/// Reads a buffered answer.
pub(super) fn body(answer: &mut Answer, body: &[u8]) -> Result<(), SyntaxError> {
    let [kind, id, model, content, stop_reason, usage_value, error, request_id] =
        json::pick(body, ["type", "id", "model", "content", "stop_reason", "usage", "error", "request_id"])?;
    if let Some(error) = error.filter(|error| *error != b"null") {
        answer.identity(request_id, None);
        answer.error(error);
        return Ok(());
    }
    answer.identity(id, model);
    answer.stop_word(Format::AnthropicMessages, stop_reason);
    usage(answer, usage_value);
    for (index, block) in content.map(|content| json::elements(content, 4096)).into_iter().flatten().enumerate() {
        content_block(answer, index as u64, block, false)?;
    }
    answer.finished = kind.and_then(json::text).is_some_and(|kind| kind == "message");
    Ok(())
}

pub(super) fn usage(answer: &mut Answer, usage: Option<&[u8]>) {
    let names = ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
    if let Some(Ok([input, output, cache_read, cache_creation])) = usage.map(|usage| json::pick(usage, names)) {
        raise(&mut answer.usage.input_tokens, input);
        raise(&mut answer.usage.output_tokens, output);
        raise(&mut answer.usage.cache_read_tokens, cache_read);
        raise(&mut answer.usage.cache_creation_tokens, cache_creation);
    }
}

fn content_block(answer: &mut Answer, index: u64, block: &[u8], streamed: bool) -> Result<(), SyntaxError> {
    let [kind, text, id, name, input] = json::pick(block, ["type", "text", "id", "name", "input"])?;
    match kind.and_then(json::text).as_deref() {
        Some("text") => answer.text(text),
        // Also `server_tool_use` and `mcp_tool_use`: the ledger wants to know, whoever runs the tool.
        Some(kind) if kind.ends_with("tool_use") => {
            if let Some(call) = answer.tool_call(index) {
                call.id = id.and_then(json::text).map(|id| super::bounded(&id)).unwrap_or_default();
                call.name = name.and_then(json::text).map(|name| super::bounded(&name)).unwrap_or_default();
            }
            // In a stream the block starts with an empty object and the input follows in deltas.
            if let Some(input) = input.filter(|_| !streamed) {
                answer.tool_input(index, &String::from_utf8_lossy(input));
            }
        }
        _ => {}
    }
    Ok(())
}
