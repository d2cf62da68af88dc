//! A stream as the message that its events build up.

use serde_json::{Map, Value};

/// The message; `None` if an event adds something this does not know the place of.
pub(super) fn collect(events: &[Value]) -> Option<Value> {
    let mut message: Option<Map<String, Value>> = None;
    let mut blocks: Vec<Block> = Vec::new();
    for event in events {
        let index = || usize::try_from(event["index"].as_u64()?).ok();
        match event["type"].as_str()? {
            "message_start" => message = Some(event["message"].as_object()?.clone()),
            "content_block_start" => {
                if index()? != blocks.len() {
                    return None;
                }
                blocks.push(Block { value: event["content_block"].as_object()?.clone(), input: String::new() });
            }
            "content_block_delta" => blocks.get_mut(index()?)?.add(event["delta"].as_object()?)?,
            "message_delta" => {
                let message = message.as_mut()?;
                message.extend(event["delta"].as_object()?.clone());
                if let (Some(usage), Some(known)) =
                    (event["usage"].as_object(), message.get_mut("usage").and_then(Value::as_object_mut))
                {
                    for (name, count) in usage.iter().filter(|(_, count)| !count.is_null()) {
                        // Counts are cumulative; some proxies say zero at the end.
                        let lower = known.get(name).and_then(Value::as_u64) > count.as_u64() && count.is_number();
                        if !lower {
                            known.insert(name.clone(), count.clone());
                        }
                    }
                }
                // Members that were added since, such as `context_management`, are the message's too.
                let known = ["type", "delta", "usage"];
                let others = event.as_object()?.iter().filter(|(name, _)| !known.contains(&name.as_str()));
                message.extend(others.map(|(name, value)| (name.clone(), value.clone())));
            }
            "content_block_stop" | "message_stop" | "ping" => {}
            _ => return None,
        }
    }
    let mut message = message?;
    let blocks = blocks.into_iter().map(Block::finish).collect::<Option<Vec<_>>>()?;
    message.insert("content".to_owned(), blocks.into());
    Some(message.into())
}

/// A block of the content, as far as it came.
struct Block {
    value: Map<String, Value>,
    /// The input of a tool, which comes in pieces of its text.
    input: String,
}

impl Block {
    fn add(&mut self, delta: &Map<String, Value>) -> Option<()> {
        let mut append = |name: &str| {
            let piece = delta.get(name)?.as_str()?;
            match self.value.entry(name).or_insert_with(|| String::new().into()) {
                Value::String(text) => text.push_str(piece),
                other => *other = piece.into(),
            }
            Some(())
        };
        match delta.get("type")?.as_str()? {
            "text_delta" => append("text"),
            "thinking_delta" => append("thinking"),
            "signature_delta" => append("signature"),
            "input_json_delta" => {
                self.input.push_str(delta.get("partial_json")?.as_str()?);
                Some(())
            }
            "citations_delta" => {
                let citations = self.value.entry("citations").or_insert_with(|| Value::Array(Vec::new()));
                if !citations.is_array() {
                    *citations = Value::Array(Vec::new());
                }
                citations.as_array_mut()?.push(delta.get("citation")?.clone());
                Some(())
            }
            _ => None,
        }
    }

    fn finish(mut self) -> Option<Value> {
        if !self.input.is_empty() {
            self.value.insert("input".to_owned(), serde_json::from_str(&self.input).ok()?);
        }
        Some(self.value.into())
    }
}
