//! OpenAI Chat Completions.

use serde_json::{Value, json};

use super::event::Event;
use crate::behaviour::MockUsage;
use crate::said::{Said, Stop};

fn usage(usage: MockUsage) -> Value {
    let prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt + usage.output_tokens,
        "prompt_tokens_details": { "cached_tokens": usage.cache_read_tokens },
    })
}

fn stop(said: &Said<'_>) -> &'static str {
    match said.stop {
        Stop::Tools => "tool_calls",
        Stop::Length => "length",
        Stop::End | Stop::Refusal | Stop::Sequence(_) => "stop",
    }
}

fn envelope(said: &Said<'_>, object: &str, choices: Value) -> Value {
    let mut envelope = json!({
        "id": "chatcmpl-mock",
        "object": object,
        "created": 1_800_000_000,
        "model": said.model,
        "system_fingerprint": "fp_mock",
    });
    envelope["choices"] = choices;
    envelope
}

pub(super) fn whole(said: &Said<'_>) -> Value {
    let refuses = said.stop == Stop::Refusal;
    let (content, refusal) =
        if refuses { (Value::Null, said.text().into()) } else { (said.text().into(), Value::Null) };
    let mut message = json!({ "role": "assistant", "content": content, "refusal": refusal });
    if !said.calls.is_empty() {
        let calls = said.calls.iter().map(|call| {
            let function = json!({ "name": call.name, "arguments": call.input.to_string() });
            json!({ "id": format!("call_{}", call.id), "type": "function", "function": function })
        });
        message["tool_calls"] = calls.collect();
    }
    if let Some(search) = said.search {
        let cited = search.sources.iter().map(|(url, title)| {
            let place = json!({ "url": url, "title": title, "start_index": 0, "end_index": said.text().len() });
            json!({ "type": "url_citation", "url_citation": place })
        });
        message["annotations"] = cited.collect();
    }
    let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": stop(said) });
    let mut completion = envelope(said, "chat.completion", json!([choice]));
    if let Some(used) = said.usage {
        completion["usage"] = usage(used);
    }
    completion
}

pub(super) fn events(said: &Said<'_>) -> Vec<Vec<Event>> {
    let used = said.usage.filter(|_| said.stream_usage);
    let chunk = |choices: Value, usage: Option<Value>| {
        let mut chunk = envelope(said, "chat.completion.chunk", choices);
        if let Some(usage) = usage {
            chunk["usage"] = usage;
        }
        Event::new("", &chunk)
    };
    // With usage asked for, every chunk has the member and only the last one has a value.
    let no_usage = used.map(|_| Value::Null);
    let choice = |delta: Value, finish_reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        chunk(json!([choice]), no_usage.clone())
    };
    let mut frames = vec![vec![choice(json!({ "role": "assistant", "content": "", "refusal": null }), None)]];
    let field = if said.stop == Stop::Refusal { "refusal" } else { "content" };
    frames.extend(said.parts.iter().map(|part| vec![choice(json!({ field: part }), None)]));
    let mut closing = Vec::new();
    for (index, call) in said.calls.iter().enumerate() {
        let start = json!({ "name": call.name, "arguments": "" });
        let id = format!("call_{}", call.id);
        let start = json!([{ "index": index, "id": id, "type": "function", "function": start }]);
        closing.push(choice(json!({ "tool_calls": start }), None));
        for part in call.arguments() {
            let arguments = json!([{ "index": index, "function": { "arguments": part } }]);
            closing.push(choice(json!({ "tool_calls": arguments }), None));
        }
    }
    closing.push(choice(json!({}), Some(stop(said))));
    if let Some(used) = used {
        closing.push(chunk(json!([]), Some(usage(used))));
    }
    if said.terminal {
        closing.push(Event { name: String::new(), data: "[DONE]".to_owned() });
    }
    frames.push(closing);
    frames
}
