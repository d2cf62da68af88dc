//! Much of everything: what is written grows with what is read, and so does the work. Nothing here looks at a clock; work
//! that grew with the square of these sizes would not come to an end in anybody's patience.

use std::fmt::Write as _;

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_llm::neutral::Encoding;
use systemprompt_llm::{Address, Format, InferenceRequest};

const MANY: usize = 3_000;

fn parse(format: Format, body: &Value) -> InferenceRequest {
    let body = Bytes::from(body.to_string());
    match format {
        Format::Gemini => {
            InferenceRequest::parse_addressed(format, body, Address { model: "m".to_owned(), stream: true })
        }
        _ => InferenceRequest::parse(format, body),
    }
    .expect("a request")
}

fn others(format: Format) -> impl Iterator<Item = Format> {
    Format::ALL.into_iter().filter(move |other| *other != format)
}

/// Writes a request for every other format. Each of the many things takes no more than so many bytes.
fn written(format: Format, body: &Value) {
    let request = parse(format, body);
    for to in others(format) {
        let translated = request.translate(to, &Encoding::of("claude-sonnet-4-5"), "r", 0).expect("translated");
        assert!(translated.bytes.len() < MANY * 1000, "{to}");
        assert!(translated.losses.len() <= 64);
    }
}

#[test]
fn many_calls_and_results() {
    // All of one turn, with one id, and results that answer none of them.
    for id in [|_| "same".to_owned(), |number: usize| format!("call_{number}")] {
        let calls: Vec<Value> = (0..MANY)
            .map(|number| json!({ "id": id(number), "type": "function", "function": { "name": "t", "arguments": "{}" } }))
            .collect();
        let results =
            (0..MANY).rev().map(|number| json!({ "role": "tool", "tool_call_id": id(number), "content": "r" }));
        let strays =
            (0..MANY).map(|number| json!({ "role": "tool", "tool_call_id": format!("x{number}"), "content": "r" }));
        let mut messages = vec![json!({ "role": "user", "content": "go" })];
        messages.push(json!({ "role": "assistant", "content": null, "tool_calls": calls }));
        messages.extend(results.chain(strays));
        written(Format::OpenAiChat, &json!({ "model": "m", "messages": messages }));
    }
    // One after the other without anything between them.
    let mut messages = vec![json!({ "role": "user", "content": "go" })];
    messages.extend((0..MANY).map(|number| {
        json!({ "role": "assistant", "content": [{ "type": "tool_use", "id": format!("c{number}"), "name": "t", "input": {} }] })
    }));
    written(Format::AnthropicMessages, &json!({ "model": "m", "max_tokens": 9, "messages": messages }));
}

#[test]
fn many_tools_marks_and_unknown_things() {
    let long = |number: usize| format!("{}{number}", "n".repeat(70));
    let tools: Vec<Value> = (0..MANY)
        .map(|number| json!({ "name": long(number), "input_schema": { "type": "object" }, "cache_control": { "type": "ephemeral" } }))
        .collect();
    let blocks: Vec<Value> = (0..MANY)
        .map(|number| json!({ "type": "text", "text": "a", "cache_control": { "type": "ephemeral" }, format!("odd{number}"): 1 }))
        .collect();
    let mut body =
        json!({ "model": "m", "max_tokens": 9, "tools": tools, "messages": [{ "role": "user", "content": blocks }] });
    for number in 0..MANY {
        body[format!("field{number}")] = number.into();
    }
    written(Format::AnthropicMessages, &body);

    let names: Vec<Value> =
        (0..MANY).map(|number| json!({ "type": "function", "function": { "name": format!("t{number}") } })).collect();
    let choice = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": names.clone() } });
    written(
        Format::OpenAiChat,
        &json!({ "model": "m", "tools": names, "tool_choice": choice, "messages": [{ "role": "user", "content": "a" }] }),
    );
}

#[test]
fn large_schemas() {
    let mut properties = serde_json::Map::new();
    for number in 0..MANY {
        properties.insert(format!("p{number}"), json!({ "type": "integer", "minimum": number }));
    }
    let branches: Vec<Value> = (0..MANY)
        .map(|number| json!({ "type": "object", "properties": { format!("b{number}"): {} }, "required": [format!("b{number}")] }))
        .collect();
    let names: Vec<&String> = properties.keys().collect();
    let schema = json!({ "type": "object", "properties": properties, "required": names[..MANY / 2] });
    let function = |parameters: &Value| json!({ "type": "function", "function": { "name": "t", "strict": true, "parameters": parameters } });
    let body = json!({
        "model": "m",
        "tools": [function(&schema), function(&json!({ "anyOf": branches })), function(&json!({ "allOf": branches }))],
        "response_format": { "type": "json_schema", "json_schema": { "name": "a", "strict": true, "schema": schema } },
        "messages": [{ "role": "user", "content": "a" }],
    });
    written(Format::OpenAiChat, &body);
}

/// Tells a stream in every other format that callers speak, in pieces and whole.
fn told(format: Format, stream: &str) {
    let callers = [Format::AnthropicMessages, Format::OpenAiChat, Format::OpenAiResponses, Format::Gemini];
    for to in callers.into_iter().filter(|to| *to != format) {
        let request = match to {
            Format::Gemini => json!({ "contents": [{ "role": "user", "parts": [{ "text": "a" }] }] }),
            Format::OpenAiResponses => json!({ "model": "m", "input": "a", "stream": true }),
            _ => json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "a" }] }),
        };
        let back = parse(to, &request).translate(format, &Encoding::of("m"), "r", 0).expect("translated").back;
        let mut translation = back.stream();
        let mut out = Vec::new();
        for chunk in stream.as_bytes().chunks(1000) {
            translation.feed(chunk, &mut out);
        }
        translation.finish(&mut out);
        assert!(translation.ended(), "{to}");
        assert!(out.len() < MANY * 2000, "{} in {to}", out.len());
        assert!(back.stream_as_whole(stream.as_bytes()).is_some_and(|whole| whole.len() < MANY * 1000), "{to}");
    }
}

#[test]
fn many_calls_in_a_stream() {
    let mut mixed = String::new();
    let mut chunk = |delta: Value| {
        let _ = write!(mixed, "data: {}\n\n", json!({ "id": "c", "choices": [{ "index": 0, "delta": delta }] }));
    };
    let call = |number: usize, part: &str| json!({ "tool_calls": [{ "index": number, "id": format!("c{number}"), "function": { "name": "t", "arguments": part } }] });
    // Every call begins before any of them goes on.
    for part in ["{\"a\":", "1}"] {
        for number in 0..MANY / 4 {
            chunk(call(number, part));
        }
    }
    chunk(json!({ "tool_calls": [{ "id": "last", "function": { "name": "t", "arguments": "{}" } }] }));
    for _ in 0..MANY / 4 {
        chunk(json!({ "content": "a", "reasoning": "b" }));
    }
    mixed.push_str("data: [DONE]\n\n");
    told(Format::OpenAiChat, &mixed);
}

#[test]
fn many_blocks_in_a_stream() {
    let mut stream = String::new();
    let mut event = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        let _ = write!(stream, "event: {kind}\ndata: {data}\n\n");
    };
    event("message_start", json!({ "message": { "id": "m", "usage": { "input_tokens": 1 } } }));
    let blocks = MANY / 8;
    for index in 0..blocks {
        let block = match index % 3 {
            0 => json!({ "type": "tool_use", "id": format!("t{index}"), "name": "t", "input": {} }),
            1 => json!({ "type": "server_tool_use", "id": format!("t{index}"), "name": "t", "input": {} }),
            _ => json!({ "type": "text", "text": "" }),
        };
        event("content_block_start", json!({ "index": index, "content_block": block }));
    }
    for index in 0..blocks {
        let delta = if index % 3 == 2 {
            json!({ "type": "text_delta", "text": "a" })
        } else {
            json!({ "type": "input_json_delta", "partial_json": "{}" })
        };
        event("content_block_delta", json!({ "index": index, "delta": delta }));
    }
    for index in (0..blocks).rev() {
        event("content_block_stop", json!({ "index": index }));
    }
    event("message_delta", json!({ "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 1 } }));
    event("message_stop", json!({}));
    told(Format::AnthropicMessages, &stream);
}
