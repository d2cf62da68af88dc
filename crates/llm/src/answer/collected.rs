//! A stream for a caller that asked for a whole answer.

use serde_json::Value;
use systemprompt_model::json::loose;

use super::reading::Reading;
use crate::error::ErrorAnswer;
use crate::format::Format;
use crate::sse::SseParser;

/// A longer stream takes too much memory to be put together.
const LIMIT: usize = 8 * 1024 * 1024;

impl Format {
    /// Puts a whole stream together into the body of a buffered answer. `None` if something in it has no place there, or
    /// is no JSON, or it is longer than 8 MiB: then the stream itself is the best there is to give.
    pub fn collect_stream(self, stream: &[u8]) -> Option<Vec<u8>> {
        if stream.len() > LIMIT {
            return None;
        }
        let mut parser = SseParser::new(stream.len());
        let mut events = Vec::new();
        let mut all_read = true;
        // A word like `[DONE]` says nothing.
        let mut add = |data: &[u8]| match serde_json::from_slice(data) {
            Ok(event @ Value::Object(_)) => events.push(event),
            _ => all_read &= !loose::is_structure(data) || data.trim_ascii() == b"[DONE]",
        };
        parser.feed(stream, &mut add);
        parser.finish(&mut add);
        let message = (self.definition().collect)(&events).filter(|_| all_read)?;
        serde_json::to_vec(&message).ok()
    }

    /// The first event of a stream that reports an error, without what makes an event of it: a body with the error.
    pub fn error_in_stream(self, stream: &[u8]) -> Option<Vec<u8>> {
        let mut found = None;
        let mut look = |data: &[u8]| {
            if found.is_none() {
                let mut reading = Reading::new(0, 0);
                reading.read(self.definition().answer_event, data);
                found = reading.error.map(|error| {
                    let [kind, inside] = loose::pick(data, ["type", "error"]);
                    let is_event =
                        kind.and_then(loose::text).is_some_and(|kind| kind.starts_with("response.") || kind == "error");
                    if is_event && inside.is_none_or(|inside| !inside.starts_with(b"{")) {
                        let error = ErrorAnswer::of_upstream(error.http_status(), &error);
                        return error.body(self, None);
                    }
                    data.to_vec()
                });
            }
        };
        let mut parser = SseParser::new(LIMIT);
        parser.feed(stream, &mut look);
        parser.finish(&mut look);
        found
    }
}
