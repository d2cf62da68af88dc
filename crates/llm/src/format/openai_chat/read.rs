//! Reading a provider's answers into neutral words.

use std::borrow::Cow;
use std::collections::HashMap;

use systemprompt_model::json::loose;

use super::answer::stop_reason;
use super::reasoning;
use super::usage::usage;
use crate::answer::reading::{Reading, is_error, unwrapped};
use crate::answer::summary::{StopReason, Usage};
use crate::format::ids;
use crate::neutral::codec::ReadStream;
use crate::neutral::sequence::Sequence;
use crate::neutral::{Answer, Citation, Delta, Event, PartStart, TokenLogprob};

/// No answer has more elements in a list than this.
const MOST: usize = 100_000;
/// The keys of the parts that are no calls. Those of calls are their places.
const TEXT: u64 = u64::MAX;
const REFUSAL: u64 = u64::MAX - 1;
const THINKING: u64 = u64::MAX - 2;

/// Reads a whole answer.
pub(super) fn read_answer(body: &[u8]) -> Option<Answer> {
    let mut stream = Stream::new();
    let mut events = Vec::new();
    stream.chunk(body, "message", &mut events);
    if !stream.begun && !stream.ended {
        return None;
    }
    stream.end(&mut events);
    let mut answer = Answer::of_events(events);
    answer.complete = answer.error.is_none() && loose::is_whole(body);
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
    /// The provider's id of the answer.
    id: Option<String>,
    sequence: Sequence,
    /// The part that is no call and goes on.
    said: Option<u64>,
    /// The field in which the thought came.
    field: &'static str,
    calls: Vec<Call>,
    /// The last call at each place, and that with each id.
    by_index: HashMap<u64, usize>,
    by_id: HashMap<String, usize>,
    stop: Option<StopReason>,
    ended: bool,
}

/// A call as far as it came.
#[derive(Default)]
struct Call {
    id: String,
    name: String,
    custom: bool,
    /// It was told that it began.
    begun: bool,
    /// Input that came before its name.
    early: String,
    has_input: bool,
}

impl Stream {
    fn new() -> Self {
        Self {
            reading: Reading::new(0, 0),
            told: Usage::default(),
            begun: false,
            id: None,
            sequence: Sequence::default(),
            said: None,
            field: "",
            calls: Vec::new(),
            by_index: HashMap::new(),
            by_id: HashMap::new(),
            stop: None,
            ended: false,
        }
    }

    /// Reads a chunk or a whole completion, which differ only in where a choice keeps its message.
    fn chunk(&mut self, data: &[u8], message_field: &str, events: &mut Vec<Event>) {
        let data = unwrapped(data);
        let [id, model, choices, usage, groq, tier, error, object, kind, message] = self.reading.pick(
            data,
            ["id", "model", "choices", "usage", "x_groq", "service_tier", "error", "object", "type", "message"],
        );
        let says_error = |word: Option<&[u8]>| word.and_then(loose::text).is_some_and(|word| word == "error");
        if let Some(error) = error.filter(|error| is_error(error)) {
            return self.error(error, events);
        }
        if says_error(object) || says_error(kind) || choices.is_none() && message.and_then(loose::text).is_some() {
            // The error itself, without anything around it.
            return self.error(data, events);
        }
        // Some servers send first what their filters say of the prompt, without an id.
        if choices.is_some_and(|choices| !loose::is_empty(choices)) {
            self.begin(id, model, events);
        }
        self.reading.service_tier(tier);
        self.usage(usage, events);
        if let Some(groq) = groq {
            let [usage] = self.reading.pick(groq, ["usage"]);
            self.usage(usage, events);
        }
        let Some(choices) = choices else { return };
        for (position, choice) in loose::elements(choices, MOST).into_iter().enumerate() {
            let [index, message, reason, usage, error, logprobs] =
                self.reading.pick(choice, ["index", message_field, "finish_reason", "usage", "error", "logprobs"]);
            self.usage(usage, events);
            if let Some(error) = error.filter(|error| is_error(error)) {
                return self.error(error, events);
            }
            // Others were not asked for.
            if index.and_then(loose::count).unwrap_or(position as u64) != 0 {
                continue;
            }
            if let Some(message) = message.filter(|message| message.starts_with(b"{")) {
                self.message(message, events);
            }
            if let Some(logprobs) = logprobs.filter(|logprobs| logprobs.starts_with(b"{")) {
                self.logprobs(logprobs, events);
            }
            if let Some(word) = reason.and_then(loose::text).filter(|word| !word.is_empty() && word != "null") {
                self.stop = Some(stop_reason(&word));
            }
        }
    }

    fn begin(&mut self, id: Option<&[u8]>, model: Option<&[u8]>, events: &mut Vec<Event>) {
        let text = |value: Option<&[u8]>| Some(words(value)).filter(|text| !text.is_empty());
        if !std::mem::replace(&mut self.begun, true) {
            self.id = text(id);
            events.push(Event::Start { id: self.id.clone(), model: text(model) });
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

    /// Reads a message, or a piece of one.
    fn message(&mut self, message: &[u8], events: &mut Vec<Event>) {
        let [content, refusal, reasoning, reasoning_content, tool_calls, function_call, annotations] =
            self.reading.pick(
                message,
                ["content", "refusal", "reasoning", "reasoning_content", "tool_calls", "function_call", "annotations"],
            );
        // Compatible servers have two names for it, and some send both with the same words.
        let thought = reasoning_content.filter(|value| *value != b"null");
        let field = if thought.is_some() { "reasoning_content" } else { "reasoning" };
        self.say(THINKING, thought.or(reasoning), field, events);
        match content {
            // Some servers answer in parts, as in requests.
            Some(parts) if parts.starts_with(b"[") => {
                for part in loose::elements(parts, MOST) {
                    let [text, thinking] = self.reading.pick(part, ["text", "thinking"]);
                    self.thinking_part(thinking, events);
                    self.say(TEXT, text, "", events);
                }
            }
            content => self.say(TEXT, content, "", events),
        }
        for annotation in annotations.map(|list| loose::elements(list, MOST)).unwrap_or_default() {
            self.annotation(annotation, events);
        }
        self.say(REFUSAL, refusal, "", events);
        if let Some(calls) = tool_calls {
            for call in loose::elements(calls, MOST) {
                self.tool_call(call, events);
            }
        }
        // The form before there could be several.
        if let Some(call) = function_call.filter(|call| call.starts_with(b"{")) {
            let [name, arguments] = self.reading.pick(call, ["name", "arguments"]);
            self.call(Some(0), None, name, arguments, false, events);
        }
    }

    /// What was thought, in a part of the content: a text, or an array of texts.
    fn thinking_part(&mut self, thinking: Option<&[u8]>, events: &mut Vec<Event>) {
        match thinking {
            Some(list) if list.starts_with(b"[") => {
                for part in loose::elements(list, MOST) {
                    let [text] = self.reading.pick(part, ["text"]);
                    self.say(THINKING, text, "reasoning_content", events);
                }
            }
            thinking => self.say(THINKING, thinking, "reasoning_content", events),
        }
    }

    /// Adds to the text, the refusal or the thought. Each ends where another begins.
    fn say(&mut self, key: u64, value: Option<&[u8]>, field: &'static str, events: &mut Vec<Event>) {
        let Some(text) = value.and_then(loose::text).filter(|text| !text.is_empty()) else { return };
        if self.said != Some(key) {
            self.hush(events);
            let start = match key {
                TEXT => PartStart::Text,
                REFUSAL => PartStart::Refusal,
                _ => PartStart::Thinking { redacted: false },
            };
            self.sequence.start(key, start, events);
            self.said = Some(key);
            self.field = field;
        }
        self.sequence.delta(key, Delta::Text(text.into_owned()), events);
    }

    /// Ends the text, refusal or thought.
    fn hush(&mut self, events: &mut Vec<Event>) {
        let Some(key) = self.said.take() else { return };
        if key == THINKING {
            self.sequence.delta(key, Delta::Signature(reasoning::signature(self.field)), events);
        }
        self.sequence.stop(key, events);
    }

    fn annotation(&mut self, annotation: &[u8], events: &mut Vec<Event>) {
        let [citation] = self.reading.pick(annotation, ["url_citation"]);
        let Some(citation) = citation else { return };
        let [url, title, start, end] = self.reading.pick(citation, ["url", "title", "start_index", "end_index"]);
        let text = |value: Option<&[u8]>| value.and_then(loose::text).map(Cow::into_owned);
        let span = start.and_then(loose::count).zip(end.and_then(loose::count));
        let citation = Citation { uri: text(url), title: text(title), snippet: None, span };
        self.sequence.delta(TEXT, Delta::Citation(citation), events);
    }

    fn logprobs(&mut self, logprobs: &[u8], events: &mut Vec<Event>) {
        let [content, refusal] = self.reading.pick(logprobs, ["content", "refusal"]);
        let list = content.filter(|list| list.starts_with(b"[")).or(refusal).unwrap_or_default();
        let mut tokens = Vec::new();
        for token in loose::elements(list, MOST) {
            let [word, logprob, top] = self.reading.pick(token, ["token", "logprob", "top_logprobs"]);
            let top = top.map(|top| loose::elements(top, MOST)).unwrap_or_default();
            let top = top.into_iter().map(|token| {
                let [word, logprob] = loose::pick(token, ["token", "logprob"]);
                (words(word), number(logprob))
            });
            tokens.push(TokenLogprob { token: words(word), logprob: number(logprob), top: top.collect() });
        }
        if !tokens.is_empty() {
            let key = self.said.unwrap_or(TEXT);
            self.sequence.delta(key, Delta::Logprobs(tokens), events);
        }
    }

    fn tool_call(&mut self, call: &[u8], events: &mut Vec<Event>) {
        let [index, id, function, custom] = self.reading.pick(call, ["index", "id", "function", "custom"]);
        let index = index.and_then(loose::count);
        let is_custom = function.is_none() && custom.is_some();
        let [name, input] = match (function, custom) {
            (Some(function), _) => self.reading.pick(function, ["name", "arguments"]),
            (None, Some(custom)) => self.reading.pick(custom, ["name", "input"]),
            (None, None) => [None; 2],
        };
        self.call(index, id, name, input, is_custom, events);
    }

    fn call(
        &mut self,
        index: Option<u64>,
        id: Option<&[u8]>,
        name: Option<&[u8]>,
        input: Option<&[u8]>,
        custom: bool,
        events: &mut Vec<Event>,
    ) {
        let (id, name) = (words(id), words(name));
        let input = match input.map(|input| (input, loose::text(input))) {
            Some((_, Some(text))) => text.into_owned(),
            // Some servers send the object itself instead of its text.
            Some((raw, None)) if raw.starts_with(b"{") => String::from_utf8_lossy(raw).into_owned(),
            _ => String::new(),
        };
        self.hush(events);
        let at = self.place(index, &id, &name);
        let key = at as u64;
        let call = &mut self.calls[at];
        if call.id.is_empty() {
            call.id = id;
        }
        if call.name.is_empty() {
            call.name = name;
        }
        call.custom |= custom;
        call.has_input |= !input.is_empty();
        if call.begun {
            if !input.is_empty() {
                self.sequence.delta(key, Delta::Text(input), events);
            }
            return;
        }
        call.early.push_str(&input);
        // A call of nobody knows what begins when that is known.
        if !call.name.is_empty() {
            self.start(at, events);
        }
    }

    /// Which call a piece belongs to; a new one if it is a new one's first.
    fn place(&mut self, index: Option<u64>, id: &str, name: &str) -> usize {
        let known = match index {
            // Some servers say the same place for all of them.
            Some(index) => self.by_index.get(&index).copied().filter(|at| {
                let call = &self.calls[*at];
                id.is_empty() || call.id.is_empty() || call.id == id
            }),
            None if !id.is_empty() => self.by_id.get(id).copied(),
            // Without place and id, a name begins a call if the last one has everything.
            None => self.calls.len().checked_sub(1).filter(|last| name.is_empty() || !self.calls[*last].has_input),
        };
        let at = known.unwrap_or_else(|| {
            self.calls.push(Call::default());
            self.calls.len() - 1
        });
        if let Some(index) = index {
            self.by_index.insert(index, at);
        }
        if !id.is_empty() && !self.by_id.contains_key(id) {
            self.by_id.insert(id.to_owned(), at);
        }
        at
    }

    fn start(&mut self, at: usize, events: &mut Vec<Event>) {
        let answer = self.id.as_deref().unwrap_or_default();
        let call = &mut self.calls[at];
        call.begun = true;
        if call.id.is_empty() {
            call.id = if answer.is_empty() { format!("call_{at}") } else { format!("call_{answer}_{at}") };
        }
        let (id, signature) = ids::heard(&call.id);
        let start = PartStart::ToolCall { id, name: call.name.clone(), custom: call.custom };
        let early = std::mem::take(&mut call.early);
        self.sequence.start(at as u64, start, events);
        if let Some(signature) = signature {
            self.sequence.delta(at as u64, Delta::Signature(signature), events);
        }
        if !early.is_empty() {
            self.sequence.delta(at as u64, Delta::Text(early), events);
        }
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.begin(None, None, events);
        self.hush(events);
        self.sequence.stop_all(events);
        let reason = self.stop.take().unwrap_or(StopReason::EndTurn);
        // Some servers do not say that they stopped for a call.
        let called = self.calls.iter().any(|call| call.begun);
        let reason = if called && reason == StopReason::EndTurn { StopReason::ToolUse } else { reason };
        events.push(Event::Stop { reason, sequence: None });
        events.push(Event::End);
    }
}

fn words(value: Option<&[u8]>) -> String {
    value.and_then(loose::text).map(Cow::into_owned).unwrap_or_default()
}

fn number(value: Option<&[u8]>) -> f64 {
    let number = value.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    // The least there is stands for what is no number.
    number.filter(|number: &f64| number.is_finite()).unwrap_or(-9999.0)
}

impl ReadStream for Stream {
    fn read(&mut self, data: &[u8], events: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        if data.trim_ascii() == b"[DONE]" {
            self.end(events);
        } else {
            self.chunk(data, "delta", events);
        }
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        if self.stop.is_some() {
            self.end(events);
        }
    }
}
