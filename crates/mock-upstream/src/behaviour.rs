//! How the mock can be told to answer.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// How the mock answers. Every field has a default: a prompt, complete answer of eight chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Behaviour {
    /// Time from the request to the answer's headers, in milliseconds.
    pub delay_ms: u64,
    /// Number of parts the text is streamed in.
    pub chunks: usize,
    /// Time between two parts of a stream, in milliseconds.
    pub chunk_delay_ms: u64,
    /// Time from the head of an answer to its first byte, in milliseconds.
    pub first_byte_delay_ms: u64,
    /// The text of each part. A buffered answer has all parts in one.
    pub chunk_text: String,
    /// The whole text, cut into as many parts as a stream has; instead of `chunk_text`.
    pub text: Option<String>,
    /// Thinking that comes before the text, signed where the wire signs it; `openai-chat` has none.
    pub thinking: Option<String>,
    /// Tool calls that follow the text, all at once. Their arguments are streamed in two parts.
    pub tool_calls: Vec<MockToolCall>,
    /// Whether tools are called only as long as the conversation has no result of one: then the text is all that comes.
    pub tool_calls_once: bool,
    /// A search of the web that a buffered answer goes by.
    pub search: Option<MockSearch>,
    /// Why the answer ends, if not because it is complete or calls a tool.
    pub stop: Option<MockStop>,
    /// Keys that are not accepted, with the status they get: 401, or 429 for one that is used up.
    pub refused_keys: BTreeMap<String, u16>,
    /// The usage reported; `null` reports none.
    pub usage: Option<MockUsage>,
    /// What goes wrong.
    pub fault: Option<Fault>,
    /// How many requests it goes wrong for before all is well again; `null` means all of them.
    pub fault_times: Option<u32>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            delay_ms: 0,
            chunks: 8,
            chunk_delay_ms: 0,
            first_byte_delay_ms: 0,
            chunk_text: "token ".to_owned(),
            text: None,
            thinking: None,
            tool_calls: Vec::new(),
            tool_calls_once: false,
            search: None,
            stop: None,
            refused_keys: BTreeMap::new(),
            usage: Some(MockUsage::default()),
            fault: None,
            fault_times: None,
        }
    }
}

impl Behaviour {
    /// The fault for the next request, counting it.
    pub(crate) fn take_fault(&mut self) -> Option<Fault> {
        let fault = self.fault.clone()?;
        if let Some(times) = &mut self.fault_times {
            if *times == 0 {
                return None;
            }
            *times -= 1;
        }
        Some(fault)
    }
}

/// A call of a tool, offered or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MockToolCall {
    /// The tool's name.
    pub name: String,
    /// Its input.
    pub input: serde_json::Value,
}

/// A search of the web that the provider made, for all of the text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MockSearch {
    /// What was searched for; each is charged for.
    pub queries: Vec<String>,
    /// The address and the title of what was found.
    pub sources: Vec<(String, String)>,
}

/// Why an answer ends early.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MockStop {
    /// It has as many tokens as it may have.
    Length,
    /// The model refuses to answer; the text says why.
    Refusal,
    /// It came to this text, which ends it.
    StopSequence(String),
}

/// Token counts as the Anthropic wire has them: the kinds do not overlap. On the OpenAI and
/// Gemini wires cached tokens are added to the prompt's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MockUsage {
    /// Input tokens, not cached.
    pub input_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
    /// Input tokens read from the cache.
    pub cache_read_tokens: u64,
    /// Input tokens written to the cache; only the Anthropic and Bedrock wires report them.
    pub cache_creation_tokens: u64,
}

impl Default for MockUsage {
    fn default() -> Self {
        Self { input_tokens: 10, output_tokens: 8, cache_read_tokens: 0, cache_creation_tokens: 0 }
    }
}

/// A way to fail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// An error status.
    Status {
        /// The HTTP status.
        status: u16,
        /// The body; `null` is an error in the dialect asked in, an empty string is no body.
        #[serde(default)]
        body: Option<String>,
        /// The `retry-after` header.
        #[serde(default)]
        retry_after: Option<String>,
    },
    /// These bytes and headers, whatever was asked.
    Raw {
        /// The HTTP status.
        status: u16,
        /// The headers, names and values. There are no others but the id of the request and those of HTTP itself.
        #[serde(default)]
        headers: Vec<(String, String)>,
        /// The body.
        body: Vec<u8>,
        /// Whether the connection is closed where the answer should end.
        #[serde(default)]
        cut: bool,
    },
    /// Status 200 and not one byte of body.
    EmptyBody,
    /// The connection is closed without an answer.
    CloseBeforeHeaders,
    /// The answer is a good one, but then nobody listens: when the next request arrives, the connection is closed unread.
    CloseIdle,
    /// The connection stays open without an answer.
    HangBeforeHeaders,
    /// The connection is closed after so many parts of a stream, or inside a buffered body.
    CloseMidStream {
        /// Parts of the text that are still sent.
        after_chunks: usize,
    },
    /// Nothing more comes after so many parts of a stream, or inside a buffered body.
    HangMidStream {
        /// Parts of the text that are still sent.
        after_chunks: usize,
    },
    /// Status 200 and a body, or events, that are not JSON.
    GarbageJson,
    /// One event that is not JSON, after so many parts of a stream; on the Bedrock wires a damaged frame.
    GarbageChunk {
        /// Parts of the text before it.
        after_chunks: usize,
    },
    /// The answer arrives in pieces, each of which ends inside a UTF-8 sequence.
    SplitUtf8,
    /// A stream ends properly, but without the event that says so.
    NoTerminalEvent,
}
