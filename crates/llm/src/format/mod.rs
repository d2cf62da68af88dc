//! The formats of model APIs, one folder each.
//!
//! A folder says everything the rest of the crate needs to know of its format, in one [`Definition`]. The readers write
//! into neutral facts ([`Reader`](crate::request::reader::Reader), [`Reading`](crate::answer::reading::Reading)), so
//! nothing outside of the folder asks which format it has before it.
//!
//! To add a format: a folder with its `DEFINITION`, a variant of [`Format`], a line in [`Format::definition`] and one in `codecs.rs`, and
//! golden files in `tests/golden`.

pub(crate) mod anthropic;
mod codecs;
mod definition;
mod ids;
pub(crate) mod openai_chat;
mod openai_responses;
mod raw;
mod schema;

use std::fmt;

pub(crate) use definition::Definition;

use crate::error::ErrorAnswer;
use crate::sse;

/// The HTTP shape of a model API. A caller speaks one to us and a provider speaks one; when both are the same the
/// caller's bytes are relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Anthropic Messages.
    AnthropicMessages,
    /// OpenAI Chat Completions and everything compatible with it.
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::AnthropicMessages, Self::OpenAiChat, Self::OpenAiResponses];

    pub(crate) const fn definition(self) -> &'static Definition {
        match self {
            Self::AnthropicMessages => &anthropic::DEFINITION,
            Self::OpenAiChat => &openai_chat::DEFINITION,
            Self::OpenAiResponses => &openai_responses::DEFINITION,
        }
    }

    /// The name used in logs, metrics and the ledger.
    pub const fn as_str(self) -> &'static str {
        self.definition().name
    }

    /// The path to which requests are posted, below our prefix as below a provider's endpoint, with its leading slash.
    pub const fn path(self) -> &'static str {
        self.definition().path
    }

    /// The header under which the vendor's clients look for the id of a request.
    pub const fn request_id_header(self) -> &'static str {
        self.definition().request_id_header
    }

    /// An answer that came whole, as a stream: the events that build it up, with one that says what was used where the format
    /// leaves that to the caller and `usage_asked` says so. What is no answer of this format is one event: the provider's
    /// own words if it has any, an error if its status is one.
    pub fn whole_as_stream(self, status: u16, body: &[u8], usage_asked: bool) -> Vec<u8> {
        if (200..300).contains(&status)
            && let Ok(answer) = serde_json::from_slice(body)
            && let Some(events) = (self.definition().events)(&answer, usage_asked)
        {
            return events;
        }
        let is_json = matches!(body.trim_ascii_start().first(), Some(b'{' | b'['));
        if (200..300).contains(&status) {
            return sse::event(b"", body);
        }
        if is_json {
            return (self.definition().error_events)(body, None, None);
        }
        ErrorAnswer::upstream_interrupted(format!("the upstream provider answered with status {status}"))
            .sse_event(self, None)
    }

    /// An event that says nothing, which keeps a quiet stream open.
    pub const fn ping(self) -> &'static [u8] {
        self.definition().ping
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl ErrorAnswer {
    /// The body of an answer with this error. `request_id` appears where the format has a place for it.
    pub fn body(&self, format: Format, request_id: Option<&str>) -> Vec<u8> {
        (format.definition().error_body)(self, request_id)
    }

    /// The event that ends a stream with this error.
    pub fn sse_event(&self, format: Format, request_id: Option<&str>) -> Vec<u8> {
        (format.definition().error_events)(&self.body(format, request_id), request_id, None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::summary::StopReason;

    fn word(format: Format, reason: &StopReason) -> &str {
        match format {
            Format::AnthropicMessages => anthropic::answer::stop_word(reason),
            Format::OpenAiChat => openai_chat::answer::stop_word(reason),
            Format::OpenAiResponses => openai_responses::answer::stop_word(reason),
        }
    }

    #[test]
    fn stop_reasons_map_as_the_table_says() {
        for (format, reason, canonical, back, other_word) in [
            (Format::AnthropicMessages, "end_turn", StopReason::EndTurn, "end_turn", "stop"),
            (Format::AnthropicMessages, "max_tokens", StopReason::MaxTokens, "max_tokens", "length"),
            (Format::AnthropicMessages, "stop_sequence", StopReason::StopSequence, "stop_sequence", "stop"),
            (Format::AnthropicMessages, "tool_use", StopReason::ToolUse, "tool_use", "tool_calls"),
            (Format::AnthropicMessages, "refusal", StopReason::other("refusal"), "refusal", "content_filter"),
            (Format::AnthropicMessages, "pause_turn", StopReason::other("pause_turn"), "pause_turn", "content_filter"),
            (
                Format::AnthropicMessages,
                "model_context_window_exceeded",
                StopReason::other("model_context_window_exceeded"),
                "model_context_window_exceeded",
                "length",
            ),
            (Format::OpenAiChat, "stop", StopReason::EndTurn, "stop", "end_turn"),
            (Format::OpenAiChat, "length", StopReason::MaxTokens, "length", "max_tokens"),
            (Format::OpenAiChat, "tool_calls", StopReason::ToolUse, "tool_calls", "tool_use"),
            (Format::OpenAiChat, "function_call", StopReason::ToolUse, "tool_calls", "tool_use"),
            (Format::OpenAiChat, "content_filter", StopReason::other("content_filter"), "content_filter", "refusal"),
            (Format::OpenAiResponses, "completed", StopReason::EndTurn, "completed", "end_turn"),
            (Format::OpenAiResponses, "max_output_tokens", StopReason::MaxTokens, "max_output_tokens", "max_tokens"),
            (
                Format::OpenAiResponses,
                "content_filter",
                StopReason::other("content_filter"),
                "content_filter",
                "refusal",
            ),
        ] {
            let read = (format.definition().stop_reason)(reason);
            assert_eq!(read, canonical);
            assert_eq!(word(format, &read), back, "{reason}");
            let other = match format {
                Format::AnthropicMessages => Format::OpenAiChat,
                Format::OpenAiChat | Format::OpenAiResponses => Format::AnthropicMessages,
            };
            assert_eq!(word(other, &read), other_word, "{reason}");
        }
    }
}
