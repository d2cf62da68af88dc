//! How the demo model speaks this format.

use serde_json::{Value, json};
use systemprompt_model::json;

use super::answer::stop_word;
use super::events::event;
use crate::demo::answer::{DemoAnswer, DemoToolCall, OfferedTool};
use crate::demo::stream::{DemoEvent, Stream, tokens};

/// What an element of `functionDeclarations` offers.
pub(super) fn offered_tool(tool: &[u8]) -> Option<OfferedTool<'_>> {
    let [name, schema, json_schema, in_snake] =
        json::pick(tool, ["name", "parameters", "parametersJsonSchema", "parameters_json_schema"]).ok()?;
    let schema = json_schema.or(in_snake).or(schema).unwrap_or(b"{}");
    Some(OfferedTool { name: json::text(name?)?, schema })
}

/// The body of a buffered answer.
pub(super) fn body(answer: &DemoAnswer, id: &str, created: i64) -> Vec<u8> {
    let mut parts = Vec::new();
    if !answer.text.is_empty() {
        parts.push(json!({ "text": answer.text }));
    }
    parts.extend(answer.tool_call.as_ref().map(|call| function_call(call, id)));
    chunk(answer, id, created, parts, true).to_string().into_bytes()
}

/// The events of a streamed answer.
pub(super) fn events(answer: &DemoAnswer, id: &str, created: i64) -> Vec<DemoEvent> {
    let mut stream = Stream::default();
    for token in tokens(&answer.text) {
        stream.push_token(event(&chunk(answer, id, created, vec![json!({ "text": token })], false)));
    }
    if let Some(call) = &answer.tool_call {
        stream.push_token(event(&chunk(answer, id, created, vec![function_call(call, id)], false)));
    }
    stream.push(event(&chunk(answer, id, created, vec![json!({ "text": "" })], true)));
    stream.events
}

fn chunk(answer: &DemoAnswer, id: &str, created: i64, parts: Vec<Value>, last: bool) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if last {
        candidate["finishReason"] = stop_word(&answer.stop_reason).into();
    }
    let output_tokens = if last { answer.usage.output_tokens.unwrap_or(0) } else { 0 };
    json!({
        "candidates": [candidate],
        "usageMetadata": {
            "promptTokenCount": answer.usage.prompt_tokens(),
            "candidatesTokenCount": output_tokens,
            "totalTokenCount": answer.usage.prompt_tokens() + output_tokens,
        },
        "modelVersion": answer.model,
        "responseId": format!("demo-{id}-{created}"),
    })
}

fn function_call(call: &DemoToolCall, id: &str) -> Value {
    json!({ "functionCall": { "id": format!("call_demo_{id}"), "name": call.name, "args": call.input } })
}
