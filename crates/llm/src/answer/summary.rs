//! What an answer said, in words that mean the same in every format.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::excerpt::Excerpt;

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
    /// Input tokens written to the prompt cache, for however long.
    pub cache_creation_tokens: Option<u64>,
    /// Of `cache_creation_tokens`, those that stay in the cache for an hour, which cost more.
    pub cache_creation_1h_tokens: Option<u64>,
    /// Of `output_tokens`, those of hidden reasoning, where the provider tells.
    pub reasoning_tokens: Option<u64>,
    /// Of `input_tokens`, those of sound.
    pub audio_input_tokens: Option<u64>,
    /// Of `input_tokens`, those of images, where the provider tells.
    pub image_input_tokens: Option<u64>,
    /// Of `output_tokens`, those of sound.
    pub audio_output_tokens: Option<u64>,
    /// Of `output_tokens`, those of images, where the provider tells.
    pub image_output_tokens: Option<u64>,
    /// Images that were made.
    pub images: Option<u64>,
    /// Searches of the web that the provider made for the answer, which it charges for one by one.
    pub web_searches: Option<u64>,
    /// Searches in files that the provider keeps.
    pub file_searches: Option<u64>,
    /// Runs of code at the provider.
    pub code_executions: Option<u64>,
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

    /// The same with no count above `most`.
    #[must_use]
    pub fn at_most(self, most: u64) -> Self {
        let bound = |count: Option<u64>| count.map(|count| count.min(most));
        Self {
            input_tokens: bound(self.input_tokens),
            output_tokens: bound(self.output_tokens),
            cache_read_tokens: bound(self.cache_read_tokens),
            cache_creation_tokens: bound(self.cache_creation_tokens),
            cache_creation_1h_tokens: bound(self.cache_creation_1h_tokens),
            reasoning_tokens: bound(self.reasoning_tokens),
            audio_input_tokens: bound(self.audio_input_tokens),
            image_input_tokens: bound(self.image_input_tokens),
            audio_output_tokens: bound(self.audio_output_tokens),
            image_output_tokens: bound(self.image_output_tokens),
            images: bound(self.images),
            web_searches: bound(self.web_searches),
            file_searches: bound(self.file_searches),
            code_executions: bound(self.code_executions),
        }
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
    /// A reason in the provider's words.
    pub(crate) fn other(word: &str) -> Self {
        Self::Other(bounded(word))
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

/// The code of an error that says that the conversation is longer than the model can take. Programs then shorten it.
pub(crate) const TOO_LONG: &str = "context_length_exceeded";

/// An error the provider reported, in the body or inside the stream. Texts are at most 1,024 bytes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UpstreamErrorSummary {
    /// `error.type`.
    pub kind: Option<String>,
    /// `error.code`.
    pub code: Option<String>,
    /// `error.message`; the whole error if it has none.
    pub message: String,
    /// The HTTP status the error would have had, where it names one.
    pub status: Option<u16>,
}

impl UpstreamErrorSummary {
    /// Whether it is about the credential of whoever asked the provider, which is the gateway's and not the caller's.
    /// `status` is the one the error came with. A 403 may be about what was asked instead, and then says so.
    pub fn is_about_credentials(&self, status: Option<u16>) -> bool {
        let has = |text: &str, words: &[&str]| {
            let text = text.to_ascii_lowercase();
            words.iter().any(|word| text.contains(word))
        };
        let codes = ["authentication", "invalid_api_key", "api_key_invalid", "invalid_auth", "unauthenticated"];
        if [&self.kind, &self.code].into_iter().flatten().any(|word| has(word, &codes)) {
            return true;
        }
        let quotes_key = has(&self.message, &["api key", "api-key", "api_key"])
            && has(&self.message, &["invalid", "incorrect", "not valid", "missing", "revoked", "expired"]);
        let about_content = ["flagged", "moderation", "content policy", "content_policy", "content_filter", "safety"];
        match status.filter(|status| matches!(status, 400..)).or(self.status) {
            Some(401) => true,
            Some(403) => {
                quotes_key
                    || ![Some(&self.message), self.kind.as_ref(), self.code.as_ref()]
                        .into_iter()
                        .flatten()
                        .any(|text| has(text, &about_content))
            }
            _ => quotes_key,
        }
    }

    /// The code for it that programs decide by, where its provider has another word, or none but a sentence.
    pub(crate) fn known_code(&self, status: u16) -> Option<&'static str> {
        const CODES: [&str; 6] = [
            TOO_LONG,
            "content_policy_violation",
            "insufficient_quota",
            "invalid_prompt",
            "model_not_found",
            "rate_limit_exceeded",
        ];
        let code = self.code.as_deref().and_then(|code| CODES.into_iter().find(|known| *known == code));
        let message = self.message.to_ascii_lowercase();
        // Anthropic's sentence, Gemini's, Bedrock's, and that of many servers that are compatible with OpenAI.
        let too_long = [
            "prompt is too long",
            "input token count",
            "input is too long",
            "maximum context length",
            "context window",
            "context length",
        ];
        let about_request = matches!(status, 400 | 413 | 422);
        code.or_else(|| {
            (about_request && too_long.into_iter().any(|words| message.contains(words))).then_some(TOO_LONG)
        })
    }

    /// The HTTP status that says the same, of an error that came with the status of a success.
    pub fn http_status(&self) -> u16 {
        let by_word = |word: &str| match word {
            "invalid_request_error"
            | "invalid_prompt"
            | "BadRequestError"
            | "context_length_exceeded"
            | "INVALID_ARGUMENT" => Some(400),
            "not_found_error" | "model_not_found" | "NotFoundError" | "NOT_FOUND" => Some(404),
            "request_too_large" => Some(413),
            "rate_limit_error" | "rate_limit_exceeded" | "insufficient_quota" | "RESOURCE_EXHAUSTED" => Some(429),
            "overloaded_error" => Some(529),
            "timeout_error" | "DEADLINE_EXCEEDED" => Some(504),
            _ => None,
        };
        let said = [&self.code, &self.kind].into_iter().flatten().find_map(|word| by_word(word));
        // What nobody can tell is the provider's fault.
        self.status.or(said).unwrap_or(502)
    }
}

/// What an answer said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnswerSummary {
    /// The tokens the provider counted.
    pub usage: Usage,
    /// The class of service the request was given, in the provider's word for it.
    pub service_tier: Option<String>,
    /// Why the model stopped.
    pub stop_reason: Option<StopReason>,
    /// The provider's id of the answer.
    pub provider_request_id: Option<String>,
    /// The model that answered, in the provider's words.
    pub model: Option<String>,
    /// The tools the model wants called; at most 128 are kept.
    pub tool_calls: Vec<ToolCall>,
    /// The provider did something for the answer besides saying it: it ran a tool of its own.
    pub provider_acted: bool,
    /// The answer's text without thinking and tool inputs.
    pub text: Excerpt,
    /// What the model thought, as far as it is told in words.
    pub thinking: Excerpt,
    /// The length of a buffered answer whose text could not be read, because it was cut off or is too long.
    pub unread_bytes: u64,
    /// The answer is finished, and the provider reported no error.
    pub complete: bool,
    /// The error the provider reported.
    pub error: Option<UpstreamErrorSummary>,
    /// Events, or the body, that were not what the format defines, or were too long to read. What could be read of them
    /// was.
    pub unreadable_events: u64,
}

impl AnswerSummary {
    /// Whether something of the answer may not have been read.
    pub fn is_partial(&self) -> bool {
        self.unreadable_events > 0 || self.unread_bytes > 0
    }
}

/// Names and ids of the provider, at most 256 bytes.
pub(crate) fn bounded(text: &str) -> String {
    text[..text.floor_char_boundary(256)].to_owned()
}
