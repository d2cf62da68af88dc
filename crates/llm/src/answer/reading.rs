//! The answer as far as it was read.

use systemprompt_model::json::{self, SyntaxError};

use super::excerpt::ExcerptBuilder;
use super::summary::{AnswerSummary, StopReason, ToolCall, UpstreamErrorSummary, Usage, bounded};

/// The answer as far as it is known; the reader of a format writes into it.
#[derive(Debug)]
pub(crate) struct Reading {
    tool_limit: usize,
    pub(crate) usage: Usage,
    /// The prompt's length where the provider counts cached tokens into it.
    pub(crate) prompt_tokens: Option<u64>,
    pub(crate) stop_reason: Option<StopReason>,
    id: Option<String>,
    model: Option<String>,
    tool_calls: Vec<(u64, ToolCall)>,
    text: ExcerptBuilder,
    thinking: ExcerptBuilder,
    pub(crate) unread_bytes: u64,
    pub(crate) finished: bool,
    pub(crate) error: Option<UpstreamErrorSummary>,
    pub(crate) unreadable_events: u64,
}

const TOOL_CALLS_KEPT: usize = 128;

impl Reading {
    /// An answer nothing is known of yet.
    pub(crate) fn new(text_limit: usize, tool_limit: usize) -> Self {
        Self {
            tool_limit,
            usage: Usage::default(),
            prompt_tokens: None,
            stop_reason: None,
            id: None,
            model: None,
            tool_calls: Vec::new(),
            text: ExcerptBuilder::new(text_limit),
            thinking: ExcerptBuilder::new(text_limit),
            unread_bytes: 0,
            finished: false,
            error: None,
            unreadable_events: 0,
        }
    }

    /// Reads an event or a body with the reader of its format.
    pub(crate) fn read(&mut self, reader: fn(&mut Self, &[u8]) -> Result<(), SyntaxError>, bytes: &[u8]) {
        if reader(self, bytes).is_err() {
            self.unreadable_events += 1;
        }
    }

    /// Notes why the model stopped, in the provider's word for it.
    pub(crate) fn stop(&mut self, word: Option<&[u8]>, reason: fn(&str) -> StopReason) {
        if let Some(word) = word.and_then(json::text) {
            self.stop_reason = Some(reason(&word));
        }
    }

    /// Notes the id and the model, where they are said first.
    pub(crate) fn identity(&mut self, id: Option<&[u8]>, model: Option<&[u8]>) {
        let first = |known: &mut Option<String>, value: Option<&[u8]>| {
            if known.is_none() {
                *known = value.and_then(json::text).filter(|text| !text.is_empty()).map(|text| bounded(&text));
            }
        };
        first(&mut self.id, id);
        first(&mut self.model, model);
    }

    /// Adds a part of the text, if the raw value is one.
    pub(crate) fn text(&mut self, value: Option<&[u8]>) {
        if let Some(text) = value.and_then(json::text) {
            self.text.push(&text);
        }
    }

    /// Adds a part of what was thought, if the raw value is one.
    pub(crate) fn thinking(&mut self, value: Option<&[u8]>) {
        if let Some(text) = value.and_then(json::text) {
            self.thinking.push(&text);
        }
    }

    /// The tool call with this index, made if it is new; `None` when there are too many.
    pub(crate) fn tool_call(&mut self, index: u64) -> Option<&mut ToolCall> {
        let known = self.tool_calls.iter().rposition(|(known, _)| *known == index);
        let at = match known {
            Some(at) => at,
            None if self.tool_calls.len() == TOOL_CALLS_KEPT => return None,
            None => {
                self.tool_calls.push((index, ToolCall::default()));
                self.tool_calls.len() - 1
            }
        };
        Some(&mut self.tool_calls[at].1)
    }

    /// Adds a part of the input of the tool call with this index.
    pub(crate) fn tool_input(&mut self, index: u64, part: &str) {
        let limit = self.tool_limit;
        if let Some(call) = self.tool_call(index) {
            call.input_bytes += part.len() as u64;
            // Only a part that continues the excerpt may be added to it.
            if (call.input_excerpt.len() + part.len()) as u64 == call.input_bytes {
                let room = part.floor_char_boundary(limit.saturating_sub(call.input_excerpt.len()));
                call.input_excerpt.push_str(&part[..room]);
            }
        }
    }

    /// Notes the error that a raw value describes.
    pub(crate) fn error(&mut self, error: &[u8]) {
        let limited = |value: Option<&[u8]>| {
            let text = json::text(value?)?;
            Some(text[..text.floor_char_boundary(1024)].to_owned())
        };
        let summary = match json::pick(error, ["type", "code", "message"]) {
            Ok([kind, code, message]) => UpstreamErrorSummary {
                kind: limited(kind),
                code: limited(code),
                message: limited(message).unwrap_or_default(),
            },
            Err(_) => UpstreamErrorSummary { message: limited(Some(error)).unwrap_or_default(), ..Default::default() },
        };
        self.error = Some(summary);
    }

    /// What is known now.
    pub(crate) fn summary(self) -> AnswerSummary {
        AnswerSummary {
            usage: self.usage,
            stop_reason: self.stop_reason,
            provider_request_id: self.id,
            model: self.model,
            tool_calls: self.tool_calls.into_iter().map(|(_, call)| call).collect(),
            text: self.text.finish(),
            thinking: self.thinking.finish(),
            unread_bytes: self.unread_bytes,
            complete: self.finished && self.error.is_none(),
            error: self.error,
            unreadable_events: self.unreadable_events,
        }
    }
}

/// Raises a count to what a frame says.
///
/// Counts are cumulative, so they only grow: a frame that omits one, or repeats it as zero as some translating proxies
/// do in their last frame, does not reset what an earlier one said.
pub(crate) fn raise(count: &mut Option<u64>, value: Option<&[u8]>) {
    if let Some(stated) = value.and_then(json::unsigned) {
        *count = Some(count.map_or(stated, |known| known.max(stated)));
    }
}
