//! How the demo model speaks this format.

use serde_json::{Value, json};
use systemprompt_model::json;

use super::answer::stop_word;
use super::events;
use crate::demo::answer::{DemoAnswer, OfferedTool};
use crate::demo::stream::{DemoEvent, Stream};

/// What an element of `tools` offers.
pub(super) fn offered_tool(tool: &[u8]) -> Option<OfferedTool<'_>> {
    let [spec] = json::pick(tool, ["toolSpec"]).ok()?;
    let [name, schema] = json::pick(spec?, ["name", "inputSchema"]).ok()?;
    let [schema] = schema.map_or(Ok([None]), |schema| json::pick(schema, ["json"])).ok()?;
    Some(OfferedTool { name: json::text(name?)?, schema: schema.unwrap_or(b"{}") })
}

/// The body of a buffered answer.
pub(super) fn body(answer: &DemoAnswer, id: &str, _: i64) -> Vec<u8> {
    whole(answer, id).to_string().into_bytes()
}

/// The events of a streamed answer: all at once, because nobody waits for them.
pub(super) fn events(answer: &DemoAnswer, id: &str, _: i64) -> Vec<DemoEvent> {
    let mut stream = Stream::default();
    stream.push(events::events(&whole(answer, id), true).unwrap_or_default());
    stream.events
}

fn whole(answer: &DemoAnswer, id: &str) -> Value {
    let mut content = Vec::new();
    if !answer.text.is_empty() {
        content.push(json!({ "text": answer.text }));
    }
    if let Some(call) = &answer.tool_call {
        let id = format!("tooluse_demo_{id}");
        content.push(json!({ "toolUse": { "toolUseId": id, "name": call.name, "input": call.input } }));
    }
    json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": stop_word(&answer.stop_reason),
        "usage": {
            "inputTokens": answer.usage.input_tokens,
            "outputTokens": answer.usage.output_tokens,
            "totalTokens": answer.usage.total(),
        },
    })
}
