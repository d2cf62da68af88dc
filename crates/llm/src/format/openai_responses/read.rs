//! Reading a provider's answers into neutral words.

use std::collections::BTreeMap;

use systemprompt_model::json::loose;

use super::answer;
use crate::answer::reading::Reading;
use crate::format::Format;
use crate::neutral::codec::ReadStream;
use crate::neutral::sequence::Sequence;
use crate::neutral::{Answer, Citation, Delta, Event, Json, PartStart, Signature, TokenLogprob};

/// More items, or parts of one, no answer has.
const MOST: usize = 100_000;

/// Reads a whole answer.
pub(super) fn read_answer(body: &[u8]) -> Option<Answer> {
    let mut reading = Reading::new(0, 0);
    reading.read(answer::body, body);
    let mut stream = Stream::new(reading);
    let mut events = Vec::new();
    stream.begin(&mut events);
    if stream.reading.error.is_none() {
        let [output] = loose::pick(body, ["output"]);
        stream.output(output?, &mut events);
    }
    stream.end(&mut events);
    Some(Answer::of_events(events))
}

/// Reads a stream.
pub(super) fn read_stream() -> Box<dyn ReadStream> {
    Box::new(Stream::new(Reading::new(0, 0)))
}

struct Stream {
    /// What a relayed answer is known by: usage, why it ended, errors.
    reading: Reading,
    begun: bool,
    sequence: Sequence,
    items: BTreeMap<u64, Item>,
    ended: bool,
}

/// An item that is not complete.
#[derive(Default)]
struct Item {
    /// The parts of it that began, by their index in the item.
    parts: BTreeMap<u64, Told>,
}

/// What was told of a part.
#[derive(Default)]
struct Told {
    text: bool,
    /// Something follows that is told apart from what was told before.
    pause: bool,
    logprobs: bool,
    citations: bool,
}

impl Stream {
    fn new(reading: Reading) -> Self {
        Self { reading, begun: false, sequence: Sequence::default(), items: BTreeMap::new(), ended: false }
    }

    fn begin(&mut self, events: &mut Vec<Event>) {
        if !std::mem::replace(&mut self.begun, true) {
            let (id, model, _) = self.reading.names();
            events.push(Event::Start { id: id.map(str::to_owned), model: model.map(str::to_owned) });
        }
    }

    /// The key of a part of an item.
    fn key(index: u64, part: u64) -> u64 {
        index.saturating_mul(MOST as u64).saturating_add(part)
    }

    /// Begins a part, unless it has begun.
    fn start(&mut self, index: u64, part: u64, start: impl FnOnce() -> PartStart, events: &mut Vec<Event>) {
        let item = self.items.entry(index).or_default();
        if item.parts.len() < MOST && !item.parts.contains_key(&part) {
            item.parts.insert(part, Told::default());
            self.sequence.start(Self::key(index, part), start(), events);
        }
    }

    fn told(&mut self, index: u64, part: u64) -> Option<&mut Told> {
        self.items.get_mut(&index)?.parts.get_mut(&part)
    }

    fn text(&mut self, index: u64, part: u64, more: Option<&[u8]>, events: &mut Vec<Event>) {
        let Some(mut more) = more.and_then(loose::text).filter(|more| !more.is_empty()) else { return };
        let Some(told) = self.told(index, part) else { return };
        if std::mem::take(&mut told.pause) && told.text {
            more = format!("\n\n{more}").into();
        }
        told.text = true;
        self.sequence.delta(Self::key(index, part), Delta::Text(more.into_owned()), events);
    }

    /// The whole text of a part, of which nothing may have come in pieces.
    fn whole_text(&mut self, index: u64, part: u64, whole: Option<&[u8]>, events: &mut Vec<Event>) {
        if self.told(index, part).is_some_and(|told| !told.text) {
            self.text(index, part, whole, events);
        }
    }

    /// A part of a message, as far as it is there.
    fn part(&mut self, index: u64, at: u64, part: &[u8], events: &mut Vec<Event>) {
        let [kind, text, refusal, annotations, logprobs] =
            loose::pick(part, ["type", "text", "refusal", "annotations", "logprobs"]);
        match kind.and_then(loose::text).as_deref() {
            Some("output_text") => {
                self.start(index, at, || PartStart::Text, events);
                self.whole_text(index, at, text, events);
                self.logprobs(index, at, logprobs, false, events);
                let told = self.told(index, at).is_some_and(|told| told.citations);
                for annotation in list(annotations.filter(|_| !told)) {
                    self.citation(index, at, annotation, events);
                }
            }
            Some("refusal") => {
                self.start(index, at, || PartStart::Refusal, events);
                self.whole_text(index, at, refusal, events);
            }
            _ => {}
        }
    }

    fn citation(&mut self, index: u64, part: u64, annotation: &[u8], events: &mut Vec<Event>) {
        let [kind, url, title, start, end] =
            loose::pick(annotation, ["type", "url", "title", "start_index", "end_index"]);
        if kind.and_then(loose::text).as_deref() != Some("url_citation") {
            return;
        }
        if let Some(told) = self.told(index, part) {
            told.citations = true;
        }
        let text = |value: Option<&[u8]>| value.and_then(loose::text).map(std::borrow::Cow::into_owned);
        let span = start.and_then(loose::count).zip(end.and_then(loose::count));
        let citation = Citation { uri: text(url), title: text(title), snippet: None, span };
        self.sequence.delta(Self::key(index, part), Delta::Citation(citation), events);
    }

    /// Probabilities, which the events in pieces and those at the end both have.
    fn logprobs(&mut self, index: u64, part: u64, list: Option<&[u8]>, piece: bool, events: &mut Vec<Event>) {
        let tokens: Vec<TokenLogprob> = self::list(list).into_iter().map(token).collect();
        let Some(told) = self.told(index, part).filter(|told| piece || !told.logprobs) else { return };
        if !tokens.is_empty() {
            told.logprobs = true;
            self.sequence.delta(Self::key(index, part), Delta::Logprobs(tokens), events);
        }
    }

    fn item_added(&mut self, index: u64, item: &[u8], events: &mut Vec<Event>) {
        let [kind, call_id, id, name] = loose::pick(item, ["type", "call_id", "id", "name"]);
        let text = |value: Option<&[u8]>| value.and_then(loose::text).unwrap_or_default().into_owned();
        match kind.and_then(loose::text).as_deref() {
            Some(kind @ ("function_call" | "custom_tool_call")) => {
                let custom = kind == "custom_tool_call";
                let start = || PartStart::ToolCall { id: text(call_id.or(id)), name: text(name), custom };
                self.start(index, 0, start, events);
            }
            Some("reasoning") => self.start(index, 0, || PartStart::Thinking { redacted: false }, events),
            _ => {}
        }
    }

    fn item_done(&mut self, index: u64, item: &[u8], events: &mut Vec<Event>) {
        let [kind, id, content, summary, encrypted, arguments, input] =
            loose::pick(item, ["type", "id", "content", "summary", "encrypted_content", "arguments", "input"]);
        let text = |value: Option<&[u8]>| value.and_then(loose::text).map(std::borrow::Cow::into_owned);
        self.item_added(index, item, events);
        match text(kind).as_deref() {
            Some("message") => {
                for (at, part) in (0..).zip(list(content)) {
                    self.part(index, at, part, events);
                }
            }
            Some("function_call") => self.input(index, arguments, events),
            Some("custom_tool_call") => self.input(index, input, events),
            Some("reasoning") => {
                if self.told(index, 0).is_some_and(|told| !told.text) {
                    for part in list(summary).into_iter().chain(list(content)) {
                        let [words] = loose::pick(part, ["text"]);
                        self.text(index, 0, words, events);
                        self.pause(index);
                    }
                }
                if let Some(data) = text(encrypted).filter(|data| !data.is_empty()) {
                    let signature = Signature { by: Format::OpenAiResponses, id: text(id), data };
                    self.sequence.delta(Self::key(index, 0), Delta::Signature(signature), events);
                }
            }
            _ => {
                let whole = std::str::from_utf8(item).ok().and_then(Json::parse);
                if let Some(whole) = whole {
                    self.start(index, 0, || PartStart::Native(Format::OpenAiResponses, whole), events);
                }
            }
        }
        for part in
            self.items.get(&index).map(|item| item.parts.keys().copied().collect::<Vec<_>>()).unwrap_or_default()
        {
            self.sequence.stop(Self::key(index, part), events);
        }
    }

    /// The whole input of a call; some servers send the object itself instead of its text.
    fn input(&mut self, index: u64, input: Option<&[u8]>, events: &mut Vec<Event>) {
        let quoted;
        let input = match input {
            Some(raw) if raw.starts_with(b"{") => {
                quoted = serde_json::Value::from(String::from_utf8_lossy(raw)).to_string();
                Some(quoted.as_bytes())
            }
            input => input,
        };
        self.whole_text(index, 0, input, events);
    }

    /// What follows of a thought stands apart from what was told of it.
    fn pause(&mut self, index: u64) {
        if let Some(told) = self.told(index, 0) {
            told.pause = true;
        }
    }

    fn output(&mut self, output: &[u8], events: &mut Vec<Event>) {
        for (index, item) in (0..).zip(loose::elements(output, MOST)) {
            self.item_done(index, item, events);
        }
    }

    /// The answer ended, or failed.
    fn end(&mut self, events: &mut Vec<Event>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.begin(events);
        self.sequence.stop_all(events);
        let reading = std::mem::replace(&mut self.reading, Reading::new(0, 0)).summary();
        events.push(Event::Usage(reading.usage));
        events.extend(reading.service_tier.map(Event::ServiceTier));
        if let Some(error) = reading.error {
            events.push(Event::Error(error));
        } else if let Some(reason) = reading.stop_reason {
            events.push(Event::Stop { reason, sequence: None });
            if reading.complete {
                events.push(Event::End);
            }
        }
    }
}

fn list(value: Option<&[u8]>) -> Vec<&[u8]> {
    value.map(|list| loose::elements(list, MOST)).unwrap_or_default()
}

fn token(token: &[u8]) -> TokenLogprob {
    let [text, logprob, top] = loose::pick(token, ["token", "logprob", "top_logprobs"]);
    let number = |value: Option<&[u8]>| {
        value.and_then(|value| std::str::from_utf8(value).ok()).and_then(|value| value.parse().ok()).unwrap_or_default()
    };
    let words = |value: Option<&[u8]>| value.and_then(loose::text).unwrap_or_default().into_owned();
    let top = top.map(|top| loose::elements(top, 64)).unwrap_or_default().into_iter().map(|other| {
        let [text, logprob] = loose::pick(other, ["token", "logprob"]);
        (words(text), number(logprob))
    });
    TokenLogprob { token: words(text), logprob: number(logprob), top: top.collect() }
}

impl ReadStream for Stream {
    fn read(&mut self, data: &[u8], events: &mut Vec<Event>) {
        if self.ended {
            return;
        }
        self.reading.read(answer::event, data);
        let names = [
            "type",
            "output_index",
            "content_index",
            "summary_index",
            "response",
            "item",
            "part",
            "delta",
            "text",
            "annotation",
            "logprobs",
            "arguments",
            "input",
            "refusal",
        ];
        let [
            kind,
            index,
            at,
            summary_index,
            response,
            item,
            part,
            delta,
            text,
            annotation,
            logprobs,
            arguments,
            input,
            refusal,
        ] = loose::pick(data, names);
        let kind = kind.and_then(loose::text).unwrap_or_default();
        let count = |value: Option<&[u8]>| value.and_then(loose::count).unwrap_or(0);
        let (index, at) = (count(index), count(at));
        if kind.starts_with("response.") {
            self.begin(events);
        }
        match (&*kind, item, part) {
            ("response.output_item.added", Some(item), _) => self.item_added(index, item, events),
            ("response.output_item.done", Some(item), _) => self.item_done(index, item, events),
            ("response.content_part.added" | "response.content_part.done", _, Some(part)) => {
                self.part(index, at, part, events);
                if kind.ends_with("done") {
                    self.sequence.stop(Self::key(index, at), events);
                }
            }
            ("response.output_text.delta", _, _) => {
                self.start(index, at, || PartStart::Text, events);
                self.text(index, at, delta, events);
                self.logprobs(index, at, logprobs, true, events);
            }
            ("response.output_text.done", _, _) => {
                self.start(index, at, || PartStart::Text, events);
                self.whole_text(index, at, text, events);
                self.logprobs(index, at, logprobs, false, events);
            }
            ("response.output_text.annotation.added", _, _) => {
                if let Some(annotation) = annotation {
                    self.citation(index, at, annotation, events);
                }
            }
            ("response.refusal.delta", _, _) => {
                self.start(index, at, || PartStart::Refusal, events);
                self.text(index, at, delta, events);
            }
            ("response.refusal.done", _, _) => {
                self.start(index, at, || PartStart::Refusal, events);
                self.whole_text(index, at, refusal, events);
            }
            ("response.reasoning_summary_text.delta" | "response.reasoning_text.delta", _, _) => {
                self.start(index, 0, || PartStart::Thinking { redacted: false }, events);
                self.text(index, 0, delta, events);
            }
            ("response.reasoning_summary_text.done" | "response.reasoning_text.done", _, _) => {
                if count(summary_index) == 0 && at == 0 {
                    self.whole_text(index, 0, text, events);
                }
                self.pause(index);
            }
            ("response.function_call_arguments.delta" | "response.custom_tool_call_input.delta", _, _) => {
                self.text(index, 0, delta, events);
            }
            ("response.function_call_arguments.done" | "response.custom_tool_call_input.done", _, _) => {
                self.input(index, arguments.or(input), events);
            }
            (
                "response.completed"
                | "response.incomplete"
                | "response.failed"
                | "response.cancelled"
                | "response.done",
                _,
                _,
            ) => {
                // What no event said before is in the last one.
                if self.items.is_empty()
                    && let [Some(output)] = response.map_or([None], |response| loose::pick(response, ["output"]))
                {
                    self.output(output, events);
                }
                self.end(events);
            }
            _ if self.reading.error.is_some() => self.end(events),
            _ => {}
        }
    }

    fn finish(&mut self, _: &mut Vec<Event>) {
        // A stream of this format says that it ended.
    }
}
