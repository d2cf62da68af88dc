//! How each format translates. Apart from the definitions, which know nothing of the neutral model.

use super::Format;
use crate::neutral::codec::Codec;

impl Format {
    /// How the format translates; `None` if it only relays.
    pub(crate) fn codec(self) -> Option<&'static Codec> {
        match self {
            Self::AnthropicMessages => Some(&super::anthropic::codec::CODEC),
            Self::OpenAiChat => Some(&super::openai_chat::codec::CODEC),
            Self::OpenAiResponses => Some(&super::openai_responses::codec::CODEC),
            Self::Gemini => Some(&super::gemini::codec::CODEC),
        }
    }
}
