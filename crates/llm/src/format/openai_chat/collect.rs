//! A stream as the completion that its chunks build up.
//!
//! Compatible servers add fields of their own to the pieces of a message, so there is one rule for all of them: texts
//! continue, lists grow, objects are merged, and everything else is replaced.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// What names something and is not continued: it is the same in every piece, or in the first only.
const NAMES: [&str; 5] = ["id", "type", "role", "name", "format"];

/// The completion; `None` if there is no chunk with choices.
pub(super) fn collect(events: &[Value]) -> Option<Value> {
    let mut completion = Map::new();
    let mut choices: BTreeMap<u64, Map<String, Value>> = BTreeMap::new();
    let mut is_answer = false;
    for event in events {
        for (name, value) in event.as_object()? {
            match name.as_str() {
                "choices" => {
                    is_answer = true;
                    for (position, choice) in value.as_array()?.iter().enumerate() {
                        let choice = choice.as_object()?;
                        let index = choice.get("index").and_then(Value::as_u64).unwrap_or(position as u64);
                        add(choices.entry(index).or_insert_with(|| begun(index)), choice);
                    }
                }
                // Of the others the last word counts; usage is `null` until the end.
                _ if value.is_null() => {
                    completion.entry(name.clone()).or_insert(Value::Null);
                }
                _ => {
                    completion.insert(name.clone(), value.clone());
                }
            }
        }
    }
    let choices: Vec<Value> = choices.into_values().map(Value::from).collect();
    completion.insert("object".to_owned(), "chat.completion".into());
    completion.insert("choices".to_owned(), choices.into());
    is_answer.then(|| completion.into())
}

/// A choice of which nothing came yet.
fn begun(index: u64) -> Map<String, Value> {
    let message = Map::from_iter([("role".to_owned(), "assistant".into()), ("content".to_owned(), Value::Null)]);
    Map::from_iter([
        ("index".to_owned(), index.into()),
        ("message".to_owned(), message.into()),
        ("finish_reason".to_owned(), Value::Null),
    ])
}

fn add(choice: &mut Map<String, Value>, piece: &Map<String, Value>) {
    for (name, value) in piece {
        match name.as_str() {
            "index" => {}
            "delta" => merge(choice.entry("message").or_insert(Value::Null), value),
            "finish_reason" if value.is_null() => {}
            "finish_reason" => {
                choice.insert(name.clone(), value.clone());
            }
            _ => merge(choice.entry(name).or_insert(Value::Null), value),
        }
    }
}

/// Adds a piece to what is known.
fn merge(known: &mut Value, piece: &Value) {
    match (known, piece) {
        (_, Value::Null) => {}
        (Value::String(text), Value::String(more)) => text.push_str(more),
        (Value::Array(list), Value::Array(more)) => {
            for element in more {
                merge_element(list, element);
            }
        }
        (Value::Object(object), Value::Object(more)) => merge_members(object, more),
        (known, Value::Array(more)) => {
            let mut list = Vec::new();
            for element in more {
                merge_element(&mut list, element);
            }
            *known = list.into();
        }
        (known, piece) => *known = piece.clone(),
    }
}

fn merge_members(object: &mut Map<String, Value>, more: &Map<String, Value>) {
    for (name, piece) in more.iter().filter(|(name, _)| *name != "index") {
        let known = object.entry(name).or_insert(Value::Null);
        match (&*known, piece) {
            (Value::String(text), Value::String(_)) if NAMES.contains(&name.as_str()) && !text.is_empty() => {}
            _ => merge(known, piece),
        }
    }
}

/// Elements with an index are pieces of the element at that place; others are whole.
fn merge_element(list: &mut Vec<Value>, element: &Value) {
    let Some(index) = element.get("index").and_then(Value::as_u64).and_then(|index| usize::try_from(index).ok()) else {
        list.push(element.clone());
        return;
    };
    // Places come in order; one far beyond the end is a mistake, and gets the next.
    let at = index.min(list.len());
    if at == list.len() {
        list.push(Map::new().into());
    }
    merge(&mut list[at], element);
}
