//! What the mock says, written out before anybody asks.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::behaviour::{Behaviour, Fault, MockUsage};

/// The format of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Dialect {
    Anthropic,
    OpenAi,
}

/// What the mock reads of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    pub(crate) model: String,
    pub(crate) stream: bool,
    stream_options: Option<StreamOptions>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
struct StreamOptions {
    include_usage: bool,
}

/// The parts of an answer in order and how it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Script {
    pub(crate) content_type: &'static str,
    pub(crate) frames: Vec<Bytes>,
    /// The length the answer would have if nothing went wrong. Only a buffered answer says it.
    pub(crate) length: Option<u64>,
    pub(crate) ending: Ending,
    /// Each frame goes out by itself, even if there is no delay between them.
    pub(crate) separately: bool,
}

/// What happens after the last part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Proper,
    Close,
    Hang,
}

/// Writes the answer to a request. Faults that show before the body are the server's business.
pub(crate) fn write(dialect: Dialect, asked: &Asked, behaviour: &Behaviour, fault: Option<&Fault>) -> Script {
    let mut script = if asked.stream {
        let frames = match dialect {
            Dialect::Anthropic => anthropic_events(asked, behaviour, fault),
            Dialect::OpenAi => openai_events(asked, behaviour, fault),
        };
        let frames = frames.into_iter().map(Bytes::from).collect();
        Script { content_type: "text/event-stream", frames, length: None, ending: Ending::Proper, separately: false }
    } else {
        let body = match (dialect, fault) {
            (_, Some(Fault::GarbageJson)) => GARBAGE.to_owned(),
            (Dialect::Anthropic, _) => anthropic_message(asked, behaviour, fault).to_string(),
            (Dialect::OpenAi, _) => openai_completion(asked, behaviour, fault).to_string(),
        };
        let length = Some(body.len() as u64);
        let frames = vec![Bytes::from(body)];
        Script { content_type: "application/json", frames, length, ending: Ending::Proper, separately: false }
    };
    match fault {
        Some(Fault::CloseMidStream { after_chunks }) => script.cut(asked.stream, *after_chunks, Ending::Close),
        Some(Fault::HangMidStream { after_chunks }) => script.cut(asked.stream, *after_chunks, Ending::Hang),
        Some(Fault::SplitUtf8) => script.split_characters(),
        _ => {}
    }
    script
}

const GARBAGE: &str = "{\"id\": \"garbage\", <html>";

impl Script {
    fn cut(&mut self, streamed: bool, after_chunks: usize, ending: Ending) {
        if streamed {
            // The frame before the first part opens the stream.
            self.frames.truncate(after_chunks + 1);
        } else if let [whole] = self.frames.as_mut_slice() {
            whole.truncate(whole.len() / 2);
        }
        self.ending = ending;
        self.separately = true;
    }

    /// Cuts the answer after the first byte of every character that has more than one.
    fn split_characters(&mut self) {
        let whole = Bytes::from(self.frames.concat());
        let mut start = 0;
        self.frames.clear();
        for at in (1..whole.len()).filter(|at| whole[at - 1] >= 0xC0) {
            self.frames.push(whole.slice(start..at));
            start = at;
        }
        self.frames.push(whole.slice(start..));
        self.separately = true;
    }
}

/// The text of one part. Answers that shall be cut inside characters need characters that can be cut.
fn part<'a>(behaviour: &'a Behaviour, fault: Option<&Fault>) -> &'a str {
    match fault {
        Some(Fault::SplitUtf8) if behaviour.chunk_text.is_ascii() => "é€😀 ",
        _ => &behaviour.chunk_text,
    }
}

fn anthropic_usage(usage: MockUsage, output_tokens: u64) -> Value {
    json!({
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_creation_tokens,
        "cache_read_input_tokens": usage.cache_read_tokens,
        "output_tokens": output_tokens,
    })
}

fn anthropic_message(asked: &Asked, behaviour: &Behaviour, fault: Option<&Fault>) -> Value {
    let mut content = Vec::new();
    if let Some(thinking) = &behaviour.thinking {
        content.push(json!({ "type": "thinking", "thinking": thinking, "signature": SIGNATURE }));
    }
    content.push(json!({ "type": "text", "text": part(behaviour, fault).repeat(behaviour.chunks) }));
    if let Some(call) = &behaviour.tool_call {
        content.push(json!({ "type": "tool_use", "id": "toolu_mock", "name": call.name, "input": call.input }));
    }
    let mut message = json!({
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": anthropic_stop(behaviour),
        "stop_sequence": null,
    });
    if let Some(usage) = behaviour.usage {
        message["usage"] = anthropic_usage(usage, usage.output_tokens);
    }
    message
}

/// What proves to the provider that a thinking block is its own.
const SIGNATURE: &str = "bW9jayBzaWduYXR1cmU=";

fn anthropic_stop(behaviour: &Behaviour) -> &'static str {
    if behaviour.tool_call.is_some() { "tool_use" } else { "end_turn" }
}

fn anthropic_events(asked: &Asked, behaviour: &Behaviour, fault: Option<&Fault>) -> Vec<String> {
    let event = |name: &str, mut data: Value| {
        data["type"] = name.into();
        if fault == Some(&Fault::GarbageJson) {
            return format!("event: {name}\ndata: {GARBAGE}\n\n");
        }
        format!("event: {name}\ndata: {data}\n\n")
    };
    let mut message = json!({
        "id": "msg_mock",
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": [],
        "stop_reason": null,
        "stop_sequence": null,
    });
    if let Some(usage) = behaviour.usage {
        message["usage"] = anthropic_usage(usage, 1);
    }
    let start =
        |index: usize, block: Value| event("content_block_start", json!({ "index": index, "content_block": block }));
    let delta = |index: usize, delta: Value| event("content_block_delta", json!({ "index": index, "delta": delta }));
    let stop = |index: usize| event("content_block_stop", json!({ "index": index }));
    let mut opening = event("message_start", json!({ "message": message }));
    let text = usize::from(behaviour.thinking.is_some());
    if let Some(thinking) = &behaviour.thinking {
        opening += &start(0, json!({ "type": "thinking", "thinking": "", "signature": "" }));
        opening += &delta(0, json!({ "type": "thinking_delta", "thinking": thinking }));
        opening += &delta(0, json!({ "type": "signature_delta", "signature": SIGNATURE }));
        opening += &stop(0);
    }
    opening += &start(text, json!({ "type": "text", "text": "" }));
    let mut frames = vec![opening];
    let part = delta(text, json!({ "type": "text_delta", "text": part(behaviour, fault) }));
    frames.extend(std::iter::repeat_n(part, behaviour.chunks));
    let mut end = stop(text);
    if let Some(call) = &behaviour.tool_call {
        let tool = text + 1;
        end += &start(tool, json!({ "type": "tool_use", "id": "toolu_mock", "name": call.name, "input": {} }));
        end += &delta(tool, json!({ "type": "input_json_delta", "partial_json": call.input.to_string() }));
        end += &stop(tool);
    }
    let mut last = json!({ "delta": { "stop_reason": anthropic_stop(behaviour), "stop_sequence": null } });
    if let Some(usage) = behaviour.usage {
        last["usage"] = json!({ "output_tokens": usage.output_tokens });
    }
    end += &event("message_delta", last);
    if fault != Some(&Fault::NoTerminalEvent) {
        end += &event("message_stop", json!({}));
    }
    frames.push(end);
    frames
}

fn openai_usage(usage: MockUsage) -> Value {
    let prompt = usage.input_tokens + usage.cache_read_tokens + usage.cache_creation_tokens;
    json!({
        "prompt_tokens": prompt,
        "completion_tokens": usage.output_tokens,
        "total_tokens": prompt + usage.output_tokens,
        "prompt_tokens_details": { "cached_tokens": usage.cache_read_tokens },
    })
}

fn openai_stop(behaviour: &Behaviour) -> &'static str {
    if behaviour.tool_call.is_some() { "tool_calls" } else { "stop" }
}

fn openai_envelope(asked: &Asked, object: &str, choices: Value) -> Value {
    let mut envelope = json!({
        "id": "chatcmpl-mock",
        "object": object,
        "created": 1_800_000_000,
        "model": asked.model,
        "system_fingerprint": "fp_mock",
    });
    envelope["choices"] = choices;
    envelope
}

fn openai_completion(asked: &Asked, behaviour: &Behaviour, fault: Option<&Fault>) -> Value {
    let mut message =
        json!({ "role": "assistant", "content": part(behaviour, fault).repeat(behaviour.chunks), "refusal": null });
    if let Some(call) = &behaviour.tool_call {
        let function = json!({ "name": call.name, "arguments": call.input.to_string() });
        message["tool_calls"] = json!([{ "id": "call_mock", "type": "function", "function": function }]);
    }
    let choice = json!({ "index": 0, "message": message, "logprobs": null, "finish_reason": openai_stop(behaviour) });
    let mut completion = openai_envelope(asked, "chat.completion", json!([choice]));
    if let Some(usage) = behaviour.usage {
        completion["usage"] = openai_usage(usage);
    }
    completion
}

fn openai_events(asked: &Asked, behaviour: &Behaviour, fault: Option<&Fault>) -> Vec<String> {
    let usage = behaviour.usage.filter(|_| asked.stream_options.as_ref().is_some_and(|options| options.include_usage));
    let chunk = |choices: Value, usage_value: Option<Value>| {
        if fault == Some(&Fault::GarbageJson) {
            return format!("data: {GARBAGE}\n\n");
        }
        let mut chunk = openai_envelope(asked, "chat.completion.chunk", choices);
        if let Some(usage_value) = usage_value {
            chunk["usage"] = usage_value;
        }
        format!("data: {chunk}\n\n")
    };
    // With usage asked for, every chunk has the member and only the last one has a value.
    let no_usage = usage.map(|_| Value::Null);
    let choice = |delta: Value, finish_reason: Option<&str>| {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        chunk(json!([choice]), no_usage.clone())
    };
    let mut frames = vec![choice(json!({ "role": "assistant", "content": "", "refusal": null }), None)];
    let part = choice(json!({ "content": part(behaviour, fault) }), None);
    frames.extend(std::iter::repeat_n(part, behaviour.chunks));
    let mut end = String::new();
    if let Some(call) = &behaviour.tool_call {
        let start = json!({ "name": call.name, "arguments": "" });
        let start = json!([{ "index": 0, "id": "call_mock", "type": "function", "function": start }]);
        end += &choice(json!({ "tool_calls": start }), None);
        let arguments = json!([{ "index": 0, "function": { "arguments": call.input.to_string() } }]);
        end += &choice(json!({ "tool_calls": arguments }), None);
    }
    end += &choice(json!({}), Some(openai_stop(behaviour)));
    if let Some(usage) = usage {
        end += &chunk(json!([]), Some(openai_usage(usage)));
    }
    if fault != Some(&Fault::NoTerminalEvent) {
        end += "data: [DONE]\n\n";
    }
    frames.push(end);
    frames
}

/// An error body for a status in a dialect.
pub(crate) fn error(dialect: Dialect, status: u16) -> Value {
    let (kind, message) = match status {
        401 => ("authentication_error", "mock: invalid key"),
        403 => ("permission_error", "mock: not allowed"),
        404 => ("not_found_error", "mock: not found"),
        429 => ("rate_limit_error", "mock: rate limited"),
        529 => ("overloaded_error", "mock: overloaded"),
        400..500 => ("invalid_request_error", "mock: bad request"),
        _ => ("api_error", "mock: internal error"),
    };
    match dialect {
        Dialect::Anthropic => json!({ "type": "error", "error": { "type": kind, "message": message } }),
        Dialect::OpenAi => json!({ "error": { "message": message, "type": kind, "param": null, "code": null } }),
    }
}
