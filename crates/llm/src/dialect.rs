use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The HTTP shape a caller speaks to us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Dialect {
    /// Anthropic Messages, `POST /v1/messages`.
    AnthropicMessages,
    /// OpenAI Chat Completions, `POST /v1/chat/completions`.
    #[serde(rename = "openai-chat")]
    OpenAiChat,
}

impl Dialect {
    /// The name used in configuration, logs, metrics and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AnthropicMessages => "anthropic-messages",
            Self::OpenAiChat => "openai-chat",
        }
    }

    /// The wire to which this dialect's bytes are relayed unchanged.
    pub const fn wire(self) -> Wire {
        match self {
            Self::AnthropicMessages => Wire::Anthropic,
            Self::OpenAiChat => Wire::OpenAiChat,
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The HTTP shape a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Wire {
    /// Anthropic Messages: `{endpoint}/messages`.
    Anthropic,
    /// OpenAI Chat Completions and everything compatible with it: `{endpoint}/chat/completions`.
    #[serde(rename = "openai-chat")]
    OpenAiChat,
}

impl Wire {
    /// The name used in configuration, logs, metrics and the ledger.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAiChat => "openai-chat",
        }
    }

    /// The path below the provider's endpoint to which requests are posted, with its leading slash.
    pub const fn path(self) -> &'static str {
        match self {
            Self::Anthropic => "/messages",
            Self::OpenAiChat => "/chat/completions",
        }
    }
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
