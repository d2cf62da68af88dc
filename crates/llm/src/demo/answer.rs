//! What the demo model says, before a format puts it into bytes.

use std::borrow::Cow;

use serde_json::Value;

use crate::answer::summary::{StopReason, Usage};

/// What the demo model says.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoAnswer {
    /// The model's name as the caller wrote it.
    pub model: String,
    /// The text, empty if `max_tokens` allows none.
    pub text: String,
    /// The tool to be called after the text.
    pub tool_call: Option<DemoToolCall>,
    /// Why the model stopped.
    pub stop_reason: StopReason,
    /// The stop sequence that ended the text.
    pub stop_sequence: Option<String>,
    /// The tokens, estimated at four characters each.
    pub usage: Usage,
    /// Whether an `openai-chat` stream ends with a usage chunk of its own. Without it the last chunk with a choice
    /// carries the usage, so the ledger has it either way.
    pub usage_chunk: bool,
}

/// A tool call of the demo model.
#[derive(Debug, Clone, PartialEq)]
pub struct DemoToolCall {
    /// The name of an offered tool.
    pub name: String,
    /// An input made up from the tool's schema.
    pub input: Value,
}

/// A tool a request offers.
#[derive(Debug)]
pub(crate) struct OfferedTool<'a> {
    /// Its name.
    pub(crate) name: Cow<'a, str>,
    /// The raw JSON schema of its input.
    pub(crate) schema: &'a [u8],
}
