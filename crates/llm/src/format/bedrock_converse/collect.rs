//! A stream as the answer that its events build up.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// The answer; `None` if no message begins.
pub(super) fn collect(events: &[Value]) -> Option<Value> {
    let mut answer = Map::new();
    let mut message = None;
    let mut blocks: BTreeMap<u64, Block> = BTreeMap::new();
    for event in events {
        for (name, said) in event.as_object()? {
            let index = said["contentBlockIndex"].as_u64().unwrap_or(0);
            match name.as_str() {
                "messageStart" => message = Some(json!({ "role": said["role"] })),
                "contentBlockStart" => blocks.entry(index).or_default().tool = said["start"].get("toolUse").cloned(),
                "contentBlockDelta" => blocks.entry(index).or_default().add(&said["delta"]),
                "contentBlockStop" => {}
                "messageStop" | "metadata" => {
                    answer.extend(said.as_object()?.iter().map(|(name, value)| (name.clone(), value.clone())));
                }
                // There is no place for what nobody knows, an error for one.
                _ => return None,
            }
        }
    }
    let mut message = message?;
    message["content"] = blocks.into_values().map(Block::whole).collect::<Option<_>>()?;
    answer.insert("output".to_owned(), json!({ "message": message }));
    Some(answer.into())
}

#[derive(Default)]
struct Block {
    tool: Option<Value>,
    input: String,
    text: Option<String>,
    thought: Option<String>,
    signature: Option<Value>,
    redacted: Option<Value>,
    citations: Vec<Value>,
}

impl Block {
    fn add(&mut self, delta: &Value) {
        if let Some(text) = delta["text"].as_str() {
            self.text.get_or_insert_default().push_str(text);
        }
        if let Some(input) = delta["toolUse"]["input"].as_str() {
            self.input.push_str(input);
        }
        let reasoning = &delta["reasoningContent"];
        if let Some(text) = reasoning["text"].as_str() {
            self.thought.get_or_insert_default().push_str(text);
        }
        self.signature = reasoning.get("signature").cloned().or(self.signature.take());
        self.redacted = reasoning.get("redactedContent").cloned().or(self.redacted.take());
        self.citations.extend(delta.get("citation").cloned());
    }

    fn whole(self) -> Option<Value> {
        if let Some(mut tool) = self.tool {
            let input = if self.input.is_empty() { json!({}) } else { serde_json::from_str(&self.input).ok()? };
            tool["input"] = input;
            return Some(json!({ "toolUse": tool }));
        }
        if let Some(redacted) = self.redacted {
            return Some(json!({ "reasoningContent": { "redactedContent": redacted } }));
        }
        if self.thought.is_some() || self.signature.is_some() {
            let mut said = json!({ "text": self.thought.unwrap_or_default() });
            if let Some(signature) = self.signature {
                said["signature"] = signature;
            }
            return Some(json!({ "reasoningContent": { "reasoningText": said } }));
        }
        let text = self.text.unwrap_or_default();
        if self.citations.is_empty() {
            return Some(json!({ "text": text }));
        }
        Some(json!({ "citationsContent": { "content": [{ "text": text }], "citations": self.citations } }))
    }
}
