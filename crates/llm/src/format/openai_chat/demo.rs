//! How the demo model speaks this format.

use serde_json::{Value, json};
use systemprompt_model::json;

use super::answer::stop_word;
use crate::demo::answer::{DemoAnswer, OfferedTool};
use crate::demo::stream::{DemoEvent, Stream, input_tokens, tokens};

/// What an element of `tools` offers.
pub(super) fn offered_tool(tool: &[u8]) -> Option<OfferedTool<'_>> {
    let [function] = json::pick(tool, ["function"]).ok()?;
    let [name, schema] = json::pick(function?, ["name", "parameters"]).ok()?;
    Some(OfferedTool { name: json::text(name?)?, schema: schema.unwrap_or(b"{}") })
}

/// The body of a buffered answer.
pub(super) fn body(answer: &DemoAnswer, id: &str, created: i64) -> Vec<u8> {
    let content = if answer.text.is_empty() { Value::Null } else { answer.text.clone().into() };
    let mut message = json!({ "role": "assistant", "content": content, "refusal": null });
    if let Some(call) = &answer.tool_call {
        message["tool_calls"] = json!([{
            "id": tool_id(id),
            "type": "function",
            "function": { "name": call.name, "arguments": call.input.to_string() },
        }]);
    }
    let finish_reason = stop_word(&answer.stop_reason);
    let mut completion = envelope(answer, id, created, "chat.completion");
    completion["choices"] =
        json!([{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason }]);
    completion["usage"] = usage(answer);
    completion.to_string().into_bytes()
}

/// The events of a streamed answer.
pub(super) fn events(answer: &DemoAnswer, id: &str, created: i64) -> Vec<DemoEvent> {
    let chunk = |delta: Value, finish_reason: Option<&str>| {
        let mut chunk = envelope(answer, id, created, "chat.completion.chunk");
        chunk["choices"] = json!([{ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason }]);
        if answer.usage_chunk {
            chunk["usage"] = Value::Null;
        } else if finish_reason.is_some() {
            chunk["usage"] = usage(answer);
        }
        event(&chunk)
    };
    let mut stream = Stream::default();
    stream.push(chunk(json!({ "role": "assistant", "content": "", "refusal": null }), None));
    for token in tokens(&answer.text) {
        stream.push_token(chunk(json!({ "content": token }), None));
    }
    if let Some(call) = &answer.tool_call {
        let start = json!([{
            "index": 0,
            "id": tool_id(id),
            "type": "function",
            "function": { "name": call.name, "arguments": "" },
        }]);
        stream.push_token(chunk(json!({ "tool_calls": start }), None));
        for token in input_tokens(&call.input.to_string()) {
            let part = json!([{ "index": 0, "function": { "arguments": token } }]);
            stream.push_token(chunk(json!({ "tool_calls": part }), None));
        }
    }
    stream.push(chunk(json!({}), Some(stop_word(&answer.stop_reason))));
    if answer.usage_chunk {
        let mut last = envelope(answer, id, created, "chat.completion.chunk");
        last["choices"] = json!([]);
        last["usage"] = usage(answer);
        stream.push(event(&last));
    }
    stream.push(b"data: [DONE]\n\n".to_vec());
    stream.events
}

fn envelope(answer: &DemoAnswer, id: &str, created: i64, object: &str) -> Value {
    json!({
        "id": format!("chatcmpl-demo-{id}"),
        "object": object,
        "created": created,
        "model": answer.model,
        "system_fingerprint": "systemprompt-demo",
    })
}

fn usage(answer: &DemoAnswer) -> Value {
    json!({
        "prompt_tokens": answer.usage.prompt_tokens(),
        "completion_tokens": answer.usage.output_tokens,
        "total_tokens": answer.usage.total(),
        "prompt_tokens_details": { "cached_tokens": 0 },
    })
}

fn tool_id(id: &str) -> String {
    format!("call_demo_{id}")
}

fn event(chunk: &Value) -> Vec<u8> {
    format!("data: {chunk}\n\n").into_bytes()
}
