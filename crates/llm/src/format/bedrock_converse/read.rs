//! Reading a provider's answers into neutral words.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;
use systemprompt_model::json::loose;

use super::answer::stop_reason;
use super::exception::exception;
use super::usage::usage;
use super::{answer, events};
use crate::answer::reading::Reading;
use crate::answer::summary::{StopReason, UpstreamErrorSummary, Usage};
use crate::format::Format;
use crate::neutral::codec::ReadStream;
use crate::neutral::sequence::Sequence;
use crate::neutral::{Answer, Citation, Delta, Event, PartStart, Signature};
use crate::sse::SseParser;

/// Words for the end of an answer that cannot be used: the model did not do what it was asked to, and may when asked again.
const FAILURES: [&str; 2] = ["malformed_model_output", "malformed_tool_use"];

/// Reads a whole answer: as the stream that builds it up.
pub(super) fn read_answer(body: &[u8]) -> Option<Answer> {
    let Some(stream) = serde_json::from_slice(body).ok().and_then(|whole: Value| events::events(&whole, true)) else {
        let mut reading = Reading::new(0, 0);
        reading.read(answer::body, body);
        return reading.error.map(|error| Answer { error: Some(error), ..Answer::default() });
    };
    let mut reader = Stream::new();
    let mut found = Vec::new();
    let mut parser = SseParser::new(stream.len());
    parser.feed(&stream, |data| reader.read(data, &mut found));
    reader.finish(&mut found);
    let mut answer = Answer::of_events(found);
    answer.complete = answer.error.is_none();
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
    /// What the blocks that are open are.
    open: HashMap<u64, Open>,
    called: bool,
    stop: Option<(StopReason, Option<String>)>,
    ended: bool,
}

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Thinking,
    Redacted,
    Call,
}

impl Stream {
    fn new() -> Self {
        Self {
            reading: Reading::new(0, 0),
            told: Usage::default(),
            begun: false,
            sequence: Sequence::default(),
            open: HashMap::new(),
            called: false,
            stop: None,
            ended: false,
        }
    }

    fn begin(&mut self, found: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.begun, true) {
            found.push(Event::Start { id: None, model: None });
        }
    }

    fn block_start(&mut self, block: &[u8], found: &mut Vec<Event>) {
        let [index, start] = self.reading.pick(block, ["contentBlockIndex", "start"]);
        let [tool] = start.map_or([None], |start| self.reading.pick(start, ["toolUse"]));
        let Some(tool) = tool else { return };
        let [id, name] = self.reading.pick(tool, ["toolUseId", "name"]);
        let index = index.and_then(loose::count).unwrap_or(0);
        self.called = true;
        self.start(index, Open::Call, PartStart::ToolCall { id: words(id), name: words(name), custom: false }, found);
    }

    fn start(&mut self, index: u64, open: Open, start: PartStart, found: &mut Vec<Event>) {
        if self.open.insert(index, open).is_some() {
            self.sequence.stop(index, found);
        }
        self.sequence.start(index, start, found);
    }

    /// More of a block. Only calls are told to begin; others begin with their first piece.
    fn delta(&mut self, delta: &[u8], found: &mut Vec<Event>) {
        let [index, delta] = self.reading.pick(delta, ["contentBlockIndex", "delta"]);
        let index = index.and_then(loose::count).unwrap_or(0);
        let Some(delta) = delta else { return };
        let [text, tool, reasoning, citation] =
            self.reading.pick(delta, ["text", "toolUse", "reasoningContent", "citation"]);
        if let Some(text) = text.and_then(loose::text) {
            self.piece(index, Open::Text, PartStart::Text, Delta::Text(text.into_owned()), found);
        }
        if let Some(citation) = citation {
            let delta = Delta::Citation(self.citation(citation));
            self.piece(index, Open::Text, PartStart::Text, delta, found);
        }
        let [input] = tool.map_or([None], |tool| self.reading.pick(tool, ["input"]));
        if let Some(input) = input.and_then(loose::text).filter(|input| !input.is_empty())
            && self.open.get(&index) == Some(&Open::Call)
        {
            self.sequence.delta(index, Delta::Text(input.into_owned()), found);
        }
        let Some(reasoning) = reasoning else { return };
        let [text, signature, redacted] = self.reading.pick(reasoning, ["text", "signature", "redactedContent"]);
        let own = |data: Cow<'_, str>| {
            Delta::Signature(Signature { by: Format::BedrockConverse, id: None, data: data.into_owned() })
        };
        let thinking = PartStart::Thinking { redacted: false };
        if let Some(text) = text.and_then(loose::text) {
            self.piece(index, Open::Thinking, thinking.clone(), Delta::Text(text.into_owned()), found);
        }
        if let Some(signature) = signature.and_then(loose::text).filter(|signature| !signature.is_empty()) {
            self.piece(index, Open::Thinking, thinking, own(signature), found);
        }
        if let Some(redacted) = redacted.and_then(loose::text) {
            self.piece(index, Open::Redacted, PartStart::Thinking { redacted: true }, own(redacted), found);
        }
    }

    fn piece(&mut self, index: u64, open: Open, start: PartStart, delta: Delta, found: &mut Vec<Event>) {
        if self.open.get(&index) != Some(&open) {
            self.start(index, open, start, found);
        }
        if !matches!(&delta, Delta::Text(text) if text.is_empty()) {
            self.sequence.delta(index, delta, found);
        }
    }

    fn citation(&mut self, citation: &[u8]) -> Citation {
        let [title, source, content, location] =
            self.reading.pick(citation, ["title", "source", "sourceContent", "location"]);
        let [web] = location.map_or([None], |location| self.reading.pick(location, ["web"]));
        let [url] = web.map_or([None], |web| self.reading.pick(web, ["url"]));
        let snippet: String = content
            .map(|content| loose::elements(content, 64))
            .unwrap_or_default()
            .into_iter()
            .map(|part| words(loose::pick(part, ["text"])[0]))
            .collect();
        let text = |value: Option<&[u8]>| Some(words(value)).filter(|text| !text.is_empty());
        let uri = text(url).or_else(|| text(source).filter(|source| source.contains("://")));
        Citation { uri, title: text(title), snippet: Some(snippet).filter(|text| !text.is_empty()), span: None }
    }

    fn message_stop(&mut self, stop: &[u8], found: &mut Vec<Event>) {
        let [reason, fields] = self.reading.pick(stop, ["stopReason", "additionalModelResponseFields"]);
        let reason = words(reason);
        if FAILURES.contains(&reason.as_str()) {
            let message = format!("the model's answer is of no use: {reason}");
            let error = UpstreamErrorSummary { kind: Some(reason), message, ..UpstreamErrorSummary::default() };
            return self.fail(error, found);
        }
        let [sequence] = fields
            .filter(|fields| fields.starts_with(b"{"))
            .map_or([None], |fields| self.reading.pick(fields, ["stop_sequence"]));
        let sequence = Some(words(sequence)).filter(|sequence| !sequence.is_empty());
        self.stop = Some((stop_reason(&reason), sequence));
    }

    fn metadata(&mut self, metadata: &[u8], found: &mut Vec<Event>) {
        let [counted, tier] = self.reading.pick(metadata, ["usage", "serviceTier"]);
        usage(&mut self.reading, counted);
        let [kind] = tier.map_or([None], |tier| self.reading.pick(tier, ["type"]));
        self.reading.service_tier(kind);
        if self.reading.usage != self.told {
            self.told = self.reading.usage;
            found.push(Event::Usage(self.told));
        }
        found.extend(self.reading.new_service_tier().map(Event::ServiceTier));
    }

    fn fail(&mut self, error: UpstreamErrorSummary, found: &mut Vec<Event>) {
        self.ended = true;
        found.push(Event::Error(error));
    }

    fn end(&mut self, found: &mut Vec<Event>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.begin(found);
        self.sequence.stop_all(found);
        let (reason, sequence) = self.stop.take().unwrap_or((StopReason::EndTurn, None));
        let reason = if self.called && reason == StopReason::EndTurn { StopReason::ToolUse } else { reason };
        found.push(Event::Stop { reason, sequence });
        found.push(Event::End);
    }
}

fn words(value: Option<&[u8]>) -> String {
    value.and_then(loose::text).map(Cow::into_owned).unwrap_or_default()
}

impl ReadStream for Stream {
    fn read(&mut self, data: &[u8], found: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        let [start, block, delta, block_stop, stop, metadata, message] = self.reading.pick(
            data,
            [
                "messageStart",
                "contentBlockStart",
                "contentBlockDelta",
                "contentBlockStop",
                "messageStop",
                "metadata",
                "message",
            ],
        );
        if exception(&mut self.reading, data) {
            let error = self.reading.error.clone().unwrap_or_default();
            return self.fail(error, found);
        }
        if [start, block, delta, block_stop, stop, metadata].iter().all(Option::is_none) {
            if message.and_then(loose::text).is_some() {
                // The error itself, without its name.
                self.reading.error(data);
                let error = self.reading.error.clone().unwrap_or_default();
                self.fail(error, found);
            }
            return;
        }
        self.begin(found);
        if let Some(block) = block {
            self.block_start(block, found);
        }
        if let Some(delta) = delta {
            self.delta(delta, found);
        }
        if let Some(block) = block_stop {
            let [index] = self.reading.pick(block, ["contentBlockIndex"]);
            let index = index.and_then(loose::count).unwrap_or(0);
            if self.open.remove(&index).is_some() {
                self.sequence.stop(index, found);
            }
        }
        if let Some(stop) = stop {
            self.message_stop(stop, found);
        }
        if let Some(metadata) = metadata.filter(|_| !self.ended) {
            self.metadata(metadata, found);
            // It is the last.
            if self.stop.is_some() {
                self.end(found);
            }
        }
    }

    fn finish(&mut self, found: &mut Vec<Event>) {
        if self.stop.is_some() {
            self.end(found);
        }
    }
}
