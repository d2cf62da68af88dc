//! How each format translates. Apart from the definitions, which know nothing of the neutral model.

use super::Format;
use crate::neutral::codec::Codec;

impl Format {
    /// How the format translates. Those that are no conversations never come this far.
    pub(crate) fn codec(self) -> &'static Codec {
        match self {
            Self::AnthropicMessages => &super::anthropic::codec::CODEC,
            Self::OpenAiChat | Self::OpenAiEmbeddings | Self::OpenAiImages | Self::OpenAiImageEdits => {
                &super::openai_chat::codec::CODEC
            }
            Self::OpenAiResponses => &super::openai_responses::codec::CODEC,
            Self::Gemini | Self::GeminiEmbeddings => &super::gemini::codec::CODEC,
            Self::BedrockConverse => &super::bedrock_converse::codec::CODEC,
        }
    }
}
