//! A stream for a caller that asked for a whole answer.

use serde_json::Value;
use systemprompt_model::json::loose;

use crate::format::Format;
use crate::sse::SseParser;

impl Format {
    /// Puts a whole stream together into the body of a buffered answer. `None` if something in it has no place there, or
    /// is no JSON: then the stream itself is the best there is to give.
    pub fn collect_stream(self, stream: &[u8]) -> Option<Vec<u8>> {
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
}
