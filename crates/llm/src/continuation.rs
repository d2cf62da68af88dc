//! Going on with a streamed answer of `anthropic-messages` that broke off: what was said of it, how another provider is
//! asked for the rest, and both streams as one.
//!
//! Only text can be gone on with. A thought is signed by who had it, and half of a tool's input is not one.

use bytes::{BufMut, Bytes, BytesMut};
use serde_json::{Value, json};

use crate::format::Format;
use crate::request::InferenceRequest;

impl InferenceRequest {
    /// The same request with the beginning of its answer, for a provider that is to go on with it. `None` where that is not
    /// possible: in other formats, and where the model is to think first.
    pub fn going_on(&self, said: &str) -> Option<Self> {
        if self.format != Format::AnthropicMessages || self.thinking {
            return None;
        }
        // A request may not end with blanks.
        let said = said.trim_end();
        if said.is_empty() {
            return Some(self.clone());
        }
        let message = json!({"role": "assistant", "content": said}).to_string();
        let end = self.layout.messages.end.checked_sub(1)?;
        let mut body = BytesMut::with_capacity(self.body().len() + message.len() + 1);
        body.put_slice(&self.body()[..end]);
        body.put_u8(b',');
        body.put_slice(message.as_bytes());
        body.put_slice(&self.body()[end..]);
        Self::parse(self.format, body.freeze()).ok()
    }
}

/// A streamed answer of `anthropic-messages` as its caller gets it, event by event, of one provider or of several that go on
/// with each other.
#[derive(Debug, Default)]
pub struct ContinuedStream {
    /// The beginning of an event of which the rest has not come.
    rest: Vec<u8>,
    /// The text that was said.
    said: String,
    /// The block that is being said, as the caller counts.
    open: Option<u64>,
    /// How many blocks the caller has seen the beginning of.
    blocks: u64,
    has_begun: bool,
    /// Something was said that cannot be gone on with, or the answer is over.
    is_fixed: bool,
    /// The provider says that it failed, which the caller has not been told.
    error: Option<Bytes>,
    /// The stream goes on with one before it.
    joint: Option<Joint>,
}

/// Where two streams join.
#[derive(Debug)]
struct Joint {
    /// The blanks that the caller has and the provider was not told of: it may say them again.
    blanks: String,
    /// What is added to the provider's count of blocks; known from its first block on.
    shift: Option<u64>,
    /// Tokens that were said before.
    tokens: u64,
}

impl ContinuedStream {
    /// The most of an event that is held back until it is whole.
    const LONGEST_EVENT: usize = 4 * 1024 * 1024;

    /// Takes a piece from the provider and gives the events that are whole with it.
    pub fn feed(&mut self, piece: &[u8]) -> Bytes {
        let mut rest = std::mem::take(&mut self.rest);
        // What is there was looked through, but for the beginning of a blank line.
        let mut from = rest.len().saturating_sub(3);
        rest.extend_from_slice(piece);
        let mut given = Vec::with_capacity(rest.len());
        let mut start = 0;
        while let Some(end) = event_end(&rest, from) {
            self.event(&rest[start..end], &mut given);
            (start, from) = (end, end);
        }
        if rest.len() - start > Self::LONGEST_EVENT {
            // Whoever sends such an event is not gone on with.
            self.is_fixed = true;
            given.extend_from_slice(&rest[start..]);
            start = rest.len();
        }
        rest.drain(..start);
        self.rest = rest;
        given.into()
    }

    /// The text that was said, if another provider can go on with it; it may be empty.
    pub fn said(&self) -> Option<&str> {
        (self.has_begun && !self.is_fixed).then_some(self.said.as_str())
    }

    /// Whether the provider said that it failed. It is not passed on.
    pub fn has_error(&self) -> bool {
        self.error.is_some()
    }

    /// What it said of that, for a caller whose answer nobody goes on with.
    pub fn take_error(&mut self) -> Option<Bytes> {
        self.error.take()
    }

    /// What is fed from now on is another provider's, who was told what was [said](Self::said).
    pub fn goes_on(&mut self) {
        self.rest.clear();
        self.error = None;
        let blanks = self.said[self.said.trim_end().len()..].to_owned();
        let tokens = (self.said.len() as u64).div_ceil(4);
        self.joint = Some(Joint { blanks, shift: None, tokens });
    }

    /// What is left when the provider has ended its stream.
    pub fn finish(&mut self) -> Bytes {
        std::mem::take(&mut self.rest).into()
    }

    fn event(&mut self, event: &[u8], given: &mut Vec<u8>) {
        let Some(mut data) = data_of(event) else { return given.extend_from_slice(event) };
        let kind = data["type"].as_str().unwrap_or_default().to_owned();
        if kind == "error" {
            self.error = Some(Bytes::copy_from_slice(event));
            return;
        }
        let is_text = match kind.as_str() {
            "content_block_start" => data["content_block"]["type"] == "text",
            "content_block_delta" => data["delta"]["type"] == "text_delta",
            _ => true,
        };
        if self.joint.is_some() && !self.join(&kind, is_text, &mut data, given) {
            return;
        }
        match kind.as_str() {
            "message_start" => self.has_begun = true,
            "content_block_start" => {
                self.open = data["index"].as_u64();
                self.blocks = self.blocks.max(self.open.map_or(0, |index| index + 1));
                self.said.push_str(data["content_block"]["text"].as_str().unwrap_or_default());
            }
            "content_block_delta" => self.said.push_str(data["delta"]["text"].as_str().unwrap_or_default()),
            "content_block_stop" => self.open = None,
            "ping" => {}
            // The model said why it stopped, or something that is not known here.
            _ => self.is_fixed = true,
        }
        self.is_fixed |= !is_text;
        if self.joint.is_some() {
            write_event(&kind, &data, given);
        } else {
            given.extend_from_slice(event);
        }
    }

    /// Fits an event of the provider that goes on to what the caller has. False if the caller has it already.
    fn join(&mut self, kind: &str, is_text: bool, data: &mut Value, given: &mut Vec<u8>) -> bool {
        let Some(joint) = &mut self.joint else { return true };
        match kind {
            "message_start" => return false,
            "content_block_start" if joint.shift.is_none() => {
                if let Some(open) = self.open.filter(|_| is_text) {
                    // It goes on within the block that the caller has open.
                    joint.shift = Some(open);
                    let text = strip(&mut joint.blanks, data["content_block"]["text"].as_str().unwrap_or_default());
                    if !text.is_empty() {
                        let delta = json!({"type": "content_block_delta", "index": open,
                            "delta": {"type": "text_delta", "text": text}});
                        write_event("content_block_delta", &delta, given);
                        self.said.push_str(&text);
                    }
                    return false;
                }
                joint.shift = Some(self.blocks);
                if let Some(open) = self.open.take() {
                    let stop = json!({"type": "content_block_stop", "index": open});
                    write_event("content_block_stop", &stop, given);
                }
            }
            "content_block_delta" if is_text && !joint.blanks.is_empty() => {
                let text = strip(&mut joint.blanks, data["delta"]["text"].as_str().unwrap_or_default());
                data["delta"]["text"] = text.into();
            }
            "message_delta" => {
                if let Some(counted) = data["usage"]["output_tokens"].as_u64() {
                    data["usage"]["output_tokens"] = counted.saturating_add(joint.tokens).into();
                }
            }
            _ => {}
        }
        if kind.starts_with("content_block_")
            && let (Some(index), Some(shift)) = (data["index"].as_u64(), joint.shift)
        {
            data["index"] = index.saturating_add(shift).into();
        }
        true
    }
}

/// A text without the blanks it begins with that were said before.
fn strip(blanks: &mut String, text: &str) -> String {
    let same = blanks.chars().zip(text.chars()).take_while(|(a, b)| a == b).map(|(a, _)| a.len_utf8()).sum::<usize>();
    // As soon as it says something else, nothing more is repeated.
    *blanks = if same == text.len() { blanks.split_off(same) } else { String::new() };
    text[same..].to_owned()
}

/// Where the first event ends, with the blank line that ends it; looks for that from `from` on.
fn event_end(bytes: &[u8], from: usize) -> Option<usize> {
    (from..bytes.len()).find_map(|at| {
        let blank = [&b"\n\n"[..], b"\r\n\r\n", b"\r\r"].into_iter().find(|blank| bytes[at..].starts_with(blank))?;
        Some(at + blank.len())
    })
}

/// What an event says, if it is JSON.
fn data_of(event: &[u8]) -> Option<Value> {
    let text = std::str::from_utf8(event).ok()?;
    let data: Vec<&str> = text
        .split(['\n', '\r'])
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|data| data.strip_prefix(' ').unwrap_or(data))
        .collect();
    serde_json::from_str(&data.join("\n")).ok()
}

fn write_event(kind: &str, data: &Value, given: &mut Vec<u8>) {
    given.extend_from_slice(format!("event: {kind}\ndata: {data}\n\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(data: &Value) -> String {
        let mut written = Vec::new();
        write_event(data["type"].as_str().expect("a type"), data, &mut written);
        String::from_utf8(written).expect("text")
    }

    fn start(index: u64, block: &Value) -> String {
        event(&json!({"type": "content_block_start", "index": index, "content_block": block}))
    }

    fn text(index: u64, text: &str) -> String {
        event(&json!({"type": "content_block_delta", "index": index, "delta": {"type": "text_delta", "text": text}}))
    }

    fn stop(index: u64) -> String {
        event(&json!({"type": "content_block_stop", "index": index}))
    }

    fn opening() -> String {
        event(&json!({"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 3}}}))
    }

    fn ending(tokens: u64) -> String {
        event(
            &json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": tokens}}),
        ) + &event(&json!({"type": "message_stop"}))
    }

    fn empty_text() -> Value {
        json!({"type": "text", "text": ""})
    }

    /// The text a caller reads, and the indexes of the blocks it is in.
    fn read(stream: &str) -> (String, Vec<u64>) {
        let (mut said, mut indexes) = (String::new(), Vec::new());
        for event in stream.split_inclusive("\n\n") {
            let data = data_of(event.as_bytes()).expect("JSON");
            match data["type"].as_str().expect("a type") {
                "content_block_start" => indexes.push(data["index"].as_u64().expect("a number")),
                "content_block_delta" => said.push_str(data["delta"]["text"].as_str().unwrap_or_default()),
                _ => {}
            }
        }
        (said, indexes)
    }

    #[test]
    fn two_streams_are_one_wherever_the_first_is_cut() {
        let first = opening() + &start(0, &empty_text()) + &text(0, "Once upon ") + &text(0, "a time ");
        let second =
            opening() + &start(0, &empty_text()) + &text(0, " there") + &text(0, " was") + &stop(0) + &ending(2);
        for cut in opening().len()..=first.len() {
            let mut stream = ContinuedStream::default();
            let mut given = String::from_utf8(stream.feed(&first.as_bytes()[..cut]).to_vec()).expect("text");
            assert!(given.is_empty() || given.ends_with("\n\n"), "events are given whole: {given}");
            let said = stream.said().expect("only text was said").to_owned();
            assert_eq!(said, read(&given).0, "what the caller has");
            stream.goes_on();
            for piece in second.as_bytes().chunks(7) {
                given.push_str(std::str::from_utf8(&stream.feed(piece)).expect("text"));
            }
            given.push_str(std::str::from_utf8(&stream.finish()).expect("text"));
            let (read, indexes) = read(&given);
            let joined = if said.ends_with(' ') { format!("{said}there was") } else { format!("{said} there was") };
            assert_eq!((read.as_str(), indexes.as_slice()), (joined.as_str(), &[0][..]), "{cut}");
            assert_eq!(given.matches("message_start").count(), 2, "one event, named twice in it");
            let tokens = 2 + said.len().div_ceil(4);
            assert!(given.contains(&format!(r#""output_tokens":{tokens}"#)), "{given}");
            assert_eq!(stream.said(), None, "it is over");
        }
    }

    #[test]
    fn what_follows_may_be_another_block() {
        let mut stream = ContinuedStream::default();
        stream.feed((opening() + &start(0, &empty_text()) + &text(0, "Let me look.")).as_bytes());
        stream.goes_on();
        let tool = json!({"type": "tool_use", "id": "t", "name": "look", "input": {}});
        let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": "{}"}});
        let given = stream.feed((opening() + &start(0, &tool) + &event(&delta) + &stop(0)).as_bytes());
        let given = String::from_utf8(given.to_vec()).expect("text");
        let shown: Vec<_> = given
            .split_inclusive("\n\n")
            .map(|event| data_of(event.as_bytes()).expect("JSON"))
            .map(|data| (data["type"].as_str().expect("a type").to_owned(), data["index"].as_u64().expect("an index")))
            .collect();
        let expected = [("stop", 0), ("start", 1), ("delta", 1), ("stop", 1)];
        assert_eq!(shown, expected.map(|(kind, index)| (format!("content_block_{kind}"), index)));
        assert_eq!(stream.said(), None, "now there is a tool call");
    }

    #[test]
    fn only_text_can_be_gone_on_with() {
        for (events, expected) in [
            (String::new(), None),
            (opening(), Some("")),
            (opening() + &start(0, &json!({"type": "thinking", "thinking": ""})), None),
            (opening() + &start(0, &json!({"type": "tool_use", "id": "t", "name": "n", "input": {}})), None),
            (opening() + &start(0, &empty_text()) + &text(0, "a") + &stop(0), Some("a")),
            (opening() + &start(0, &empty_text()) + &text(0, "a") + &stop(0) + &ending(1), None),
        ] {
            let mut stream = ContinuedStream::default();
            let given = stream.feed(events.as_bytes());
            assert_eq!(given, events.as_bytes(), "it passes as it is");
            assert_eq!(stream.said(), expected, "{events}");
            let error = event(&json!({"type": "error", "error": {"type": "overloaded_error", "message": "no"}}));
            assert!(stream.feed(error.as_bytes()).is_empty() && stream.has_error(), "the caller need not know yet");
            assert_eq!(stream.said(), expected, "{events}");
            assert_eq!(stream.take_error().as_deref(), Some(error.as_bytes()));
        }
    }

    #[test]
    fn the_answer_s_beginning_is_the_last_message() {
        let parse = |body: &str| {
            InferenceRequest::parse(Format::AnthropicMessages, Bytes::from(body.to_owned())).expect("a request")
        };
        let body = r#"{"model":"m","max_tokens":9,"messages": [{"role":"user","content":"Hi"} ], "x": [1.50]}"#;
        let asked = parse(body);
        let on = asked.going_on("\"Hello\n there \n").expect("it can be asked");
        let expected = body.replace(" ], ", r#" ,{"role":"assistant","content":"\"Hello\n there"}], "#);
        assert_eq!(on.body(), expected.as_bytes());
        assert_eq!((on.message_count, on.conversation_key), (2, asked.conversation_key));
        assert_eq!(asked.going_on(" ").expect("it can be asked").body(), body.as_bytes(), "nothing was said");
        let thinking =
            body.replace("\"max_tokens\":9", r#""max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1024}"#);
        assert!(parse(&thinking).going_on("Hello").is_none());
    }
}
