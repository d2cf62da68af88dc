//! Bedrock Converse.

use serde_json::{Value, json};

use super::event::Event;
use crate::said::{SIGNATURE, Said, Stop};

fn stop(said: &Said<'_>) -> &'static str {
    match said.stop {
        Stop::End => "end_turn",
        Stop::Tools => "tool_use",
        Stop::Length => "max_tokens",
        Stop::Refusal => "content_filtered",
        Stop::Sequence(_) => "stop_sequence",
    }
}

fn usage(said: &Said<'_>) -> Value {
    let Some(used) = said.usage else { return Value::Null };
    let total = used.input_tokens + used.output_tokens + used.cache_read_tokens + used.cache_creation_tokens;
    json!({
        "inputTokens": used.input_tokens,
        "outputTokens": used.output_tokens,
        "totalTokens": total,
        "cacheReadInputTokens": used.cache_read_tokens,
        "cacheWriteInputTokens": used.cache_creation_tokens,
    })
}

pub(super) fn whole(said: &Said<'_>) -> Value {
    let mut content = Vec::new();
    if let Some(thinking) = said.thinking {
        let reasoning = json!({ "text": thinking, "signature": SIGNATURE });
        content.push(json!({ "reasoningContent": { "reasoningText": reasoning } }));
    }
    content.push(json!({ "text": said.text() }));
    content.extend(said.calls.iter().map(|call| {
        json!({ "toolUse": { "toolUseId": format!("tooluse_{}", call.id), "name": call.name, "input": call.input } })
    }));
    json!({
        "output": { "message": { "role": "assistant", "content": content } },
        "stopReason": stop(said),
        "usage": usage(said),
        "metrics": { "latencyMs": 1 },
    })
}

pub(super) fn events(said: &Said<'_>) -> Vec<Vec<Event>> {
    let delta = |index: usize, delta: Value| {
        Event::new("contentBlockDelta", &json!({ "contentBlockIndex": index, "delta": delta }))
    };
    let end = |index: usize| Event::new("contentBlockStop", &json!({ "contentBlockIndex": index }));
    let mut opening = vec![Event::new("messageStart", &json!({ "role": "assistant" }))];
    let text = usize::from(said.thinking.is_some());
    if let Some(thinking) = said.thinking {
        opening.push(delta(0, json!({ "reasoningContent": { "text": thinking } })));
        opening.push(delta(0, json!({ "reasoningContent": { "signature": SIGNATURE } })));
        opening.push(end(0));
    }
    let mut frames = vec![opening];
    frames.extend(said.parts.iter().map(|part| vec![delta(text, json!({ "text": part }))]));
    let mut closing = vec![end(text)];
    for (index, call) in (text + 1..).zip(&said.calls) {
        let start = json!({ "toolUse": { "toolUseId": format!("tooluse_{}", call.id), "name": call.name } });
        closing.push(Event::new("contentBlockStart", &json!({ "contentBlockIndex": index, "start": start })));
        closing.extend(call.arguments().map(|part| delta(index, json!({ "toolUse": { "input": part } }))));
        closing.push(end(index));
    }
    if said.terminal {
        closing.push(Event::new("messageStop", &json!({ "stopReason": stop(said) })));
        closing.push(Event::new("metadata", &json!({ "usage": usage(said), "metrics": { "latencyMs": 1 } })));
    }
    frames.push(closing);
    frames
}
