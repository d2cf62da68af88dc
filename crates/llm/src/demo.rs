//! The demo model: answers without a provider, a key or a network, the same one for the same prompt.
//!
//! It shows the product at work before anybody has a key, and it says so: every answer names itself a demo. It speaks
//! both formats, buffered and streamed at the pace of a real model, reports usage, calls a tool when one is offered,
//! and respects `max_tokens` and stop sequences.

mod anthropic;
mod openai;
mod reply;

use bytes::Bytes;
use serde_json::Value;

use crate::{Format, InferenceRequest, StopReason, Usage};

/// Answers a request.
pub fn answer(request: &InferenceRequest) -> DemoAnswer {
    reply::compose(request)
}

/// What the demo model says.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoAnswer {
    /// The model's name as the caller wrote it.
    pub model: String,
    /// The text, empty if `max_tokens` allows none.
    pub text: String,
    /// The tool to be called after the text.
    pub tool_call: Option<DemoToolCall>,
    /// Why the model stopped.
    pub stop_reason: StopReason,
    /// The stop sequence that ended the text.
    pub stop_sequence: Option<String>,
    /// The tokens, estimated at four characters each.
    pub usage: Usage,
    /// Whether an `openai-chat` stream ends with a usage chunk of its own. Without it the last chunk with a choice
    /// carries the usage, so the ledger has it either way.
    pub usage_chunk: bool,
}

/// A tool call of the demo model.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoToolCall {
    /// The name of an offered tool.
    pub name: String,
    /// An input made up from the tool's schema.
    pub input: Value,
}

/// A part of a streamed answer and how long a real model would take to produce it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DemoEvent {
    /// One or more whole server-sent events.
    pub bytes: Bytes,
    /// How long to wait before sending them, in milliseconds.
    pub delay_ms: u32,
}

impl DemoAnswer {
    /// The body of a buffered answer. `id` makes the ids in it unique; `created` is the time in seconds since 1970.
    pub fn buffered(&self, format: Format, id: &str, created: i64) -> Vec<u8> {
        match format {
            Format::AnthropicMessages => anthropic::buffered(self, id),
            Format::OpenAiChat => openai::buffered(self, id, created),
        }
    }

    /// The events of a streamed answer in order. `id` makes the ids in it unique; `created` is the time in seconds
    /// since 1970.
    pub fn events(&self, format: Format, id: &str, created: i64) -> Vec<DemoEvent> {
        match format {
            Format::AnthropicMessages => anthropic::events(self, id),
            Format::OpenAiChat => openai::events(self, id, created),
        }
    }
}

/// Time to the first token of a real model, roughly.
const FIRST_TOKEN_MS: u32 = 180;

/// Time from one token to the next, roughly that of a model with fifty tokens a second.
const NEXT_TOKEN_MS: u32 = 20;

/// The events of a stream, with the pace of a model.
#[derive(Default)]
struct Stream {
    events: Vec<DemoEvent>,
    spoke: bool,
}

impl Stream {
    /// Adds an event that follows the one before at once.
    fn push(&mut self, event: Vec<u8>) {
        self.events.push(DemoEvent { bytes: event.into(), delay_ms: 0 });
    }

    /// Adds an event that carries a token.
    fn push_token(&mut self, event: Vec<u8>) {
        let delay_ms = if std::mem::replace(&mut self.spoke, true) { NEXT_TOKEN_MS } else { FIRST_TOKEN_MS };
        self.events.push(DemoEvent { bytes: event.into(), delay_ms });
    }
}

/// Cuts a text where a model would: before each word.
fn tokens(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.char_indices().skip(1).find(|(_, character)| *character == ' ').map_or(rest.len(), |(at, _)| at);
        let (token, after) = rest.split_at(end);
        rest = after;
        (!token.is_empty()).then_some(token)
    })
}

/// Cuts the text of a tool input, which has few spaces, into pieces of about a token.
fn input_tokens(input: &str) -> impl Iterator<Item = &str> {
    let mut rest = input;
    std::iter::from_fn(move || {
        let (token, after) = rest.split_at(rest.ceil_char_boundary(rest.len().min(12)));
        rest = after;
        (!token.is_empty()).then_some(token)
    })
}
