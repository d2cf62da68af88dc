//! Reading a provider's answers into neutral words.

use std::borrow::Cow;

use systemprompt_model::json::loose;

use super::answer::{image, stop_reason};
use super::places::Places;
use super::signature;
use super::usage::usage;
use crate::answer::reading::{Reading, is_error, raise, unwrapped};
use crate::answer::summary::{StopReason, UpstreamErrorSummary, Usage};
use crate::format::Format;
use crate::neutral::codec::ReadStream;
use crate::neutral::{Answer, Citation, Delta, Event, Json, PartStart, TokenLogprob};

/// No answer has more elements in a list than this.
const MOST: usize = 100_000;

/// Words for the end of an answer that cannot be used: the model did not do what it was asked to, and may when asked again.
const FAILURES: [&str; 5] = [
    "MALFORMED_FUNCTION_CALL",
    "UNEXPECTED_TOOL_CALL",
    "TOO_MANY_TOOL_CALLS",
    "MISSING_THOUGHT_SIGNATURE",
    "MALFORMED_RESPONSE",
];

/// Parts that only Google knows.
const NATIVE: [&str; 6] =
    ["inlineData", "fileData", "executableCode", "codeExecutionResult", "toolCall", "toolResponse"];

/// Reads a whole answer, or the array of chunks that a stream is without `alt=sse`.
pub(super) fn read_answer(body: &[u8]) -> Option<Answer> {
    let mut stream = Stream::new();
    let mut events = Vec::new();
    let chunks = if body.trim_ascii_start().starts_with(b"[") { loose::elements(body, MOST) } else { vec![body] };
    for chunk in chunks {
        stream.read(chunk, &mut events);
    }
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
    begun: bool,
    /// The provider's id of the answer.
    id: String,
    open: Open,
    /// The text that is open, or was last: Google counts its bytes where others count characters.
    text: String,
    /// The signature of the text or thought that is open.
    signature: Option<String>,
    /// How many calls, and how many citations, there were.
    calls: usize,
    cited: usize,
    stop: Option<StopReason>,
    ended: bool,
}

/// The part that is open.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Open {
    Nothing,
    Text,
    Thinking,
}

impl Stream {
    fn new() -> Self {
        Self {
            reading: Reading::new(0, 0),
            begun: false,
            id: String::new(),
            open: Open::Nothing,
            text: String::new(),
            signature: None,
            calls: 0,
            cited: 0,
            stop: None,
            ended: false,
        }
    }

    fn chunk(&mut self, data: &[u8], events: &mut Vec<Event>) {
        let [id, model, candidates, counted, feedback, error] = self
            .reading
            .pick(data, ["responseId", "modelVersion", "candidates", "usageMetadata", "promptFeedback", "error"]);
        if let Some(error) = error.filter(|error| is_error(error)) {
            self.reading.error(error);
            return self.fail(self.reading.error.clone().unwrap_or_default(), events);
        }
        let candidates = candidates.filter(|list| list.starts_with(b"["));
        let feedback = feedback.filter(|feedback| feedback.starts_with(b"{"));
        if candidates.is_none() && feedback.is_none() && counted.is_none() {
            return;
        }
        if !std::mem::replace(&mut self.begun, true) {
            self.id = words(id);
            let text = |text: String| Some(text).filter(|text| !text.is_empty());
            events.push(Event::Start { id: text(self.id.clone()), model: text(words(model)) });
        }
        usage(&mut self.reading, counted);
        // Others were not asked for.
        if let Some(candidate) = candidates.and_then(|list| loose::elements(list, 1).first().copied()) {
            self.candidate(candidate, events);
        }
        if let Some(feedback) = feedback {
            let [reason, message] = self.reading.pick(feedback, ["blockReason", "blockReasonMessage"]);
            let (reason, message) = (words(reason), words(message));
            if !reason.is_empty() {
                let said =
                    if message.is_empty() { format!("The provider blocked the prompt: {reason}.") } else { message };
                self.refuse(said, events);
                self.stop = Some(StopReason::other(&reason));
            }
        }
    }

    /// Tells what was used, at the end: of what is known before, a later word of what was cached may take something away.
    fn tell_usage(&mut self, events: &mut Vec<Event>) {
        if self.reading.usage != Usage::default() {
            events.push(Event::Usage(self.reading.usage));
        }
        events.extend(self.reading.new_service_tier().map(Event::ServiceTier));
    }

    fn candidate(&mut self, candidate: &[u8], events: &mut Vec<Event>) {
        let [content, reason, message, grounding, citations, logprobs] = self.reading.pick(
            candidate,
            ["content", "finishReason", "finishMessage", "groundingMetadata", "citationMetadata", "logprobsResult"],
        );
        let content = content.filter(|content| content.starts_with(b"{"));
        let [parts] = content.map_or([None], |content| self.reading.pick(content, ["parts"]));
        for part in parts.map(|parts| loose::elements(parts, MOST)).unwrap_or_default() {
            self.part(part, events);
        }
        if let Some(logprobs) = logprobs.filter(|_| self.open == Open::Text) {
            self.logprobs(logprobs, events);
        }
        if let Some(grounding) = grounding.filter(|grounding| grounding.starts_with(b"{")) {
            self.grounding(grounding, events);
        }
        if let Some(citations) = citations.filter(|citations| citations.starts_with(b"{")) {
            self.citations(citations, events);
        }
        let reason = words(reason);
        match reason.as_str() {
            "" | "FINISH_REASON_UNSPECIFIED" => {}
            failure if FAILURES.contains(&failure) => {
                let message = words(message);
                let message =
                    if message.is_empty() { format!("the model's answer is of no use: {failure}") } else { message };
                let kind = Some(failure.to_owned());
                self.fail(UpstreamErrorSummary { kind, message, ..UpstreamErrorSummary::default() }, events);
            }
            word => {
                let stop = stop_reason(word);
                let message = words(message);
                if matches!(stop, StopReason::Other(_)) && !message.is_empty() {
                    self.refuse(message, events);
                }
                self.stop = Some(stop);
            }
        }
    }

    fn part(&mut self, part: &[u8], events: &mut Vec<Event>) {
        let [text, thought, call, signed, inline] =
            self.reading.pick(part, ["text", "thought", "functionCall", "thoughtSignature", "inlineData"]);
        image(&mut self.reading, thought, inline);
        let signed = Some(words(signed)).filter(|signed| !signed.is_empty());
        if let Some(call) = call.filter(|call| call.starts_with(b"{")) {
            return self.call(call, signed, events);
        }
        if let Some(text) = text.and_then(loose::text) {
            let open = if thought == Some(b"true") { Open::Thinking } else { Open::Text };
            // What is signed is a part of its own.
            if self.open != open || self.signature.is_some() && !text.is_empty() {
                self.hush(events);
            }
            if !text.is_empty() || open == Open::Thinking && signed.is_some() {
                self.say(open, &text, events);
            }
            if let Some(signed) = signed {
                self.signature = Some(signed);
            }
            return;
        }
        if NATIVE.iter().any(|name| loose::pick(part, [name])[0].is_some())
            && let Some(whole) = Json::parse(String::from_utf8_lossy(part))
        {
            self.hush(events);
            events.push(Event::PartStart(PartStart::Native(Format::Gemini, whole)));
            events.push(Event::PartStop);
        }
    }

    fn say(&mut self, open: Open, text: &str, events: &mut Vec<Event>) {
        if self.open != open {
            let start =
                if open == Open::Text { PartStart::Text } else { PartStart::Thinking { redacted: text.is_empty() } };
            events.push(Event::PartStart(start));
            self.open = open;
            self.text.clear();
        }
        if open == Open::Text {
            self.text.push_str(text);
        }
        if !text.is_empty() {
            events.push(Event::Delta(Delta::Text(text.to_owned())));
        }
    }

    /// Ends the text or thought, with its signature.
    fn hush(&mut self, events: &mut Vec<Event>) {
        let signed = self.signature.take();
        let open = std::mem::replace(&mut self.open, Open::Nothing);
        if open == Open::Thinking {
            // A thought of Google's is one without a signature too.
            let signature = signature::own(&signed.unwrap_or_default());
            events.push(Event::Delta(Delta::Signature(signature)));
            events.push(Event::PartStop);
            return;
        }
        if open == Open::Text {
            events.push(Event::PartStop);
        }
        if let Some(behind) = signed.and_then(|signed| signature::behind_text(&signed).signature) {
            events.push(Event::PartStart(PartStart::Thinking { redacted: true }));
            events.push(Event::Delta(Delta::Signature(behind)));
            events.push(Event::PartStop);
        }
    }

    /// A call, which comes whole.
    fn call(&mut self, call: &[u8], signed: Option<String>, events: &mut Vec<Event>) {
        let [id, name, input] = self.reading.pick(call, ["id", "name", "args"]);
        self.hush(events);
        let id = match words(id) {
            id if id.is_empty() && self.id.is_empty() => format!("call_{}", self.calls),
            id if id.is_empty() => format!("call_{}_{}", self.id, self.calls),
            id => id,
        };
        self.calls += 1;
        events.push(Event::PartStart(PartStart::ToolCall { id, name: words(name), custom: false }));
        events.extend(signed.map(|signed| Event::Delta(Delta::Signature(signature::own(&signed)))));
        let input = input.filter(|input| *input != b"null").map_or("{}".into(), String::from_utf8_lossy);
        events.push(Event::Delta(Delta::Text(input.into_owned())));
        events.push(Event::PartStop);
    }

    fn refuse(&mut self, said: String, events: &mut Vec<Event>) {
        self.hush(events);
        events.push(Event::PartStart(PartStart::Refusal));
        events.push(Event::Delta(Delta::Text(said)));
        events.push(Event::PartStop);
    }

    fn logprobs(&mut self, logprobs: &[u8], events: &mut Vec<Event>) {
        let [chosen, top] = self.reading.pick(logprobs, ["chosenCandidates", "topCandidates"]);
        let tops = loose::elements(top.unwrap_or_default(), MOST);
        let mut tokens = Vec::new();
        for (at, token) in loose::elements(chosen.unwrap_or_default(), MOST).into_iter().enumerate() {
            let (token, logprob) = token_of(token);
            let others = tops.get(at).map_or([None], |top| loose::pick(top, ["candidates"]));
            let top = others[0].map(|list| loose::elements(list, MOST)).unwrap_or_default();
            tokens.push(TokenLogprob { token, logprob, top: top.into_iter().map(token_of).collect() });
        }
        if !tokens.is_empty() {
            events.push(Event::Delta(Delta::Logprobs(tokens)));
        }
    }

    /// What searches found, and which parts of the text say so.
    fn grounding(&mut self, grounding: &[u8], events: &mut Vec<Event>) {
        let [queries, chunks, supports] =
            self.reading.pick(grounding, ["webSearchQueries", "groundingChunks", "groundingSupports"]);
        let searches = queries.map(|queries| loose::elements(queries, MOST).len() as u64);
        raise(&mut self.reading.usage.web_searches, searches);
        if self.open != Open::Text {
            return;
        }
        let sources: Vec<_> = loose::elements(chunks.unwrap_or_default(), MOST)
            .into_iter()
            .map(|chunk| {
                let [web, place, retrieved] = loose::pick(chunk, ["web", "maps", "retrievedContext"]);
                let [uri, title] =
                    web.or(place).or(retrieved).map_or([None; 2], |web| loose::pick(web, ["uri", "title"]));
                (text(uri), text(title))
            })
            .collect();
        let places = Places::of(&self.text);
        let mut found = Vec::new();
        for support in loose::elements(supports.unwrap_or_default(), MOST) {
            let [segment, indices] = loose::pick(support, ["segment", "groundingChunkIndices"]);
            let [start, end] = segment.map_or([None; 2], |segment| loose::pick(segment, ["startIndex", "endIndex"]));
            let span = span(&places, start, end);
            for index in loose::elements(indices.unwrap_or_default(), MOST) {
                let source = loose::count(index).and_then(|index| sources.get(usize::try_from(index).ok()?));
                let Some((uri, title)) = source else { continue };
                found.push(Citation { uri: uri.clone(), title: title.clone(), snippet: None, span });
            }
        }
        self.cite(found, events);
    }

    /// What the text repeats.
    fn citations(&mut self, citations: &[u8], events: &mut Vec<Event>) {
        if self.open != Open::Text {
            return;
        }
        let [sources, citations] = loose::pick(citations, ["citationSources", "citations"]);
        let list = sources.or(citations).unwrap_or_default();
        let places = Places::of(&self.text);
        let mut found = Vec::new();
        for source in loose::elements(list, MOST) {
            let [uri, title, start, end] = loose::pick(source, ["uri", "title", "startIndex", "endIndex"]);
            let span = span(&places, start, end);
            found.push(Citation { uri: text(uri), title: text(title), snippet: None, span });
        }
        self.cite(found, events);
    }

    /// Tells the citations that were not told; each chunk repeats those of the chunks before.
    fn cite(&mut self, found: Vec<Citation>, events: &mut Vec<Event>) {
        let count = found.len();
        let new = found.into_iter().skip(self.cited);
        events.extend(new.filter(|one| one.uri.is_some()).map(|one| Event::Delta(Delta::Citation(one))));
        self.cited = self.cited.max(count);
    }

    fn fail(&mut self, error: UpstreamErrorSummary, events: &mut Vec<Event>) {
        self.ended = true;
        events.push(Event::Error(error));
    }

    fn end(&mut self, events: &mut Vec<Event>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        self.hush(events);
        self.tell_usage(events);
        let reason = self.stop.take().unwrap_or(StopReason::EndTurn);
        // The format has one word for both.
        let reason = if self.calls > 0 && reason == StopReason::EndTurn { StopReason::ToolUse } else { reason };
        events.push(Event::Stop { reason, sequence: None });
        events.push(Event::End);
    }
}

/// The characters between two places of a text that are counted in bytes. The first is left out where it is the beginning.
fn span(places: &Places<'_>, start: Option<&[u8]>, end: Option<&[u8]>) -> Option<(u64, u64)> {
    let place = |value: Option<&[u8]>| value.map_or(Some(0), loose::count).map(|bytes| places.characters(bytes));
    end?;
    place(start).zip(place(end))
}

fn words(value: Option<&[u8]>) -> String {
    value.and_then(loose::text).map(Cow::into_owned).unwrap_or_default()
}

fn text(value: Option<&[u8]>) -> Option<String> {
    Some(words(value)).filter(|text| !text.is_empty())
}

fn token_of(token: &[u8]) -> (String, f64) {
    let [word, logprob] = loose::pick(token, ["token", "logProbability"]);
    let number = logprob.and_then(|value| std::str::from_utf8(value).ok()?.trim().parse().ok());
    // One that is certain is left out, as zeros are.
    (words(word), number.filter(|number: &f64| number.is_finite()).unwrap_or(0.0))
}

impl ReadStream for Stream {
    fn read(&mut self, data: &[u8], events: &mut Vec<Event>) {
        if !self.ended {
            self.chunk(unwrapped(data), events);
        }
    }

    fn finish(&mut self, events: &mut Vec<Event>) {
        if self.stop.is_some() {
            self.end(events);
        }
    }
}
