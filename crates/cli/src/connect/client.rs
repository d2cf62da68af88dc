//! The programs there are plans for, and what each speaks.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// A program that asks models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Client {
    /// Anthropic's coding assistant.
    ClaudeCode,
    /// OpenAI's coding assistant.
    Codex,
    /// The open coding assistant.
    Opencode,
    /// Google's coding assistant.
    GeminiCli,
    /// Pair programming in a terminal.
    Aider,
    /// The chat of VS Code.
    Vscode,
    /// The editor, which is set up by hand.
    Cursor,
    /// Programs of your own, with the vendors' libraries.
    Sdk,
}

impl Client {
    /// The name on the command line.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::ClaudeCode => "claude-code",
            Self::Codex => "codex",
            Self::Opencode => "opencode",
            Self::GeminiCli => "gemini-cli",
            Self::Aider => "aider",
            Self::Vscode => "vscode",
            Self::Cursor => "cursor",
            Self::Sdk => "sdk",
        }
    }

    /// What it speaks.
    pub(crate) const fn protocol(self) -> Protocol {
        match self {
            Self::ClaudeCode => Protocol::Messages,
            Self::Codex => Protocol::Responses,
            Self::GeminiCli => Protocol::Gemini,
            Self::Opencode | Self::Aider | Self::Vscode | Self::Cursor | Self::Sdk => Protocol::ChatCompletions,
        }
    }
}

/// How a model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// Anthropic Messages.
    Messages,
    /// OpenAI Chat Completions.
    ChatCompletions,
    /// OpenAI Responses.
    Responses,
    /// Gemini.
    Gemini,
}

impl Protocol {
    /// The family of clients whose models come first, as `x-inference-protocol` names it.
    pub(crate) const fn family(self) -> &'static str {
        match self {
            Self::Messages => "anthropic",
            Self::ChatCompletions | Self::Responses => "openai",
            Self::Gemini => "gemini",
        }
    }
}
