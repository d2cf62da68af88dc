//! How the demo model speaks this format.

use serde_json::{Value, json};
use systemprompt_model::json;

use super::answer::stop_word;
use crate::demo::answer::{DemoAnswer, OfferedTool};
use crate::demo::stream::{DemoEvent, Stream, input_tokens, tokens};

/// What an element of `tools` offers. Tools of the provider's own, such as web search, have no schema and are not the
/// caller's to run.
pub(super) fn offered_tool(tool: &[u8]) -> Option<OfferedTool<'_>> {
    let [name, schema] = json::pick(tool, ["name", "input_schema"]).ok()?;
    Some(OfferedTool { name: json::text(name?)?, schema: schema? })
}

/// The body of a buffered answer.
pub(super) fn body(answer: &DemoAnswer, id: &str, _: i64) -> Vec<u8> {
    let mut content = Vec::new();
    if !answer.text.is_empty() {
        content.push(json!({ "type": "text", "text": answer.text }));
    }
    if let Some(call) = &answer.tool_call {
        content.push(json!({ "type": "tool_use", "id": tool_id(id), "name": call.name, "input": call.input }));
    }
    let mut message = skeleton(answer, id);
    message["content"] = content.into();
    message["stop_reason"] = stop_word(&answer.stop_reason).into();
    message["stop_sequence"] = answer.stop_sequence.clone().into();
    message["usage"]["output_tokens"] = answer.usage.output_tokens.into();
    message.to_string().into_bytes()
}

/// The events of a streamed answer.
pub(super) fn events(answer: &DemoAnswer, id: &str, _: i64) -> Vec<DemoEvent> {
    let mut stream = Stream::default();
    stream.push(event("message_start", json!({ "message": skeleton(answer, id) })));
    let mut index = 0;
    if !answer.text.is_empty() {
        let block = json!({ "type": "text", "text": "" });
        stream.push(event("content_block_start", json!({ "index": index, "content_block": block })));
        for token in tokens(&answer.text) {
            let delta = json!({ "type": "text_delta", "text": token });
            stream.push_token(event("content_block_delta", json!({ "index": index, "delta": delta })));
        }
        stream.push(event("content_block_stop", json!({ "index": index })));
        index += 1;
    }
    if let Some(call) = &answer.tool_call {
        let block = json!({ "type": "tool_use", "id": tool_id(id), "name": call.name, "input": {} });
        stream.push(event("content_block_start", json!({ "index": index, "content_block": block })));
        for token in input_tokens(&call.input.to_string()) {
            let delta = json!({ "type": "input_json_delta", "partial_json": token });
            stream.push_token(event("content_block_delta", json!({ "index": index, "delta": delta })));
        }
        stream.push(event("content_block_stop", json!({ "index": index })));
    }
    let delta = json!({
        "stop_reason": stop_word(&answer.stop_reason),
        "stop_sequence": answer.stop_sequence,
    });
    let usage = json!({ "output_tokens": answer.usage.output_tokens });
    stream.push(event("message_delta", json!({ "delta": delta, "usage": usage })));
    stream.push(event("message_stop", json!({})));
    stream.events
}

/// The message before anything was said.
fn skeleton(answer: &DemoAnswer, id: &str) -> Value {
    json!({
        "id": format!("msg_demo_{id}"),
        "type": "message",
        "role": "assistant",
        "model": answer.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
        "usage": {
            "input_tokens": answer.usage.input_tokens,
            "cache_creation_input_tokens": answer.usage.cache_creation_tokens,
            "cache_read_input_tokens": answer.usage.cache_read_tokens,
            "output_tokens": 0,
        },
    })
}

fn tool_id(id: &str) -> String {
    format!("toolu_demo_{id}")
}

fn event(name: &str, mut data: Value) -> Vec<u8> {
    data["type"] = name.into();
    format!("event: {name}\ndata: {data}\n\n").into_bytes()
}
