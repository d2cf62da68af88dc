//! A whole answer as the stream of events that builds it up: what `collect` does, the other way round.

use serde_json::{Value, json};

/// The events; `None` if this is no answer.
pub(super) fn events(answer: &Value, _: bool) -> Option<Vec<u8>> {
    let message = answer["output"]["message"].as_object()?;
    let mut stream = Vec::new();
    push(&mut stream, "messageStart", &json!({ "role": message.get("role") }));
    for (index, block) in message.get("content")?.as_array()?.iter().enumerate() {
        let mut deltas = Vec::new();
        if let Some(tool) = block.get("toolUse") {
            let start = json!({ "toolUse": { "toolUseId": tool["toolUseId"], "name": tool["name"] } });
            push(&mut stream, "contentBlockStart", &json!({ "contentBlockIndex": index, "start": start }));
            deltas.push(json!({ "toolUse": { "input": tool["input"].to_string() } }));
        } else if let Some(reasoning) = block.get("reasoningContent") {
            match reasoning.get("reasoningText") {
                Some(said) => {
                    deltas.push(json!({ "reasoningContent": { "text": said["text"] } }));
                    if !said["signature"].is_null() {
                        deltas.push(json!({ "reasoningContent": { "signature": said["signature"] } }));
                    }
                }
                None => deltas.push(json!({ "reasoningContent": reasoning })),
            }
        } else if let Some(cited) = block.get("citationsContent") {
            let texts = cited["content"].as_array().into_iter().flatten();
            deltas.extend(texts.map(|part| json!({ "text": part["text"] })));
            let citations = cited["citations"].as_array().into_iter().flatten();
            deltas.extend(citations.map(|citation| json!({ "citation": citation })));
        } else {
            deltas.push(block.clone());
        }
        for delta in deltas {
            push(&mut stream, "contentBlockDelta", &json!({ "contentBlockIndex": index, "delta": delta }));
        }
        push(&mut stream, "contentBlockStop", &json!({ "contentBlockIndex": index }));
    }
    let mut stop = json!({ "stopReason": answer["stopReason"] });
    let mut metadata = json!({ "usage": answer["usage"] });
    if let Some(fields) = answer.get("additionalModelResponseFields") {
        stop["additionalModelResponseFields"] = fields.clone();
    }
    for name in ["metrics", "trace", "performanceConfig", "serviceTier"] {
        if let Some(value) = answer.get(name) {
            metadata[name] = value.clone();
        }
    }
    push(&mut stream, "messageStop", &stop);
    push(&mut stream, "metadata", &metadata);
    Some(stream)
}

fn push(stream: &mut Vec<u8>, name: &str, event: &Value) {
    stream.extend_from_slice(format!("data: {}\n\n", json!({ name: event })).as_bytes());
}
