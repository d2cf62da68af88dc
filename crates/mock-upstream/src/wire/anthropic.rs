//! Anthropic Messages.

use serde_json::{Value, json};

use super::event::Event;
use crate::behaviour::MockUsage;
use crate::said::{Call, SIGNATURE, Said, Stop};

fn usage(usage: MockUsage, output_tokens: u64) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": output_tokens,
    })
}

fn stop(said: &Said<'_>) -> (&'static str, Value) {
    match said.stop {
        Stop::End => ("end_turn", Value::Null),
        Stop::Tools => ("tool_use", Value::Null),
        Stop::Length => ("max_tokens", Value::Null),
        Stop::Refusal => ("refusal", Value::Null),
        Stop::Sequence(text) => ("stop_sequence", text.into()),
    }
}

fn message(said: &Said<'_>, content: Value, reason: Value, sequence: Value) -> Value {
    json!({
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": said.model,
        "content": content,
        "stop_reason": reason,
        "stop_sequence": sequence,
    })
}

fn tool(call: &Call<'_>, input: &Value) -> Value {
    json!({ "type": "tool_use", "id": format!("toolu_{}", call.id), "name": call.name, "input": input })
}

pub(super) fn whole(said: &Said<'_>) -> Value {
    let mut content = Vec::new();
    if let Some(thinking) = said.thinking {
        content.push(json!({ "type": "thinking", "thinking": thinking, "signature": SIGNATURE }));
    }
    let mut text = json!({ "type": "text", "text": said.text() });
    if let Some(search) = said.search {
        content.extend(search.queries.iter().enumerate().flat_map(|(at, query)| {
            let id = format!("srvtoolu_{at}");
            let found = search.sources.iter().map(|(url, title)| {
                json!({ "type": "web_search_result", "url": url, "title": title, "encrypted_content": SIGNATURE })
            });
            [
                json!({ "type": "server_tool_use", "id": id, "name": "web_search", "input": { "query": query } }),
                json!({ "type": "web_search_tool_result", "tool_use_id": id, "content": found.collect::<Vec<_>>() }),
            ]
        }));
        let cited = search.sources.iter().map(|(url, title)| {
            json!({ "type": "web_search_result_location", "url": url, "title": title, "cited_text": "as it says there" })
        });
        text["citations"] = cited.collect();
    }
    content.push(text);
    content.extend(said.calls.iter().map(|call| tool(call, call.input)));
    let (reason, sequence) = stop(said);
    let mut message = message(said, content.into(), reason.into(), sequence);
    if let Some(used) = said.usage {
        message["usage"] = usage(used, used.output_tokens);
        if let Some(search) = said.search {
            message["usage"]["server_tool_use"] = json!({ "web_search_requests": search.queries.len() });
        }
    }
    message
}

pub(super) fn events(said: &Said<'_>) -> Vec<Vec<Event>> {
    let start = |index: usize, block: Value| {
        Event::typed("content_block_start", json!({ "index": index, "content_block": block }))
    };
    let delta =
        |index: usize, delta: Value| Event::typed("content_block_delta", json!({ "index": index, "delta": delta }));
    let end = |index: usize| Event::typed("content_block_stop", json!({ "index": index }));
    let mut message = message(said, json!([]), Value::Null, Value::Null);
    if let Some(used) = said.usage {
        message["usage"] = usage(used, 1);
    }
    let mut opening = vec![Event::typed("message_start", json!({ "message": message }))];
    let text = usize::from(said.thinking.is_some());
    if let Some(thinking) = said.thinking {
        opening.push(start(0, json!({ "type": "thinking", "thinking": "", "signature": "" })));
        opening.push(delta(0, json!({ "type": "thinking_delta", "thinking": thinking })));
        opening.push(delta(0, json!({ "type": "signature_delta", "signature": SIGNATURE })));
        opening.push(end(0));
    }
    opening.push(start(text, json!({ "type": "text", "text": "" })));
    let mut frames = vec![opening];
    frames.extend(said.parts.iter().map(|part| vec![delta(text, json!({ "type": "text_delta", "text": part }))]));
    let mut closing = vec![end(text)];
    for (index, call) in (text + 1..).zip(&said.calls) {
        closing.push(start(index, tool(call, &json!({}))));
        for part in call.arguments() {
            closing.push(delta(index, json!({ "type": "input_json_delta", "partial_json": part })));
        }
        closing.push(end(index));
    }
    let (reason, sequence) = stop(said);
    let mut last = json!({ "delta": { "stop_reason": reason, "stop_sequence": sequence } });
    if let Some(used) = said.usage {
        last["usage"] = json!({ "output_tokens": used.output_tokens });
    }
    closing.push(Event::typed("message_delta", last));
    if said.terminal {
        closing.push(Event::typed("message_stop", json!({})));
    }
    frames.push(closing);
    frames
}
