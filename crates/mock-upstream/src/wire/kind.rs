//! Which wires there are.

/// The format of a request and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    Anthropic,
    OpenAiChat,
    OpenAiResponses,
    Gemini,
    /// Anthropic's events in frames.
    BedrockAnthropic,
    BedrockConverse,
}
