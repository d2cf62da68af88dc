//! A stream as the response that it builds up. The last event has all of it.

use serde_json::{Map, Value};

/// The response; `None` if the stream did not come to its end, or failed.
pub(super) fn collect(events: &[Value]) -> Option<Value> {
    let kind = |event: &Value| event["type"].as_str().unwrap_or_default().to_owned();
    let end = events.iter().rfind(|event| matches!(&*kind(event), "response.completed" | "response.incomplete"))?;
    let mut response: Map<String, Value> = end["response"].as_object()?.clone();
    // Compatible servers leave the output to the events before.
    if response.get("output").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        let done = events.iter().filter(|event| kind(event) == "response.output_item.done");
        let mut items: Vec<(u64, Value)> =
            done.map(|event| (event["output_index"].as_u64().unwrap_or(u64::MAX), event["item"].clone())).collect();
        items.sort_by_key(|(index, _)| *index);
        let items = items.into_iter().map(|(_, item)| item).collect::<Vec<_>>();
        response.insert("output".to_owned(), items.into());
    }
    Some(response.into())
}
