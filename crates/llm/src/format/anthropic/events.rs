//! A message as the stream of events that builds it up: what `collect` does, the other way round.

use serde_json::{Map, Value, json};

/// The events; `None` if this is no message.
pub(super) fn events(message: &Value, _: bool) -> Option<Vec<u8>> {
    let mut start = message.as_object()?.clone();
    let Value::Array(blocks) = start.insert("content".to_owned(), json!([]))? else { return None };
    let blocks: Vec<_> = blocks.into_iter().map(Block::of).collect::<Option<_>>()?;

    // What is not known before the end. Readers take it from the end, also where that has nothing.
    let mut delta = Map::new();
    for name in ["stop_reason", "stop_sequence", "stop_details", "container"] {
        if let Some(known) = start.get_mut(name) {
            delta.insert(name.to_owned(), known.take());
        }
    }
    let mut end = json!({ "delta": delta, "usage": { "output_tokens": 0 } });
    if let Some(usage) = start.get_mut("usage").filter(|usage| usage.is_object()) {
        end["usage"] = usage.clone();
        if usage["output_tokens"].is_number() {
            usage["output_tokens"] = 0.into();
        }
    }
    if let Some(management) = start.remove("context_management") {
        end["context_management"] = management;
    }

    let mut stream = Vec::new();
    push(&mut stream, "message_start", json!({ "message": start }));
    for (index, Block { start, deltas }) in blocks.into_iter().enumerate() {
        push(&mut stream, "content_block_start", json!({ "index": index, "content_block": start }));
        for delta in deltas {
            push(&mut stream, "content_block_delta", json!({ "index": index, "delta": delta }));
        }
        push(&mut stream, "content_block_stop", json!({ "index": index }));
    }
    push(&mut stream, "message_delta", end);
    push(&mut stream, "message_stop", json!({}));
    Some(stream)
}

fn push(stream: &mut Vec<u8>, kind: &str, mut event: Value) {
    event["type"] = kind.into();
    stream.extend_from_slice(format!("event: {kind}\ndata: {event}\n\n").as_bytes());
}

/// A block of the content: how it begins, and what is added to it. One of a kind that is not known begins whole.
struct Block {
    start: Map<String, Value>,
    deltas: Vec<Value>,
}

impl Block {
    fn of(block: Value) -> Option<Self> {
        let Value::Object(start) = block else { return None };
        let kind = start.get("type")?.as_str()?.to_owned();
        let mut block = Self { start, deltas: Vec::new() };
        match kind.as_str() {
            "text" => {
                block.cut("text", "text_delta");
                if let Some(Value::Array(citations)) = block.start.get_mut("citations") {
                    let deltas = citations.drain(..).map(|one| json!({ "type": "citations_delta", "citation": one }));
                    block.deltas.extend(deltas);
                }
            }
            "thinking" => {
                block.cut("thinking", "thinking_delta");
                block.cut("signature", "signature_delta");
            }
            _ => {
                if let Some(input) = block.start.get_mut("input") {
                    let json = std::mem::replace(input, json!({})).to_string();
                    block.deltas.push(json!({ "type": "input_json_delta", "partial_json": json }));
                }
            }
        }
        Some(block)
    }

    /// Makes a text of the block one that is added to it.
    fn cut(&mut self, name: &str, kind: &str) {
        if let Some(Value::String(text)) = self.start.get_mut(name)
            && !text.is_empty()
        {
            let text = std::mem::take(text);
            self.deltas.push(json!({ "type": kind, name: text }));
        }
    }
}
