//! How each format translates. Apart from the definitions, which know nothing of the neutral model.

use super::Format;
use crate::neutral::codec::Codec;

impl Format {
    /// How the format translates; `None` if it only relays.
    pub(crate) fn codec(self) -> Option<&'static Codec> {
        match self {
            Self::AnthropicMessages | Self::OpenAiChat | Self::OpenAiResponses => None,
        }
    }
}
