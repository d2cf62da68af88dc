//! How the demo model speaks this format.

use serde_json::{Value, json};
use systemprompt_model::json;

use super::answer::stop_word;
use super::stream::{Events, Item};
use crate::demo::answer::{DemoAnswer, OfferedTool};
use crate::demo::stream::{DemoEvent, Stream, input_tokens, tokens};

/// What an element of `tools` offers. Only functions have a schema and are the caller's to run.
pub(super) fn offered_tool(tool: &[u8]) -> Option<OfferedTool<'_>> {
    let [kind, name, schema] = json::pick(tool, ["type", "name", "parameters"]).ok()?;
    if json::text(kind?)? != "function" {
        return None;
    }
    Some(OfferedTool { name: json::text(name?)?, schema: schema.unwrap_or(b"{}") })
}

/// The body of a buffered answer.
pub(super) fn body(answer: &DemoAnswer, id: &str, created: i64) -> Vec<u8> {
    ended(answer, id, created).to_string().into_bytes()
}

/// The events of a streamed answer.
pub(super) fn events(answer: &DemoAnswer, id: &str, created: i64) -> Vec<DemoEvent> {
    let mut stream = Stream::default();
    let mut events = Events::default();
    events.begin(&envelope(answer, id, created));
    stream.push(events.take());
    let mut index = 0;
    if !answer.text.is_empty() {
        let message_id = message_id(id);
        let item = Item { index, id: &message_id };
        events.item_added(index, &message(id, "in_progress", &[]));
        events.part_added(item, 0, &text_part(""));
        stream.push(events.take());
        for token in tokens(&answer.text) {
            events.of_part("response.output_text.delta", item, 0, json!({ "delta": token, "logprobs": [] }));
            stream.push_token(events.take());
        }
        let part = text_part(&answer.text);
        events.of_part("response.output_text.done", item, 0, json!({ "text": answer.text, "logprobs": [] }));
        events.part_done(item, 0, &part);
        events.item_done(index, &message(id, "completed", &[part]));
        stream.push(events.take());
        index += 1;
    }
    if let Some(call) = &answer.tool_call {
        let call_id = call_id(id);
        let item = Item { index, id: &call_id };
        let input = call.input.to_string();
        events.item_added(index, &function_call(id, &call.name, "", "in_progress"));
        stream.push_token(events.take());
        for token in input_tokens(&input) {
            events.of_item("response.function_call_arguments.delta", item, json!({ "delta": token }));
            stream.push_token(events.take());
        }
        events.of_item("response.function_call_arguments.done", item, json!({ "arguments": input }));
        events.item_done(index, &function_call(id, &call.name, &input, "completed"));
        stream.push(events.take());
    }
    let ended = ended(answer, id, created);
    events.end(ended["status"].as_str().unwrap_or_default(), &ended);
    stream.push(events.take());
    stream.events
}

/// The response before anything was said.
fn envelope(answer: &DemoAnswer, id: &str, created: i64) -> Value {
    json!({
        "id": format!("resp_demo_{id}"),
        "object": "response",
        "created_at": created,
        "status": "in_progress",
        "error": null,
        "incomplete_details": null,
        "instructions": null,
        "metadata": {},
        "model": answer.model,
        "output": [],
        "parallel_tool_calls": true,
        "store": false,
        "tool_choice": "auto",
        "tools": [],
        "usage": null,
    })
}

/// The whole response.
fn ended(answer: &DemoAnswer, id: &str, created: i64) -> Value {
    let mut output = Vec::new();
    if !answer.text.is_empty() {
        output.push(message(id, "completed", &[text_part(&answer.text)]));
    }
    if let Some(call) = &answer.tool_call {
        output.push(function_call(id, &call.name, &call.input.to_string(), "completed"));
    }
    let mut response = envelope(answer, id, created);
    match stop_word(&answer.stop_reason) {
        "completed" => response["status"] = "completed".into(),
        reason => {
            response["status"] = "incomplete".into();
            response["incomplete_details"] = json!({ "reason": reason });
        }
    }
    response["output"] = output.into();
    response["usage"] = json!({
        "input_tokens": answer.usage.prompt_tokens(),
        "input_tokens_details": { "cached_tokens": 0, "cache_write_tokens": 0 },
        "output_tokens": answer.usage.output_tokens,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": answer.usage.total(),
    });
    response
}

fn message(id: &str, status: &str, content: &[Value]) -> Value {
    json!({ "id": message_id(id), "type": "message", "status": status, "role": "assistant", "content": content })
}

fn text_part(text: &str) -> Value {
    json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
}

fn function_call(id: &str, name: &str, arguments: &str, status: &str) -> Value {
    json!({
        "id": call_id(id),
        "type": "function_call",
        "status": status,
        "call_id": format!("call_demo_{id}"),
        "name": name,
        "arguments": arguments,
    })
}

fn message_id(id: &str) -> String {
    format!("msg_demo_{id}")
}

fn call_id(id: &str) -> String {
    format!("fc_demo_{id}")
}
