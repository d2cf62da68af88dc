//! OpenAI Responses.

use serde_json::{Value, json};

use super::event::Event;
use crate::behaviour::MockUsage;
use crate::said::{Call, SIGNATURE, Said, Stop};

fn usage(usage: MockUsage) -> Value {
    let input = usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens;
    json!({
        "input_tokens": input,
        "input_tokens_details": { "cached_tokens": usage.cache_read_tokens, "cache_write_tokens": 0 },
        "output_tokens": usage.output_tokens,
        "output_tokens_details": { "reasoning_tokens": 0 },
        "total_tokens": input + usage.output_tokens,
    })
}

/// The response with this status, which has something to say from `output` on.
fn response(said: &Said<'_>, status: &str, output: Vec<Value>) -> Value {
    let is_over = status != "in_progress";
    let reason = (is_over && said.stop == Stop::Length).then(|| json!({ "reason": "max_output_tokens" }));
    let used = said.usage.filter(|_| is_over).map(usage);
    json!({
        "id": "resp_mock",
        "object": "response",
        "created_at": 1_800_000_000,
        "status": status,
        "error": null,
        "incomplete_details": reason,
        "instructions": null,
        "max_output_tokens": null,
        "model": said.model,
        "output": output,
        "parallel_tool_calls": true,
        "previous_response_id": null,
        "store": false,
        "temperature": 1.0,
        "text": { "format": { "type": "text" } },
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "truncation": "disabled",
        "usage": used,
        "metadata": {},
    })
}

fn status(said: &Said<'_>) -> &'static str {
    if said.stop == Stop::Length { "incomplete" } else { "completed" }
}

fn reasoning(summary: Value) -> Value {
    json!({ "type": "reasoning", "id": "rs_mock", "summary": summary, "encrypted_content": SIGNATURE })
}

fn part(said: &Said<'_>, text: &str) -> Value {
    if said.stop == Stop::Refusal {
        json!({ "type": "refusal", "refusal": text })
    } else {
        json!({ "type": "output_text", "text": text, "annotations": [], "logprobs": [] })
    }
}

fn message(status: &str, content: Value) -> Value {
    json!({ "type": "message", "id": "msg_mock", "status": status, "role": "assistant", "content": content })
}

fn call(call: &Call<'_>, status: &str, arguments: &str) -> Value {
    json!({
        "type": "function_call",
        "id": format!("fc_{}", call.id),
        "call_id": format!("call_{}", call.id),
        "name": call.name,
        "arguments": arguments,
        "status": status,
    })
}

fn output(said: &Said<'_>) -> Vec<Value> {
    let mut output = Vec::new();
    if let Some(thinking) = said.thinking {
        output.push(reasoning(json!([{ "type": "summary_text", "text": thinking }])));
    }
    output.push(message(status(said), json!([part(said, &said.text())])));
    output.extend(said.calls.iter().map(|one| call(one, "completed", &one.input.to_string())));
    output
}

pub(super) fn whole(said: &Said<'_>) -> Value {
    let mut output = output(said);
    if let Some(search) = said.search {
        let cited = search.sources.iter().map(|(url, title)| {
            json!({ "type": "url_citation", "url": url, "title": title, "start_index": 0, "end_index": said.text().len() })
        });
        if let Some(message) = output.iter_mut().find(|item| item["type"] == "message") {
            message["content"][0]["annotations"] = cited.collect();
        }
        let calls = search.queries.iter().enumerate().map(|(at, query)| {
            let action = json!({ "type": "search", "query": query, "queries": [query] });
            json!({ "type": "web_search_call", "id": format!("ws_{at}"), "status": "completed", "action": action })
        });
        output.splice(0..0, calls.collect::<Vec<_>>());
    }
    response(said, status(said), output)
}

pub(super) fn events(said: &Said<'_>) -> Vec<Vec<Event>> {
    let mut number = 0_u64;
    let mut event = |name: &str, mut data: Value| {
        data["sequence_number"] = number.into();
        number += 1;
        Event::typed(name, data)
    };
    let begun = response(said, "in_progress", Vec::new());
    let mut opening = vec![
        event("response.created", json!({ "response": begun })),
        event("response.in_progress", json!({ "response": begun })),
    ];
    let text = usize::from(said.thinking.is_some());
    if let Some(thinking) = said.thinking {
        let at = |more: Value| {
            let mut place = json!({ "item_id": "rs_mock", "output_index": 0, "summary_index": 0 });
            place.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
            place
        };
        let (begin, whole) =
            (json!({ "type": "summary_text", "text": "" }), json!({ "type": "summary_text", "text": thinking }));
        let item = |item: Value| json!({ "output_index": 0, "item": item });
        opening.push(event("response.output_item.added", item(reasoning(json!([])))));
        opening.push(event("response.reasoning_summary_part.added", at(json!({ "part": begin }))));
        opening.push(event("response.reasoning_summary_text.delta", at(json!({ "delta": thinking }))));
        opening.push(event("response.reasoning_summary_text.done", at(json!({ "text": thinking }))));
        opening.push(event("response.reasoning_summary_part.done", at(json!({ "part": whole }))));
        opening.push(event("response.output_item.done", item(reasoning(json!([whole])))));
    }
    let item = |item: Value| json!({ "output_index": text, "item": item });
    let place = |key: &str, value: Value| {
        let mut place = json!({ "item_id": "msg_mock", "output_index": text, "content_index": 0 });
        place[key] = value;
        if key == "delta" || key == "text" {
            place["logprobs"] = json!([]);
        }
        place
    };
    opening.push(event("response.output_item.added", item(message("in_progress", json!([])))));
    opening.push(event("response.content_part.added", place("part", part(said, ""))));
    let mut frames = vec![opening];
    let refuses = said.stop == Stop::Refusal;
    let (delta, done, key) = if refuses {
        ("response.refusal.delta", "response.refusal.done", "refusal")
    } else {
        ("response.output_text.delta", "response.output_text.done", "text")
    };
    for one in &said.parts {
        frames.push(vec![event(delta, place("delta", one.as_str().into()))]);
    }
    let whole = said.text();
    let mut closing = vec![
        event(done, place(key, whole.as_str().into())),
        event("response.content_part.done", place("part", part(said, &whole))),
        event("response.output_item.done", item(message(status(said), json!([part(said, &whole)])))),
    ];
    for (index, one) in (text + 1..).zip(&said.calls) {
        let id = format!("fc_{}", one.id);
        let arguments = one.input.to_string();
        let item = |item: Value| json!({ "output_index": index, "item": item });
        closing.push(event("response.output_item.added", item(call(one, "in_progress", ""))));
        for part in one.arguments() {
            let delta = json!({ "item_id": id, "output_index": index, "delta": part });
            closing.push(event("response.function_call_arguments.delta", delta));
        }
        let done = json!({ "item_id": id, "output_index": index, "arguments": arguments });
        closing.push(event("response.function_call_arguments.done", done));
        closing.push(event("response.output_item.done", item(call(one, "completed", &arguments))));
    }
    if said.terminal {
        let name = format!("response.{}", status(said));
        closing.push(event(&name, json!({ "response": response(said, status(said), output(said)) })));
    }
    frames.push(closing);
    frames
}
