//! What the ledger needs to know of an answer, read while the bytes pass by.

mod anthropic;
mod excerpt;
mod openai;

use std::fmt;

pub use excerpt::Excerpt;

use memchr::memmem;
use serde::{Deserialize, Serialize};

use crate::Format;
use crate::sse::SseParser;
use excerpt::ExcerptBuilder;
use systemprompt_model::json;

/// Tokens of one request. A count is `None` until the provider states it.
///
/// The kinds do not overlap, whatever the format: `input_tokens` excludes what was read from or written to the prompt
/// cache, so that each kind can be multiplied by its price.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Input tokens at the full price.
    pub input_tokens: Option<u64>,
    /// Output tokens, hidden reasoning included.
    pub output_tokens: Option<u64>,
    /// Input tokens read from the prompt cache.
    pub cache_read_tokens: Option<u64>,
    /// Input tokens written to the prompt cache.
    pub cache_creation_tokens: Option<u64>,
}

impl Usage {
    /// All tokens the provider counted.
    pub fn total(&self) -> u64 {
        self.prompt_tokens().saturating_add(self.output_tokens.unwrap_or(0))
    }

    /// All input tokens, cached or not: the length of the prompt.
    pub fn prompt_tokens(&self) -> u64 {
        [self.input_tokens, self.cache_read_tokens, self.cache_creation_tokens]
            .into_iter()
            .flatten()
            .fold(0, u64::saturating_add)
    }
}

/// Why a model stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StopReason {
    /// It was done.
    EndTurn,
    /// The output limit was reached.
    MaxTokens,
    /// One of the request's stop sequences came up.
    StopSequence,
    /// It wants a tool to be called.
    ToolUse,
    /// Anything else, in the provider's words: `refusal`, `pause_turn`, `content_filter` and what is yet to come.
    Other(String),
}

impl StopReason {
    /// Reads the provider's word for it.
    pub fn from_word(format: Format, reason: &str) -> Self {
        match (format, reason) {
            (Format::AnthropicMessages, "end_turn") | (Format::OpenAiChat, "stop") => Self::EndTurn,
            (Format::AnthropicMessages, "max_tokens") | (Format::OpenAiChat, "length") => Self::MaxTokens,
            (Format::AnthropicMessages, "stop_sequence") => Self::StopSequence,
            (Format::AnthropicMessages, "tool_use") | (Format::OpenAiChat, "tool_calls" | "function_call") => {
                Self::ToolUse
            }
            (Format::AnthropicMessages | Format::OpenAiChat, other) => Self::Other(bounded(other)),
        }
    }

    /// The word for it on a format. What one format cannot say is never turned into a normal end.
    pub fn word(&self, format: Format) -> &str {
        match (format, self) {
            (Format::AnthropicMessages, Self::EndTurn) => "end_turn",
            (Format::AnthropicMessages, Self::MaxTokens) => "max_tokens",
            (Format::AnthropicMessages, Self::StopSequence) => "stop_sequence",
            (Format::AnthropicMessages, Self::ToolUse) => "tool_use",
            (Format::AnthropicMessages, Self::Other(reason)) => match reason.as_str() {
                "content_filter" => "refusal",
                other => other,
            },
            (Format::OpenAiChat, Self::EndTurn | Self::StopSequence) => "stop",
            (Format::OpenAiChat, Self::MaxTokens) => "length",
            (Format::OpenAiChat, Self::ToolUse) => "tool_calls",
            (Format::OpenAiChat, Self::Other(_)) => "content_filter",
        }
    }

    /// The neutral name kept in the ledger.
    pub fn as_str(&self) -> &str {
        match self {
            Self::EndTurn => "end_turn",
            Self::MaxTokens => "max_tokens",
            Self::StopSequence => "stop_sequence",
            Self::ToolUse => "tool_use",
            Self::Other(reason) => reason,
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A tool the model wants called.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ToolCall {
    /// The provider's id of the call, at most 256 bytes.
    pub id: String,
    /// The name of the tool, at most 256 bytes.
    pub name: String,
    /// The start of the input as JSON text, up to the tap's limit for tools.
    pub input_excerpt: String,
    /// The length of the whole input in bytes.
    pub input_bytes: u64,
}

/// An error the provider reported, in the body or inside the stream. Texts are at most 1,024 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamErrorSummary {
    /// `error.type`.
    pub kind: Option<String>,
    /// `error.code`.
    pub code: Option<String>,
    /// `error.message`.
    pub message: String,
}

/// What an answer said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerSummary {
    /// The tokens the provider counted.
    pub usage: Usage,
    /// Why the model stopped.
    pub stop_reason: Option<StopReason>,
    /// The provider's id of the answer.
    pub provider_request_id: Option<String>,
    /// The model that answered, in the provider's words.
    pub model: Option<String>,
    /// The tools the model wants called; at most 128 are kept.
    pub tool_calls: Vec<ToolCall>,
    /// The answer's text without thinking and tool inputs.
    pub text: Excerpt,
    /// The provider said the answer is finished, and reported no error.
    pub complete: bool,
    /// The error the provider reported.
    pub error: Option<UpstreamErrorSummary>,
    /// Events that were not what the format defines, or were too long to read.
    pub unreadable_events: u64,
}

/// Watches an answer on its way to the caller and never alters it.
///
/// Memory is bounded whatever arrives: a streamed answer costs its excerpts and at most one event of 1 MiB, a buffered
/// one its own length up to 8 MiB. Of a longer one only the end is kept, where both formats put usage and stop reason.
#[derive(Debug)]
pub struct AnswerTap {
    format: Format,
    input: Input,
    answer: Answer,
}

#[derive(Debug)]
enum Input {
    Events(SseParser),
    Body(Vec<u8>),
    EndOfBody(Vec<u8>),
}

const EVENT_LIMIT: usize = 1024 * 1024;
const BODY_LIMIT: usize = 8 * 1024 * 1024;
const END_OF_BODY: usize = 64 * 1024;

impl AnswerTap {
    /// A tap for one answer.
    ///
    /// `text_limit` is the number of bytes kept of each end of the text, 0 for its length alone; `tool_limit` that of the
    /// start of each tool's input.
    pub fn new(format: Format, streamed: bool, text_limit: usize, tool_limit: usize) -> Self {
        let input = if streamed { Input::Events(SseParser::new(EVENT_LIMIT)) } else { Input::Body(Vec::new()) };
        Self { format, input, answer: Answer::new(text_limit, tool_limit) }
    }

    /// Looks at the next bytes.
    pub fn feed(&mut self, chunk: &[u8]) {
        let Self { format, input, answer } = self;
        match input {
            Input::Events(parser) => parser.feed(chunk, |data| answer.event(*format, data)),
            Input::Body(body) => {
                body.extend_from_slice(chunk);
                if body.len() > BODY_LIMIT {
                    body.drain(..body.len() - END_OF_BODY);
                    body.shrink_to_fit();
                    *input = Input::EndOfBody(std::mem::take(body));
                }
            }
            Input::EndOfBody(end) => {
                end.extend_from_slice(chunk);
                if end.len() > 2 * END_OF_BODY {
                    end.drain(..end.len() - END_OF_BODY);
                }
            }
        }
    }

    /// Whether the provider has ended the answer: its last event, or an error event. After that nothing may be added
    /// to the stream. Always false for a buffered answer.
    pub fn terminal_seen(&self) -> bool {
        self.answer.finished || self.answer.error.is_some()
    }

    /// The tokens counted so far.
    pub fn usage(&self) -> &Usage {
        &self.answer.usage
    }

    /// Whether the stream stands between two events, so that an event of ours may be inserted.
    pub fn at_event_boundary(&self) -> bool {
        match &self.input {
            Input::Events(parser) => parser.at_event_boundary(),
            Input::Body(_) | Input::EndOfBody(_) => false,
        }
    }

    /// Ends the answer, wherever it stands, and says what it was.
    pub fn finish(self) -> AnswerSummary {
        let Self { format, input, mut answer } = self;
        match input {
            Input::Events(mut parser) => {
                parser.finish(|data| answer.event(format, data));
                answer.unreadable_events += parser.skipped_events();
            }
            Input::Body(body) => answer.body(format, &body),
            Input::EndOfBody(end) => answer.end_of_body(format, &end),
        }
        answer.summary()
    }
}

/// The answer as far as it is known; the formats' readers write into it.
#[derive(Debug)]
struct Answer {
    tool_limit: usize,
    usage: Usage,
    openai_prompt: openai::PromptTokens,
    stop_reason: Option<StopReason>,
    id: Option<String>,
    model: Option<String>,
    tool_calls: Vec<(u64, ToolCall)>,
    text: ExcerptBuilder,
    finished: bool,
    error: Option<UpstreamErrorSummary>,
    unreadable_events: u64,
}

const TOOL_CALLS_KEPT: usize = 128;

impl Answer {
    fn new(text_limit: usize, tool_limit: usize) -> Self {
        Self {
            tool_limit,
            usage: Usage::default(),
            openai_prompt: openai::PromptTokens::default(),
            stop_reason: None,
            id: None,
            model: None,
            tool_calls: Vec::new(),
            text: ExcerptBuilder::new(text_limit),
            finished: false,
            error: None,
            unreadable_events: 0,
        }
    }

    fn event(&mut self, format: Format, data: &[u8]) {
        let read = match format {
            Format::AnthropicMessages => anthropic::event(self, data),
            Format::OpenAiChat => openai::event(self, data),
        };
        if read.is_err() {
            self.unreadable_events += 1;
        }
    }

    fn body(&mut self, format: Format, body: &[u8]) {
        let read = match format {
            Format::AnthropicMessages => anthropic::body(self, body),
            Format::OpenAiChat => openai::body(self, body),
        };
        if read.is_err() {
            self.unreadable_events += 1;
        }
    }

    /// Reads what can be found at the end of an answer whose start was not kept.
    fn end_of_body(&mut self, format: Format, end: &[u8]) {
        let value_of = |key: &str| {
            let quoted = format!("\"{key}\"");
            memmem::rfind_iter(end, quoted.as_bytes())
                // Inside a text the quote would have a backslash before it.
                .find(|at| *at == 0 || end[at - 1] != b'\\')
                .and_then(|at| {
                    let after = end[at + quoted.len()..].trim_ascii_start().strip_prefix(b":")?;
                    Some(&after[json::Cursor::new(after).skip().ok()?])
                })
        };
        match format {
            Format::AnthropicMessages => anthropic::usage(self, value_of("usage")),
            Format::OpenAiChat => openai::usage(self, value_of("usage")),
        }
        let stop_field = match format {
            Format::AnthropicMessages => "stop_reason",
            Format::OpenAiChat => "finish_reason",
        };
        self.stop_word(format, value_of(stop_field));
        self.finished = end.trim_ascii_end().ends_with(b"}");
    }

    fn stop_word(&mut self, format: Format, value: Option<&[u8]>) {
        if let Some(reason) = value.and_then(json::text) {
            self.stop_reason = Some(StopReason::from_word(format, &reason));
        }
    }

    fn identity(&mut self, id: Option<&[u8]>, model: Option<&[u8]>) {
        let first = |known: &mut Option<String>, value: Option<&[u8]>| {
            if known.is_none() {
                *known = value.and_then(json::text).filter(|text| !text.is_empty()).map(|text| bounded(&text));
            }
        };
        first(&mut self.id, id);
        first(&mut self.model, model);
    }

    fn text(&mut self, value: Option<&[u8]>) {
        if let Some(text) = value.and_then(json::text) {
            self.text.push(&text);
        }
    }

    /// The tool call with this index, made if it is new; `None` when there are too many.
    fn tool_call(&mut self, index: u64) -> Option<&mut ToolCall> {
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

    fn tool_input(&mut self, index: u64, part: &str) {
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

    fn error(&mut self, error: &[u8]) {
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

    fn summary(self) -> AnswerSummary {
        AnswerSummary {
            usage: self.usage,
            stop_reason: self.stop_reason,
            provider_request_id: self.id,
            model: self.model,
            tool_calls: self.tool_calls.into_iter().map(|(_, call)| call).collect(),
            text: self.text.finish(),
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
fn raise(count: &mut Option<u64>, value: Option<&[u8]>) {
    if let Some(stated) = value.and_then(json::unsigned) {
        *count = Some(count.map_or(stated, |known| known.max(stated)));
    }
}

/// Names and ids of the provider, at most 256 bytes.
fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(256)].to_owned()
}
