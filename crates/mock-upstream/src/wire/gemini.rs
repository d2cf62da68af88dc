//! Gemini `generateContent`.

use serde_json::{Value, json};

use super::event::{Event, base64};
use crate::said::{SIGNATURE, Said, Stop};

/// A picture of one pixel.
pub(super) const PIXEL: &[u8] = b"\x89PNG\r\n\x1a\nmock";

fn usage(said: &Said<'_>) -> Option<Value> {
    let used = said.usage?;
    let prompt = used.input_tokens + used.cache_read_tokens + used.cache_creation_tokens;
    Some(json!({
        "promptTokenCount": prompt,
        "cachedContentTokenCount": used.cache_read_tokens,
        "candidatesTokenCount": used.output_tokens,
        "totalTokenCount": prompt + used.output_tokens,
    }))
}

/// Parts of the answer; the last ones say why it ends and what was used.
fn response(said: &Said<'_>, parts: Vec<Value>, is_last: bool) -> Value {
    let mut candidate = json!({ "content": { "role": "model", "parts": parts }, "index": 0 });
    if is_last && said.terminal {
        candidate["finishReason"] = match said.stop {
            Stop::End | Stop::Tools | Stop::Sequence(_) => "STOP",
            Stop::Length => "MAX_TOKENS",
            Stop::Refusal => "SAFETY",
        }
        .into();
    }
    let mut response = json!({ "candidates": [candidate], "modelVersion": said.model, "responseId": "gemini-mock" });
    if let Some(usage) = usage(said).filter(|_| is_last) {
        response["usageMetadata"] = usage;
    }
    response
}

fn thought(text: &str) -> Value {
    json!({ "text": text, "thought": true })
}

fn calls(said: &Said<'_>) -> Vec<Value> {
    let calls = said.calls.iter().enumerate().map(|(at, call)| {
        let mut part = json!({ "functionCall": { "name": call.name, "args": call.input } });
        if at == 0 {
            // The first of parallel calls carries it for all.
            part["thoughtSignature"] = SIGNATURE.into();
        }
        part
    });
    calls.collect()
}

pub(super) fn whole(said: &Said<'_>) -> Value {
    let mut parts: Vec<Value> = said.thinking.into_iter().map(thought).collect();
    parts.push(json!({ "text": said.text() }));
    if said.has_image {
        parts.push(json!({ "inlineData": { "mimeType": "image/png", "data": base64(PIXEL) } }));
    }
    parts.extend(calls(said));
    let mut response = response(said, parts, true);
    if let Some(search) = said.search {
        let found = search.sources.iter().map(|(uri, title)| json!({ "web": { "uri": uri, "title": title } }));
        let supports = (0..search.sources.len()).map(|at| {
            let segment = json!({ "startIndex": 0, "endIndex": said.text().len(), "text": said.text() });
            json!({ "segment": segment, "groundingChunkIndices": [at], "confidenceScores": [0.75] })
        });
        response["candidates"][0]["groundingMetadata"] = json!({
            "webSearchQueries": search.queries,
            "groundingChunks": found.collect::<Vec<_>>(),
            "groundingSupports": supports.collect::<Vec<_>>(),
        });
    }
    response
}

pub(super) fn events(said: &Said<'_>) -> Vec<Vec<Event>> {
    let event = |parts: Vec<Value>, is_last| Event::new("", &response(said, parts, is_last));
    let mut frames = vec![said.thinking.into_iter().map(|text| event(vec![thought(text)], false)).collect()];
    frames.extend(said.parts.iter().map(|part| vec![event(vec![json!({ "text": part })], false)]));
    let calls = calls(said);
    let last = if calls.is_empty() { vec![json!({ "text": "" })] } else { calls };
    frames.push(vec![event(last, true)]);
    frames
}
