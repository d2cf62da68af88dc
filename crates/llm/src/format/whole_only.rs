//! What formats share that know neither streams nor conversations: images and embeddings.

use serde_json::Value;

use crate::answer::reading::{Reading, is_error};
use crate::demo::answer::DemoAnswer;
use crate::demo::stream::DemoEvent;

/// There are no streams, but errors may come as one.
pub(super) fn event(answer: &mut Reading, data: &[u8]) {
    let [error] = answer.pick(data, ["error"]);
    if let Some(error) = error.filter(|error| is_error(error)) {
        answer.error(error);
    }
}

/// A stream is never put together, because there is none.
pub(super) fn no_collection(_: &[Value]) -> Option<Value> {
    None
}

/// An answer never becomes a stream.
pub(super) fn no_events(_: &Value, _: bool) -> Option<Vec<u8>> {
    None
}

/// The demo model talks. It embeds texts elsewhere ([`demo::embeddings`](crate::demo::embeddings)), and draws nothing.
pub(super) fn no_demo(_: &DemoAnswer, _: &str, _: i64) -> Vec<u8> {
    Vec::new()
}

/// Nor does it do so in pieces.
pub(super) fn no_demo_events(_: &DemoAnswer, _: &str, _: i64) -> Vec<DemoEvent> {
    Vec::new()
}
