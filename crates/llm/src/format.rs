//! The formats of model APIs: everything that differs from one to the next and is a constant.

use std::fmt;

/// The HTTP shape of a model API. A caller speaks one to us and a provider speaks one; when both are the same the
/// caller's bytes are relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// Anthropic Messages.
    AnthropicMessages,
    /// OpenAI Chat Completions and everything compatible with it.
    OpenAiChat,
}

impl Format {
    /// The name used in logs, metrics and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AnthropicMessages => "anthropic-messages",
            Self::OpenAiChat => "openai-chat",
        }
    }

    /// The path to which requests are posted, below our prefix as below a provider's endpoint, with its leading slash.
    pub const fn path(self) -> &'static str {
        match self {
            Self::AnthropicMessages => "/messages",
            Self::OpenAiChat => "/chat/completions",
        }
    }

    /// The header under which the vendor's clients look for the id of a request.
    pub const fn request_id_header(self) -> &'static str {
        match self {
            Self::AnthropicMessages => "request-id",
            Self::OpenAiChat => "x-request-id",
        }
    }

    /// An event that says nothing, which keeps a quiet stream open. Where the format has no such event it is a
    /// comment, which readers of event streams skip.
    pub const fn ping(self) -> &'static [u8] {
        match self {
            Self::AnthropicMessages => b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
            Self::OpenAiChat => b": ping\n\n",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
