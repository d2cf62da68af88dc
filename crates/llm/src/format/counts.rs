//! Which formats count the tokens of a prompt. Apart from the definitions, most of which have nothing to say of it.

use super::Format;
use super::definition::Count;

impl Format {
    /// How the format counts tokens; `None` if it does not.
    pub(crate) const fn count(self) -> Option<&'static Count> {
        match self {
            Self::AnthropicMessages => Some(&super::anthropic::count::COUNT),
            Self::Gemini => Some(&super::gemini::count::COUNT),
            _ => None,
        }
    }
}
