//! A stream as the answer that its chunks build up.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// The answer; `None` if no chunk has a candidate, or says why there is none.
pub(super) fn collect(events: &[Value]) -> Option<Value> {
    let mut answer = Map::new();
    let mut candidates: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    let mut is_answer = false;
    for event in events {
        for (name, value) in event.as_object()? {
            match (name.as_str(), value) {
                ("candidates", Value::Array(list)) => {
                    is_answer = true;
                    for (position, candidate) in list.iter().enumerate() {
                        let candidate = candidate.as_object()?;
                        let index = candidate.get("index").and_then(Value::as_u64).unwrap_or(position as u64);
                        add(candidates.entry(index).or_default(), candidate);
                    }
                }
                // It is known at the beginning, at the end, or at both, and never the same.
                ("usageMetadata", Value::Object(counts)) => {
                    let known = answer.entry(name).or_insert_with(|| Map::new().into());
                    known.as_object_mut()?.extend(counts.clone());
                }
                _ => {
                    is_answer |= name == "promptFeedback";
                    answer.insert(name.clone(), value.clone());
                }
            }
        }
    }
    if !candidates.is_empty() {
        answer.insert("candidates".to_owned(), candidates.into_values().collect());
    }
    is_answer.then(|| answer.into())
}

/// Adds a piece of a candidate: parts go on, and of everything else the last word counts.
fn add(candidate: &mut Map<String, Value>, piece: &Map<String, Value>) {
    for (name, value) in piece {
        if name == "content" && value.is_object() {
            let known = candidate.entry(name).or_insert_with(|| Map::new().into());
            let (Some(known), Some(piece)) = (known.as_object_mut(), value.as_object()) else { continue };
            for (name, value) in piece {
                match (known.get_mut(name), value) {
                    (Some(Value::Array(parts)), Value::Array(more)) if name == "parts" => {
                        for part in more {
                            go_on(parts, part);
                        }
                    }
                    _ => {
                        known.insert(name.clone(), value.clone());
                    }
                }
            }
        } else {
            candidate.insert(name.clone(), value.clone());
        }
    }
}

/// Adds a part. Only text that is nothing else continues the text before it: a signature belongs to its own part.
fn go_on(parts: &mut Vec<Value>, part: &Value) {
    if let (Some(Value::Object(last)), Value::Object(next)) = (parts.last_mut(), part)
        && is_plain(last)
        && is_plain(next)
        && last.get("thought") == next.get("thought")
        && let (Some(Value::String(text)), Some(Value::String(more))) = (last.get_mut("text"), next.get("text"))
    {
        text.push_str(more);
        return;
    }
    parts.push(part.clone());
}

fn is_plain(part: &Map<String, Value>) -> bool {
    part.get("text").is_some_and(Value::is_string)
        && part.keys().all(|name| matches!(name.as_str(), "text" | "thought"))
}
