//! The answer as far as it was read.

use std::collections::BTreeSet;

use systemprompt_model::json::{self, loose};

use super::excerpt::ExcerptBuilder;
use super::summary::{AnswerSummary, StopReason, ToolCall, UpstreamErrorSummary, Usage, bounded};

/// The answer as far as it is known; the reader of a format writes into it.
#[derive(Debug)]
pub(crate) struct Reading {
    tool_limit: usize,
    pub(crate) usage: Usage,
    /// What the provider counted, where its kinds overlap.
    pub(crate) counted: Counted,
    service_tier: Option<String>,
    pub(crate) stop_reason: Option<StopReason>,
    /// The choices of which something came, and those of them that stopped.
    begun: BTreeSet<u64>,
    stopped: BTreeSet<u64>,
    /// Something came of a choice after it was said to have stopped: this provider says so before it is true.
    stops_early: bool,
    /// How many choices were asked for.
    pub(crate) choices: usize,
    id: Option<String>,
    model: Option<String>,
    created: Option<u64>,
    /// The number the next event will have, in formats that number them.
    next_event: u64,
    tool_calls: Vec<(u64, ToolCall)>,
    /// So many bytes of their inputs are kept.
    tool_inputs: usize,
    /// There were more calls than are kept.
    pub(crate) calls_missed: bool,
    /// The provider ran a tool of its own.
    pub(crate) provider_acted: bool,
    text: ExcerptBuilder,
    thinking: ExcerptBuilder,
    pub(crate) unread_bytes: u64,
    pub(crate) finished: bool,
    pub(crate) error: Option<UpstreamErrorSummary>,
    pub(crate) unreadable_events: u64,
    /// Nothing was wrong with the event that is being read, so far.
    sound: bool,
}

/// Counts of a format whose kinds overlap. They are cumulative.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    /// The prompt, in which cached tokens may be counted.
    pub(crate) prompt: Option<u64>,
    /// The answer, in which reasoning may be counted.
    pub(crate) completion: Option<u64>,
    /// What the provider's own tools added to the prompt.
    pub(crate) tools: Option<u64>,
    pub(crate) total: Option<u64>,
}

const TOOL_CALLS_KEPT: usize = 128;
/// Of all inputs together; an answer that comes at once is not longer.
const TOOL_INPUTS_KEPT: usize = 8 * 1024 * 1024;
/// More choices than this are not told apart.
const CHOICES_KEPT: usize = 1024;
/// No request has as many tokens as this. A provider that says so is wrong, and sums of what it says must still be sums.
const MOST_TOKENS: u64 = 10_000_000_000;

impl Reading {
    /// An answer nothing is known of yet.
    pub(crate) fn new(text_limit: usize, tool_limit: usize) -> Self {
        Self {
            tool_limit,
            usage: Usage::default(),
            counted: Counted::default(),
            service_tier: None,
            stop_reason: None,
            begun: BTreeSet::new(),
            stopped: BTreeSet::new(),
            stops_early: false,
            choices: 1,
            id: None,
            model: None,
            created: None,
            next_event: 0,
            tool_calls: Vec::new(),
            tool_inputs: 0,
            calls_missed: false,
            provider_acted: false,
            text: ExcerptBuilder::new(text_limit),
            thinking: ExcerptBuilder::new(text_limit),
            unread_bytes: 0,
            finished: false,
            error: None,
            unreadable_events: 0,
            sound: true,
        }
    }

    /// Reads an event or a body with the reader of its format, and counts it if something was wrong with it.
    pub(crate) fn read(&mut self, reader: fn(&mut Self, &[u8]), bytes: &[u8]) {
        self.sound = true;
        reader(self, bytes);
        self.unreadable_events += u64::from(!self.sound);
    }

    /// Something about the event is not as its format has it, so not all of it may have been read.
    pub(crate) fn unsound(&mut self) {
        self.sound = false;
    }

    /// The raw values of some members of an object. Reading goes on where a parser would give up: what is wrong is noted,
    /// and what can be found is found.
    pub(crate) fn pick<'a, const N: usize>(&mut self, object: &'a [u8], names: [&str; N]) -> [Option<&'a [u8]>; N] {
        json::pick(object, names).unwrap_or_else(|_| {
            self.unsound();
            loose::pick(object, names)
        })
    }

    /// The count that a raw value states. One that cannot be true is bounded, and noted.
    pub(crate) fn count(&mut self, value: Option<&[u8]>) -> Option<u64> {
        let count = loose::count(value?)?;
        if count > MOST_TOKENS {
            self.unsound();
        }
        Some(count.min(MOST_TOKENS))
    }

    /// Notes why the model stopped, in the provider's word for it. An empty word says nothing.
    pub(crate) fn stop(&mut self, word: Option<&[u8]>, reason: fn(&str) -> StopReason) -> bool {
        let Some(word) = word.and_then(loose::text).filter(|word| !word.is_empty() && word != "null") else {
            return false;
        };
        self.stop_reason = Some(reason(&word));
        true
    }

    /// Notes that something came of the choice with this index, whether it said something, and whether it stopped.
    pub(crate) fn choice(&mut self, index: u64, said: bool, stopped: bool) {
        self.stops_early |= said && self.stopped.contains(&index);
        if self.begun.len() < CHOICES_KEPT {
            self.begun.insert(index);
            if stopped {
                self.stopped.insert(index);
            }
        }
    }

    /// Whether the model said why it stopped, of every choice that it began and that was asked for, so that no more of it is
    /// to come.
    pub(crate) fn has_stopped(&self) -> bool {
        self.has_stopped_at_the_end()
            && !self.stops_early
            && (self.begun.is_empty() || self.begun.len() >= self.choices)
    }

    /// The same, where it is certain that no more comes.
    pub(crate) fn has_stopped_at_the_end(&self) -> bool {
        self.stop_reason.is_some() && self.begun.len() == self.stopped.len()
    }

    /// Notes the class of service the request was given.
    pub(crate) fn service_tier(&mut self, tier: Option<&[u8]>) {
        if let Some(tier) = tier.and_then(loose::text).filter(|tier| !tier.is_empty()) {
            self.service_tier = Some(bounded(&tier));
        }
    }

    /// The class of service, if it was noted since it was last asked for.
    pub(crate) fn new_service_tier(&mut self) -> Option<String> {
        self.service_tier.take()
    }

    /// Notes the id and the model, where they are said first.
    pub(crate) fn identity(&mut self, id: Option<&[u8]>, model: Option<&[u8]>) {
        let first = |known: &mut Option<String>, value: Option<&[u8]>| {
            if known.is_none() {
                *known = value.and_then(loose::text).filter(|text| !text.is_empty()).map(|text| bounded(&text));
            }
        };
        first(&mut self.id, id);
        first(&mut self.model, model);
    }

    /// Notes when the answer began, where it is said first.
    pub(crate) fn created(&mut self, value: Option<&[u8]>) {
        self.created = self.created.or_else(|| loose::count(value?));
    }

    /// Notes that the event with this number came.
    pub(crate) fn at_event(&mut self, number: u64) {
        self.next_event = number.saturating_add(1);
    }

    /// The number the next event will have.
    pub(crate) fn next_event(&self) -> u64 {
        self.next_event
    }

    /// The id, the model, and when the answer began.
    pub(crate) fn names(&self) -> (Option<&str>, Option<&str>, Option<u64>) {
        (self.id.as_deref(), self.model.as_deref(), self.created)
    }

    /// Whether nothing was said, thought or called so far.
    pub(crate) fn is_silent(&self) -> bool {
        self.text.is_empty() && self.thinking.is_empty() && self.tool_calls.is_empty()
    }

    /// Adds a part of the text, if the raw value is one.
    pub(crate) fn text(&mut self, value: Option<&[u8]>) {
        if let Some(text) = value.and_then(loose::text) {
            self.text.push(&text);
        }
    }

    /// Adds a part of what was thought, if the raw value is one.
    pub(crate) fn thinking(&mut self, value: Option<&[u8]>) {
        if let Some(text) = value.and_then(loose::text) {
            self.thinking.push(&text);
        }
    }

    /// Whether the model wants a tool called.
    pub(crate) fn calls_tools(&self) -> bool {
        !self.tool_calls.is_empty()
    }

    /// The tools the model wants called, in order.
    pub(crate) fn called_tools(&self) -> impl Iterator<Item = &ToolCall> {
        self.tool_calls.iter().map(|(_, call)| call)
    }

    /// An index for the next call of a choice, in formats whose calls come whole and have none.
    pub(crate) fn next_tool_call(&self, choice: u64) -> u64 {
        choice.saturating_mul(TOOL_CALLS_KEPT as u64).saturating_add(self.tool_calls.len() as u64)
    }

    /// The tool call with this index, made if it is new; `None` when there are too many.
    pub(crate) fn tool_call(&mut self, index: u64) -> Option<&mut ToolCall> {
        let known = self.tool_calls.iter().rposition(|(known, _)| *known == index);
        let at = match known {
            Some(at) => at,
            None => self.add_tool_call(index)?,
        };
        Some(&mut self.tool_calls[at].1)
    }

    /// The tool call that begins with this index; `None` when there are too many. What is named already is another call:
    /// somebody may have been told of it, so it stays what it was.
    pub(crate) fn new_tool_call(&mut self, index: u64) -> Option<&mut ToolCall> {
        let known = self.tool_calls.iter().rposition(|(known, _)| *known == index);
        let at = match known.filter(|at| self.tool_calls[*at].1.name.is_empty()) {
            Some(at) => at,
            None => self.add_tool_call(index)?,
        };
        Some(&mut self.tool_calls[at].1)
    }

    fn add_tool_call(&mut self, index: u64) -> Option<usize> {
        if self.tool_calls.len() == TOOL_CALLS_KEPT {
            self.calls_missed = true;
            return None;
        }
        self.tool_calls.push((index, ToolCall::default()));
        Some(self.tool_calls.len() - 1)
    }

    /// Adds a part of the input of the tool call with this index.
    pub(crate) fn tool_input(&mut self, index: u64, part: &str) {
        let (limit, left) = (self.tool_limit, TOOL_INPUTS_KEPT - self.tool_inputs);
        if let Some(call) = self.tool_call(index) {
            call.input_bytes += part.len() as u64;
            // Only a part that continues the excerpt may be added to it.
            if (call.input_excerpt.len() + part.len()) as u64 == call.input_bytes {
                let room = limit.saturating_sub(call.input_excerpt.len()).min(left);
                let room = part.floor_char_boundary(room);
                call.input_excerpt.push_str(&part[..room]);
                self.tool_inputs += room;
            }
        }
    }

    /// Notes the error that a raw value describes: an object, or the message alone.
    pub(crate) fn error(&mut self, error: &[u8]) {
        let words = |value: &[u8]| {
            let text = loose::text(value).unwrap_or_else(|| String::from_utf8_lossy(value));
            text[..text.floor_char_boundary(1024)].to_owned()
        };
        let said = |value: Option<&[u8]>| value.filter(|value| *value != b"null").map(words);
        self.error = Some(if error.trim_ascii_start().starts_with(b"{") {
            let [kind, code, message, status, details] =
                loose::pick(error, ["type", "code", "message", "status", "details"]);
            // Google's word for what it is stands in the details.
            let details = details.map(|details| loose::elements(details, 16)).unwrap_or_default();
            let reason = details.into_iter().find_map(|detail| loose::pick(detail, ["reason"])[0]);
            let word = status.filter(|status| loose::count(status).is_none());
            let status = [code, status].into_iter().flatten().find_map(loose::count);
            UpstreamErrorSummary {
                kind: said(kind).or_else(|| said(reason)).or_else(|| said(word)),
                code: said(code),
                // Without a message the whole of it is the best there is to say.
                message: said(message).unwrap_or_else(|| words(error)),
                status: status
                    .and_then(|status| u16::try_from(status).ok())
                    .filter(|status| (400..600).contains(status)),
            }
        } else {
            UpstreamErrorSummary { message: words(error), ..UpstreamErrorSummary::default() }
        });
    }

    /// What is known now.
    pub(crate) fn summary(mut self) -> AnswerSummary {
        let tool_calls = std::mem::take(&mut self.tool_calls);
        AnswerSummary {
            tool_calls: tool_calls.into_iter().map(|(_, call)| call).collect(),
            text: std::mem::take(&mut self.text).finish(),
            thinking: std::mem::take(&mut self.thinking).finish(),
            ..self.measured()
        }
    }

    /// The same without what the model said: of texts and of the inputs of tools there is the length.
    pub(crate) fn measured(&self) -> AnswerSummary {
        let measured = |call: &ToolCall| ToolCall {
            id: call.id.clone(),
            name: call.name.clone(),
            input_excerpt: String::new(),
            input_bytes: call.input_bytes,
        };
        AnswerSummary {
            usage: self.usage,
            service_tier: self.service_tier.clone(),
            stop_reason: self.stop_reason.clone(),
            provider_request_id: self.id.clone(),
            model: self.model.clone(),
            tool_calls: self.called_tools().map(measured).collect(),
            provider_acted: self.provider_acted,
            text: self.text.measured(),
            thinking: self.thinking.measured(),
            unread_bytes: self.unread_bytes,
            complete: self.finished && self.error.is_none(),
            error: self.error.clone(),
            unreadable_events: self.unreadable_events,
        }
    }
}

/// Whether a raw value, where an error would stand, is one.
pub(crate) fn is_error(value: &[u8]) -> bool {
    let says_nothing = |value: &[u8]| matches!(value, b"null" | b"false" | b"0" | b"\"\"" | b"{}" | b"[]");
    if says_nothing(value) {
        return false;
    }
    // Some servers have the object always, and fill it when there is something to say.
    let fields = loose::pick(value, ["message", "code", "type"]);
    fields.iter().flatten().count() == 0 || fields.iter().flatten().any(|field| !says_nothing(field))
}

/// An answer, taken out of the array that some servers put errors into.
pub(crate) fn unwrapped(body: &[u8]) -> &[u8] {
    match loose::elements(body, 2).as_slice() {
        [single] => single,
        _ => body,
    }
}

/// Raises a count to what a frame says.
///
/// Counts are cumulative, so they only grow: a frame that omits one, or repeats it as zero as some translating proxies
/// do in their last frame, does not reset what an earlier one said.
pub(crate) fn raise(count: &mut Option<u64>, stated: Option<u64>) {
    *count = (*count).max(stated);
}
