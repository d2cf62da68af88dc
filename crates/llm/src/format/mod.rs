//! The formats of model APIs, one folder each.
//!
//! A folder says everything the rest of the crate needs to know of its format, in one [`Definition`]. The readers write
//! into neutral facts ([`Reader`](crate::request::reader::Reader), [`Reading`](crate::answer::reading::Reading)), so
//! nothing outside of the folder asks which format it has before it.
//!
//! To add a format: a folder with its `DEFINITION`, a variant of [`Format`], a line in [`Format::definition`] and one in `codecs.rs`, and
//! golden files in `tests/golden`.

pub(crate) mod anthropic;
mod bedrock_converse;
mod claude;
mod codecs;
mod counts;
pub(crate) mod definition;
mod embeddings;
pub(crate) mod gemini;
mod gpt;
mod grounding;
mod ids;
mod images;
pub(crate) mod openai_chat;
mod openai_responses;
mod raw;
mod schema;
mod whole_only;

use std::borrow::Cow;
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
    /// Gemini `generateContent` and `streamGenerateContent`.
    Gemini,
    /// Amazon Bedrock Converse. Only providers speak it.
    BedrockConverse,
    /// OpenAI Embeddings.
    OpenAiEmbeddings,
    /// Gemini `batchEmbedContents`; providers only.
    GeminiEmbeddings,
    /// OpenAI's API that makes images from words.
    OpenAiImages,
    /// OpenAI's API that makes images from others and words.
    OpenAiImageEdits,
}

impl Format {
    /// Those of conversations.
    pub const ALL: [Self; 5] =
        [Self::AnthropicMessages, Self::OpenAiChat, Self::OpenAiResponses, Self::Gemini, Self::BedrockConverse];

    /// Those of them that callers speak to us.
    pub const OF_CALLERS: [Self; 4] = [Self::AnthropicMessages, Self::OpenAiChat, Self::OpenAiResponses, Self::Gemini];

    pub(crate) const fn definition(self) -> &'static Definition {
        match self {
            Self::AnthropicMessages => &anthropic::DEFINITION,
            Self::OpenAiChat => &openai_chat::DEFINITION,
            Self::OpenAiResponses => &openai_responses::DEFINITION,
            Self::Gemini => &gemini::DEFINITION,
            Self::BedrockConverse => &bedrock_converse::DEFINITION,
            Self::OpenAiEmbeddings => &embeddings::OPENAI,
            Self::GeminiEmbeddings => &embeddings::GEMINI,
            Self::OpenAiImages => &images::GENERATIONS,
            Self::OpenAiImageEdits => &images::EDITS,
        }
    }

    /// The format in which a request of this one is asked of a provider whose conversations are in `provider`; `None` if it
    /// cannot be.
    pub const fn asked_of(self, provider: Self) -> Option<Self> {
        match (self, provider) {
            (Self::OpenAiEmbeddings, Self::OpenAiChat | Self::OpenAiResponses) => Some(Self::OpenAiEmbeddings),
            (Self::OpenAiEmbeddings, Self::Gemini) => Some(Self::GeminiEmbeddings),
            (Self::OpenAiImages | Self::OpenAiImageEdits, Self::OpenAiChat | Self::OpenAiResponses) => Some(self),
            (Self::OpenAiEmbeddings | Self::GeminiEmbeddings | Self::OpenAiImages | Self::OpenAiImageEdits, _) => None,
            _ => Some(provider),
        }
    }

    /// Whether it is the format of a conversation.
    pub(crate) fn is_conversation(self) -> bool {
        Self::ALL.contains(&self)
    }

    /// The name used in logs, metrics and the ledger.
    pub const fn as_str(self) -> &'static str {
        self.definition().name
    }

    /// The path to which requests for a model are posted, below our prefix as below a provider's endpoint, with its leading
    /// slash and, in formats that ask there for a stream of events, its query.
    pub fn path(self, model: &str, stream: bool) -> Cow<'static, str> {
        self.definition().path.of(model, stream)
    }

    /// Whether the path names the model, and not the body.
    pub(crate) const fn says_model_in_path(self) -> bool {
        matches!(self.definition().path, definition::Path::OfModel { .. })
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
            Format::Gemini => gemini::answer::stop_word(reason),
            Format::BedrockConverse => bedrock_converse::answer::stop_word(reason),
            _ => panic!("{format} is no conversation"),
        }
    }

    #[test]
    fn stop_reasons_map_as_the_table_says() {
        use Format::{AnthropicMessages, Gemini, OpenAiChat, OpenAiResponses};
        let other = StopReason::other;
        for (format, reason, canonical, in_anthropic, in_openai, in_gemini) in [
            (AnthropicMessages, "end_turn", StopReason::EndTurn, "end_turn", "stop", "STOP"),
            (AnthropicMessages, "max_tokens", StopReason::MaxTokens, "max_tokens", "length", "MAX_TOKENS"),
            (AnthropicMessages, "stop_sequence", StopReason::StopSequence, "stop_sequence", "stop", "STOP"),
            (AnthropicMessages, "tool_use", StopReason::ToolUse, "tool_use", "tool_calls", "STOP"),
            (AnthropicMessages, "refusal", other("refusal"), "refusal", "content_filter", "SAFETY"),
            (AnthropicMessages, "pause_turn", other("pause_turn"), "pause_turn", "content_filter", "OTHER"),
            (
                AnthropicMessages,
                "model_context_window_exceeded",
                other("model_context_window_exceeded"),
                "model_context_window_exceeded",
                "length",
                "MAX_TOKENS",
            ),
            (OpenAiChat, "stop", StopReason::EndTurn, "end_turn", "stop", "STOP"),
            (OpenAiChat, "length", StopReason::MaxTokens, "max_tokens", "length", "MAX_TOKENS"),
            (OpenAiChat, "tool_calls", StopReason::ToolUse, "tool_use", "tool_calls", "STOP"),
            (OpenAiChat, "function_call", StopReason::ToolUse, "tool_use", "tool_calls", "STOP"),
            (OpenAiChat, "content_filter", other("content_filter"), "refusal", "content_filter", "SAFETY"),
            (OpenAiResponses, "completed", StopReason::EndTurn, "end_turn", "stop", "STOP"),
            (OpenAiResponses, "max_output_tokens", StopReason::MaxTokens, "max_tokens", "length", "MAX_TOKENS"),
            (OpenAiResponses, "content_filter", other("content_filter"), "refusal", "content_filter", "SAFETY"),
            (Gemini, "STOP", StopReason::EndTurn, "end_turn", "stop", "STOP"),
            (Gemini, "MAX_TOKENS", StopReason::MaxTokens, "max_tokens", "length", "MAX_TOKENS"),
            (Gemini, "SAFETY", other("SAFETY"), "refusal", "content_filter", "SAFETY"),
            (Gemini, "RECITATION", other("RECITATION"), "refusal", "content_filter", "RECITATION"),
        ] {
            let read = (format.definition().stop_reason)(reason);
            assert_eq!(read, canonical);
            for (to, expected) in [(AnthropicMessages, in_anthropic), (OpenAiChat, in_openai), (Gemini, in_gemini)] {
                assert_eq!(word(to, &read), expected, "{reason} in {to}");
            }
            let in_responses = match &read {
                StopReason::EndTurn | StopReason::StopSequence | StopReason::ToolUse => "completed",
                StopReason::MaxTokens => "max_output_tokens",
                StopReason::Other(reason) if reason == "pause_turn" || reason.starts_with("model_context") => {
                    "max_output_tokens"
                }
                StopReason::Other(_) => "content_filter",
            };
            assert_eq!(word(OpenAiResponses, &read), in_responses, "{reason}");
            let in_converse = match in_anthropic {
                "refusal" | "pause_turn" => "content_filtered",
                same => same,
            };
            assert_eq!(word(Format::BedrockConverse, &read), in_converse, "{reason}");
        }
    }

    #[test]
    fn a_path_may_name_the_model() {
        assert_eq!(Format::OpenAiChat.path("gpt-x", true), "/chat/completions");
        assert_eq!(Format::Gemini.path("gemini-x", false), "/models/gemini-x:generateContent");
        assert_eq!(Format::Gemini.path("a/ü:x", true), "/models/a%2F%C3%BC%3Ax:streamGenerateContent?alt=sse");
    }

    #[test]
    fn an_error_in_a_stream_is_in_the_words_of_its_format() {
        let error = ErrorAnswer::upstream_interrupted("gone");
        for (format, begin, end) in [
            (Format::AnthropicMessages, "event: error\ndata: {", "}\n\n"),
            (Format::OpenAiChat, "data: {", "}\n\n"),
            (Format::Gemini, "{\"error\":{", "}\n"),
        ] {
            for event in [error.sse_event(format, None), format.whole_as_stream(502, &error.body(format, None), false)]
            {
                let event = String::from_utf8(event).expect("text");
                assert!(event.starts_with(begin) && event.ends_with(end), "{event}");
            }
        }
    }
}
