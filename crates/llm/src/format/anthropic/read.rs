//! Reading a provider's answers into neutral words.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;
use systemprompt_model::json::loose;

use super::answer::stop_reason;
use super::usage::usage;
use crate::answer::reading::{Reading, is_error, unwrapped};
use crate::answer::summary::{StopReason, Usage};
use crate::format::Format;
use crate::neutral::codec::ReadStream;
use crate::neutral::sequence::Sequence;
use crate::neutral::{Answer, Citation, Delta, Event, Json, PartStart, Signature};

/// More blocks than this no answer has.
const MOST_BLOCKS: usize = 100_000;

/// Reads a whole answer.
pub(super) fn read_answer(body: &[u8]) -> Option<Answer> {
    let body = unwrapped(body);
    let mut stream = Stream::new();
    let mut events = Vec::new();
    let [id, model, content, reason, sequence, usage, details, error, kind, object, message] = stream.reading.pick(
        body,
        [
            "id",
            "model",
            "content",
            "stop_reason",
            "stop_sequence",
            "usage",
            "stop_details",
            "error",
            "type",
            "object",
            "message",
        ],
    );
    let says_error = |word: Option<&[u8]>| word.and_then(loose::text).is_some_and(|word| word == "error");
    let error = error.filter(|error| is_error(error));
    let is_bare =
        says_error(kind) || says_error(object) || content.is_none() && message.and_then(loose::text).is_some();
    if let Some(error) = error.or(is_bare.then_some(body)) {
        stream.error(error, &mut events);
        return Some(Answer::of_events(events));
    }
    let content = content.filter(|content| content.starts_with(b"["))?;
    stream.begin(id, model, &mut events);
    stream.usage(usage, &mut events);
    for (index, block) in loose::elements(content, MOST_BLOCKS).into_iter().enumerate() {
        stream.block_start(index as u64, block, true, &mut events);
        stream.block_stop(index as u64, &mut events);
    }
    stream.stopped(reason, sequence, details, &mut events);
    stream.end(&mut events);
    let mut answer = Answer::of_events(events);
    answer.complete = loose::is_whole(body);
    Some(answer)
}

/// Reads a stream.
pub(super) fn read_stream() -> Box<dyn ReadStream> {
    Box::new(Stream::new())
}

struct Stream {
    reading: Reading,
    /// What was told of usage.
    told: Usage,
    begun: bool,
    sequence: Sequence,
    /// Blocks that are told whole, at their end.
    held: BTreeMap<u64, Held>,
    calls: bool,
    stop: Option<(StopReason, Option<String>)>,
    ended: bool,
}

/// A block that is told at its end.
struct Held {
    block: Value,
    /// The input as it comes in pieces.
    input: String,
    /// It is a call of the caller's tools, and not one only this format knows: all that is held is its input.
    is_call: bool,
}

impl Stream {
    fn new() -> Self {
        Self {
            reading: Reading::new(0, 0),
            told: Usage::default(),
            begun: false,
            sequence: Sequence::default(),
            held: BTreeMap::new(),
            calls: false,
            stop: None,
            ended: false,
        }
    }

    fn begin(&mut self, id: Option<&[u8]>, model: Option<&[u8]>, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.begun, true) {
            let text = |value: Option<&[u8]>| value.and_then(loose::text).map(Cow::into_owned);
            events.push(Event::Start { id: text(id), model: text(model) });
        }
    }

    fn usage(&mut self, value: Option<&[u8]>, events: &mut Vec<Event>) {
        usage(&mut self.reading, value);
        if self.reading.usage != self.told {
            self.told = self.reading.usage;
            events.push(Event::Usage(self.told));
        }
        events.extend(self.reading.new_service_tier().map(Event::ServiceTier));
    }

    fn error(&mut self, error: &[u8], events: &mut Vec<Event>) {
        self.reading.error(error);
        events.extend(self.reading.error.clone().map(Event::Error));
        self.ended = true;
    }

    fn block_start(&mut self, index: u64, block: &[u8], whole: bool, events: &mut Vec<Event>) {
        let [kind, text, thinking, signature, data, id, name, input, citations] = self
            .reading
            .pick(block, ["type", "text", "thinking", "signature", "data", "id", "name", "input", "citations"]);
        let words = |value: Option<&[u8]>| value.and_then(loose::text).map(Cow::into_owned).unwrap_or_default();
        let kind = words(kind);
        match kind.as_str() {
            "text" => {
                self.sequence.start(index, PartStart::Text, events);
                self.text(index, text, events);
                for citation in citations.map(|citations| loose::elements(citations, MOST_BLOCKS)).unwrap_or_default() {
                    self.citation(index, citation, events);
                }
            }
            "thinking" => {
                self.sequence.start(index, PartStart::Thinking { redacted: false }, events);
                self.text(index, thinking, events);
                self.signature(index, signature, events);
            }
            "redacted_thinking" => {
                self.sequence.start(index, PartStart::Thinking { redacted: true }, events);
                self.signature(index, data, events);
            }
            "tool_use" => {
                self.calls = true;
                let (id, signature) = crate::format::ids::heard(&words(id));
                self.sequence.start(index, PartStart::ToolCall { id, name: words(name), custom: false }, events);
                if let Some(signature) = signature {
                    self.sequence.delta(index, Delta::Signature(signature), events);
                }
                // A stream begins with an empty input, and most go on with its pieces. Some have it whole at once.
                let input = input.filter(|input| whole || *input != b"{}").map(|input| String::from_utf8_lossy(input));
                if let Some(input) = input {
                    self.hold(index, Value::Null, input.into_owned(), true);
                }
            }
            _ => {
                if let Ok(block @ Value::Object(_)) = serde_json::from_slice(block) {
                    self.hold(index, block, String::new(), false);
                }
            }
        }
    }

    fn hold(&mut self, index: u64, block: Value, input: String, is_call: bool) {
        self.held.insert(index, Held { block, input, is_call });
    }

    fn text(&mut self, index: u64, text: Option<&[u8]>, events: &mut Vec<Event>) {
        if let Some(text) = text.and_then(loose::text).filter(|text| !text.is_empty()) {
            self.sequence.delta(index, Delta::Text(text.into_owned()), events);
        }
    }

    fn signature(&mut self, index: u64, signature: Option<&[u8]>, events: &mut Vec<Event>) {
        if let Some(data) = signature.and_then(loose::text).filter(|data| !data.is_empty()) {
            let signature = Signature { by: Format::AnthropicMessages, id: None, data: data.into_owned() };
            self.sequence.delta(index, Delta::Signature(signature), events);
        }
    }

    fn citation(&mut self, index: u64, citation: &[u8], events: &mut Vec<Event>) {
        let [url, source, title, document, cited] =
            self.reading.pick(citation, ["url", "source", "title", "document_title", "cited_text"]);
        let text = |value: Option<&[u8]>| value.and_then(loose::text).map(Cow::into_owned);
        let citation = Citation {
            uri: text(url).or(text(source)),
            title: text(title).or(text(document)),
            snippet: text(cited),
            span: None,
        };
        self.sequence.delta(index, Delta::Citation(citation), events);
    }

    fn block_delta(&mut self, index: u64, delta: &[u8], events: &mut Vec<Event>) {
        let [kind, text, thinking, input, signature, citation] =
            self.reading.pick(delta, ["type", "text", "thinking", "partial_json", "signature", "citation"]);
        match kind.and_then(loose::text).as_deref() {
            Some("text_delta") => self.text(index, text, events),
            Some("thinking_delta") => self.text(index, thinking, events),
            Some("signature_delta") => self.signature(index, signature, events),
            Some("citations_delta") => {
                if let Some(citation) = citation {
                    self.citation(index, citation, events);
                }
            }
            Some("input_json_delta") => {
                let Some(piece) = input.and_then(loose::text).filter(|piece| !piece.is_empty()) else { return };
                match self.held.get_mut(&index) {
                    Some(held) if !held.is_call => held.input.push_str(&piece),
                    // The pieces are what counts.
                    _ => {
                        self.held.remove(&index);
                        self.sequence.delta(index, Delta::Text(piece.into_owned()), events);
                    }
                }
            }
            _ => {}
        }
    }

    fn block_stop(&mut self, index: u64, events: &mut Vec<Event>) {
        if let Some(held) = self.held.remove(&index) {
            self.release(index, held, events);
        }
        self.sequence.stop(index, events);
    }

    fn release(&mut self, index: u64, held: Held, events: &mut Vec<Event>) {
        let Held { mut block, input, is_call } = held;
        if is_call {
            self.sequence.delta(index, Delta::Text(input), events);
            return;
        }
        if let Ok(input) = serde_json::from_str::<Value>(&input) {
            block["input"] = input;
        }
        self.sequence.start(index, PartStart::Native(Format::AnthropicMessages, Json::of(&block)), events);
    }

    fn stopped(
        &mut self,
        reason: Option<&[u8]>,
        sequence: Option<&[u8]>,
        details: Option<&[u8]>,
        events: &mut Vec<Event>,
    ) {
        let text = |value: Option<&[u8]>| value.and_then(loose::text).map(Cow::into_owned);
        let Some(word) = text(reason).filter(|word| !word.is_empty() && word != "null") else { return };
        self.close(events);
        self.stop = Some((stop_reason(&word), text(sequence)));
        let [explanation] = details.map_or([None], |details| self.reading.pick(details, ["explanation"]));
        if let Some(explanation) = text(explanation).filter(|words| word == "refusal" && !words.is_empty()) {
            events.push(Event::PartStart(PartStart::Refusal));
            events.push(Event::Delta(Delta::Text(explanation)));
            events.push(Event::PartStop);
        }
    }

    /// Closes what is open.
    fn close(&mut self, events: &mut Vec<Event>) {
        for (index, held) in std::mem::take(&mut self.held) {
            self.release(index, held, events);
        }
        self.sequence.stop_all(events);
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.close(events);
        let (reason, sequence) = self.stop.take().unwrap_or((StopReason::EndTurn, None));
        // Some servers do not say that they stopped for a call.
        let reason = if self.calls && reason == StopReason::EndTurn { StopReason::ToolUse } else { reason };
        events.push(Event::Stop { reason, sequence });
        events.push(Event::End);
    }
}

impl ReadStream for Stream {
    fn read(&mut self, data: &[u8], events: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        let [kind, index, delta, message, block, usage, error, object] =
            self.reading.pick(data, ["type", "index", "delta", "message", "content_block", "usage", "error", "object"]);
        let index = index.and_then(loose::count).unwrap_or(0);
        match kind.and_then(loose::text).as_deref() {
            Some("message_start") => {
                let Some(message) = message else { return };
                let [id, model, usage] = self.reading.pick(message, ["id", "model", "usage"]);
                self.begin(id, model, events);
                self.usage(usage, events);
            }
            Some("content_block_start") => {
                if let Some(block) = block {
                    self.begin(None, None, events);
                    self.block_start(index, block, false, events);
                }
            }
            Some("content_block_delta") => {
                if let Some(delta) = delta {
                    self.block_delta(index, delta, events);
                }
            }
            Some("content_block_stop") => self.block_stop(index, events),
            Some("message_delta") => {
                self.begin(None, None, events);
                self.usage(usage, events);
                if let Some(delta) = delta {
                    let [reason, sequence, details] =
                        self.reading.pick(delta, ["stop_reason", "stop_sequence", "stop_details"]);
                    self.stopped(reason, sequence, details, events);
                }
            }
            Some("message_stop") => {
                self.begin(None, None, events);
                self.end(events);
            }
            Some("error") => self.error(error.unwrap_or(data), events),
            // `ping`, and events that were added since. Proxies report errors without a type.
            kind => {
                let is_bare = object.and_then(loose::text).is_some_and(|object| object == "error")
                    || kind.is_none() && message.and_then(loose::text).is_some();
                if let Some(error) = error.filter(|error| is_error(error)) {
                    self.error(error, events);
                } else if is_bare {
                    self.error(data, events);
                }
            }
        }
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        if self.stop.is_some() {
            self.end(events);
        }
    }
}
