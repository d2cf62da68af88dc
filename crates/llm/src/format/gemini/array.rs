//! A stream for a caller that did not ask for `alt=sse`: one JSON array, element by element.

use crate::sse::SseParser;

/// A longer event is left out.
const EVENT_LIMIT: usize = 16 * 1024 * 1024;

/// Turns a `gemini` stream of events into the JSON array that Google's API gives where `alt=sse` is not asked for.
#[derive(Debug)]
pub struct JsonArray {
    events: SseParser,
    begun: bool,
}

impl JsonArray {
    /// At the start of a stream.
    pub fn new() -> Self {
        Self { events: SseParser::new(EVENT_LIMIT), begun: false }
    }

    /// Takes the next bytes of the stream, and gives those of the array.
    pub fn feed(&mut self, chunk: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let Self { events, begun } = self;
        events.feed(chunk, |data| push(begun, data, &mut out));
        out
    }

    /// Ends the array.
    pub fn finish(self) -> Vec<u8> {
        let mut out = Vec::new();
        let Self { mut events, mut begun } = self;
        events.finish(|data| push(&mut begun, data, &mut out));
        out.extend_from_slice(if begun { b"]" } else { b"[]" });
        out
    }
}

impl Default for JsonArray {
    fn default() -> Self {
        Self::new()
    }
}

fn push(begun: &mut bool, data: &[u8], out: &mut Vec<u8>) {
    // What is no object has no place in it.
    if data.trim_ascii_start().starts_with(b"{") {
        out.extend_from_slice(if std::mem::replace(begun, true) { b",\r\n" } else { b"[" });
        out.extend_from_slice(data);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_event_is_an_element_wherever_the_stream_is_cut() {
        let stream = "data: {\"a\":1}\r\n\r\n\r\n\r\ndata: {\"b\":\ndata: 2}\n\n: x\n\ndata: [DONE]\n\n{\"error\":{\"code\":502}}\n";
        for (stream, expected) in [(stream, json!([{"a": 1}, {"b": 2}, {"error": {"code": 502}}])), ("", json!([]))] {
            for size in [1, 3, 1000] {
                let mut array = JsonArray::new();
                let mut out = Vec::new();
                for piece in stream.as_bytes().chunks(size) {
                    out.extend(array.feed(piece));
                }
                out.extend(array.finish());
                assert_eq!(serde_json::from_slice::<Value>(&out).ok(), Some(expected.clone()));
            }
        }
    }
}
