//! A response as the stream of events that builds it up: what `collect` does, the other way round.

use serde_json::{Map, Value, json};

use super::stream::{Events, Item};

/// The events; `None` if this is no response that came to its end.
pub(super) fn events(response: &Value, _: bool) -> Option<Vec<u8>> {
    let whole = response.as_object()?;
    let items = whole.get("output")?.as_array()?;
    if !matches!(whole.get("status").and_then(Value::as_str), None | Some("completed" | "incomplete" | "failed")) {
        return None;
    }
    let mut events = Events::default();
    events.begin(&begun(whole));
    for (index, item) in (0..).zip(items) {
        self::item(&mut events, index, item.as_object()?);
    }
    events.end(response["status"].as_str().unwrap_or_default(), response);
    Some(events.take())
}

/// The response before anything was said.
fn begun(whole: &Map<String, Value>) -> Value {
    let mut begun = whole.clone();
    begun.insert("status".to_owned(), "in_progress".into());
    begun.insert("output".to_owned(), json!([]));
    for later in ["usage", "error", "incomplete_details", "completed_at", "tool_usage"] {
        if let Some(value) = begun.get_mut(later) {
            *value = Value::Null;
        }
    }
    begun.into()
}

fn item(events: &mut Events, index: u64, whole: &Map<String, Value>) {
    let text = |name: &str| whole.get(name).and_then(Value::as_str).unwrap_or_default();
    let list = |name: &str| whole.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let place = Item { index, id: text("id") };
    let mut begun = whole.clone();
    if let Some(status) = begun.get_mut("status") {
        *status = "in_progress".into();
    }
    let mut empty = |name: &str, nothing: Value| {
        if let Some(value) = begun.get_mut(name).filter(|value| !value.is_null()) {
            *value = nothing;
        }
    };
    match text("type") {
        "message" => empty("content", json!([])),
        "reasoning" => {
            empty("content", json!([]));
            empty("summary", json!([]));
        }
        "function_call" | "mcp_call" => empty("arguments", "".into()),
        "custom_tool_call" => empty("input", "".into()),
        _ => {}
    }
    events.item_added(index, &begun);
    for (at, part) in (0..).zip(list("summary")) {
        summary(events, place, at, part);
    }
    for (at, part) in (0..).zip(list("content")) {
        content(events, place, at, part);
    }
    let input = match text("type") {
        "function_call" => Some(("response.function_call_arguments", "arguments")),
        "mcp_call" => Some(("response.mcp_call_arguments", "arguments")),
        "custom_tool_call" => Some(("response.custom_tool_call_input", "input")),
        _ => None,
    };
    if let Some((kind, name)) = input {
        if !text(name).is_empty() {
            events.of_item(&format!("{kind}.delta"), place, json!({ "delta": text(name) }));
        }
        events.of_item(&format!("{kind}.done"), place, json!({ name: text(name) }));
    }
    events.item_done(index, whole);
}

fn summary(events: &mut Events, item: Item<'_>, at: u64, part: &Value) {
    let text = part["text"].as_str().unwrap_or_default();
    let mut begun = part.clone();
    begun["text"] = "".into();
    events.of_summary("response.reasoning_summary_part.added", item, at, json!({ "part": begun }));
    if !text.is_empty() {
        events.of_summary("response.reasoning_summary_text.delta", item, at, json!({ "delta": text }));
    }
    events.of_summary("response.reasoning_summary_text.done", item, at, json!({ "text": text }));
    events.of_summary("response.reasoning_summary_part.done", item, at, json!({ "part": part }));
}

fn content(events: &mut Events, item: Item<'_>, at: u64, part: &Value) {
    let (kind, name) = match part["type"].as_str() {
        Some("output_text") => ("response.output_text", "text"),
        Some("refusal") => ("response.refusal", "refusal"),
        Some("reasoning_text") => ("response.reasoning_text", "text"),
        _ => {
            events.part_added(item, at, part);
            return events.part_done(item, at, part);
        }
    };
    let text = part[name].as_str().unwrap_or_default();
    let logprobs = part.get("logprobs").cloned().unwrap_or_else(|| json!([]));
    let mut begun = part.clone();
    begun[name] = "".into();
    for list in ["annotations", "logprobs"] {
        if begun.get(list).is_some_and(Value::is_array) {
            begun[list] = json!([]);
        }
    }
    events.part_added(item, at, &begun);
    let said = |field: &str| {
        let mut data = json!({ field: text });
        if kind == "response.output_text" {
            data["logprobs"] = logprobs.clone();
        }
        data
    };
    if !text.is_empty() {
        events.of_part(&format!("{kind}.delta"), item, at, said("delta"));
    }
    for (number, annotation) in part["annotations"].as_array().into_iter().flatten().enumerate() {
        let data = json!({ "annotation": annotation, "annotation_index": number });
        events.of_part("response.output_text.annotation.added", item, at, data);
    }
    events.of_part(&format!("{kind}.done"), item, at, said(name));
    events.part_done(item, at, part);
}
