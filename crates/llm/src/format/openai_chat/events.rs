//! A completion as the stream of chunks that builds it up: what `collect` does, the other way round.

use serde_json::{Map, Value, json};

/// The chunks, with one that says what was used if the caller asked for it; `None` if this is no completion with an answer.
pub(super) fn events(completion: &Value, usage_asked: bool) -> Option<Vec<u8>> {
    let mut envelope = completion.as_object()?.clone();
    let usage = envelope.remove("usage").filter(|_| usage_asked);
    let Some(Value::Array(choices)) = envelope.remove("choices") else { return None };
    envelope.insert("object".to_owned(), "chat.completion.chunk".into());
    if choices.is_empty() {
        return None;
    }

    let mut stream = Stream { envelope, bytes: Vec::new() };
    let mut ends = Vec::new();
    for (position, choice) in choices.into_iter().enumerate() {
        let Value::Object(mut choice) = choice else { return None };
        let Some(Value::Object(mut message)) = choice.remove("message") else { return None };
        // In a stream a call is known by its place.
        for (place, call) in
            message.get_mut("tool_calls").and_then(Value::as_array_mut).into_iter().flatten().enumerate()
        {
            call.as_object_mut()?.insert("index".to_owned(), place.into());
        }
        choice.entry("index").or_insert_with(|| position.into());
        let finish_reason = choice.insert("finish_reason".to_owned(), Value::Null);
        ends.push(json!({ "index": choice["index"], "delta": {}, "finish_reason": finish_reason }));
        choice.insert("delta".to_owned(), message.into());
        stream.push(&json!([choice]), None);
    }
    for end in ends {
        stream.push(&json!([end]), None);
    }
    if let Some(usage) = usage {
        stream.push(&json!([]), Some(usage));
    }
    stream.bytes.extend_from_slice(b"data: [DONE]\n\n");
    Some(stream.bytes)
}

struct Stream {
    /// What all chunks have.
    envelope: Map<String, Value>,
    bytes: Vec<u8>,
}

impl Stream {
    fn push(&mut self, choices: &Value, usage: Option<Value>) {
        let mut chunk = self.envelope.clone();
        chunk.insert("choices".to_owned(), choices.clone());
        chunk.extend(usage.map(|usage| ("usage".to_owned(), usage)));
        self.bytes.extend_from_slice(format!("data: {}\n\n", Value::Object(chunk)).as_bytes());
    }
}
