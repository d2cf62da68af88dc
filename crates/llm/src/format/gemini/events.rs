//! A whole answer as a stream: one event, because a chunk may say all there is.

use serde_json::Value;

/// The event; `None` if this is no answer.
pub(super) fn events(answer: &Value, _: bool) -> Option<Vec<u8>> {
    let is_answer = answer["candidates"].is_array() || answer["promptFeedback"].is_object();
    is_answer.then(|| event(answer))
}

/// An event with this data. Lines end as Google's do, so that a reader of one kind of line ends finds all of them.
pub(super) fn event(data: &Value) -> Vec<u8> {
    format!("data: {data}\r\n\r\n").into_bytes()
}
