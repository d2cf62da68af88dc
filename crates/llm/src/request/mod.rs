//! What the gateway needs to know of a request, read in one pass over the caller's bytes.
//!
//! A format names its fields ([`fields`]) and reads each of them with the [`Reader`], which gathers the facts that mean
//! the same in every format. [`InferenceRequest::parse`] makes the request of them.

pub(crate) mod conversation;
pub(crate) mod error;
pub(crate) mod facts;
pub(crate) mod fields;
pub(crate) mod layout;
pub(crate) mod reader;
mod tools;
pub(crate) mod turns;

use bytes::Bytes;

use crate::format::{Definition, Format};
use error::RequestError;
use facts::{Effort, LONGEST_MODEL, ResponseFormat};
use layout::{Layout, StreamOptions};
use reader::Reader;

pub use tools::{destructive as destructive_tool_names, names as tool_names};

/// The least thinking budget that providers take.
const LEAST_THINKING: u64 = 1024;

/// What the path of a request says, in formats where it says more than the format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The model, with its percent signs resolved.
    pub model: String,
    /// Whether the caller wants the answer as a stream.
    pub stream: bool,
}

/// An inference request: the facts routing, limits and the ledger ask for, and the caller's untouched bytes.
#[derive(Debug, Clone)]
pub struct InferenceRequest {
    /// The format of the body.
    pub format: Format,
    /// The model the caller asked for, 1 to 256 bytes.
    pub model: String,
    /// Whether the caller wants the answer as a stream of events.
    pub stream: bool,
    /// The output limit the caller set, in tokens; present in `anthropic-messages` unless it is less than none.
    pub max_tokens: Option<u64>,
    /// How many answers are asked for, each of which may be as long as the limit says; 1 unless `openai-chat` says `n`, or `gemini` `candidateCount`.
    pub answers: u64,
    /// The number of tools offered.
    pub tools: usize,
    /// Whether extended thinking (`anthropic-messages`, `gemini`) or reasoning (`openai-chat`) was asked for.
    pub thinking: bool,
    /// How hard the model is asked to think, named by the caller or derived from a thinking budget.
    pub reasoning_effort: Option<Effort>,
    /// The form the answer must have.
    pub response_format: ResponseFormat,
    /// The sampling temperature.
    pub temperature: Option<f64>,
    /// The nucleus sampling threshold.
    pub top_p: Option<f64>,
    /// Texts that end the answer.
    pub stop_sequences: Vec<String>,
    /// Whether the answer is to have images, which take longer than words.
    pub makes_images: bool,
    /// The number of messages, at least one.
    pub message_count: usize,
    /// Characters of all text divided by four, plus 1,000 for each inline image, sound or file.
    pub estimated_input_tokens: u64,
    /// What stays the same through a conversation: FNV-1a 64 over system text, role and content of the first message.
    pub conversation_key: u64,
    nothing: bool,
    pub(crate) body: Bytes,
    pub(crate) layout: Layout,
}

impl InferenceRequest {
    /// Reads a request body that says all there is to know.
    ///
    /// The whole body must be JSON in UTF-8. Fields we read must have their documented type; fields we do not know are
    /// nobody's business. The fields we decide by may appear once only, however their key is spelled, because a provider
    /// might read the other one.
    pub fn parse(format: Format, body: Bytes) -> Result<Self, RequestError> {
        Self::read(format, body, Reader::default())
    }

    /// Reads a request body of which the path said the model, and whether a stream is wanted. What the body says of it does
    /// not count then.
    pub fn parse_addressed(format: Format, body: Bytes, address: Address) -> Result<Self, RequestError> {
        let Address { model, stream } = address;
        if model.is_empty() || model.len() > LONGEST_MODEL {
            return Err(RequestError::invalid("model", "a model name of 1 to 256 bytes in the path"));
        }
        let mut reader = Reader::default();
        reader.model = Some(model);
        reader.stream = stream;
        Self::read(format, body, reader)
    }

    /// Reads a request whose tokens are to be counted: it need not say how long the answer may be.
    pub(crate) fn parse_uncounted(format: Format, body: Bytes, model: Option<String>) -> Result<Self, RequestError> {
        let mut reader = Reader::default();
        reader.model = model;
        reader.counting = true;
        Self::read(format, body, reader)
    }

    /// Reads a body for a reader that may know something of it already.
    pub(crate) fn read(format: Format, body: Bytes, mut reader: Reader) -> Result<Self, RequestError> {
        if body.trim_ascii().is_empty() {
            return Err(RequestError::Empty { conversation: format.definition().conversation });
        }
        if let Err(error) = std::str::from_utf8(&body) {
            return Err(RequestError::NotUtf8 { offset: error.valid_up_to() });
        }
        reader.conversation = format.definition().conversation;
        (format.definition().read_request)(&mut reader, &body)?;
        Self::of(format, reader, body)
    }

    /// The bytes the caller sent.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The definitions of the tools that the model is offered, which [`tool_names`] reads.
    pub fn offered_tools(&self) -> Option<Bytes> {
        self.layout.tools.clone().map(|tools| self.body.slice(tools))
    }

    /// The conversation's identifier where the caller did not name one: `ctx_` and the conversation key in hexadecimal.
    pub fn conversation_id(&self) -> String {
        format!("ctx_{:016x}", self.conversation_key)
    }

    /// Whether the caller wants the usage chunk at the end of an `openai-chat` stream.
    pub fn stream_usage_requested(&self) -> bool {
        matches!(self.layout.stream_options, Some(StreamOptions::Object { include_usage: Some((true, _)), .. }))
    }

    /// Whether the output limit is less than one token, which means something to some providers and is refused by others.
    pub fn answers_nothing(&self) -> bool {
        self.nothing
    }

    /// What fits below `limit` as this thinking budget fits below the caller's own limit, if it has to be lowered. It stays
    /// at the least that providers take as long as that fits; below it they say themselves what they think of it.
    ///
    /// A budget that is not below the caller's own limit is nothing we made so: some providers take it.
    pub(crate) fn lowered_budget(&self, budget: u64, limit: u64) -> Option<u64> {
        let asked = self.max_tokens.filter(|asked| *asked > limit)?;
        let share = u128::from(budget) * u128::from(limit) / u128::from(asked);
        let least = if limit > LEAST_THINKING { LEAST_THINKING } else { 0 };
        (budget >= limit && budget < asked).then(|| u64::try_from(share).unwrap_or(limit).max(least))
    }

    fn of(format: Format, reader: Reader, body: Bytes) -> Result<Self, RequestError> {
        let missing = |field: &'static str, fix| RequestError::Missing { field: field.into(), fix };
        let estimated_input_tokens = reader.estimated_tokens();
        let model = reader.model.ok_or_else(|| missing("model", "name the model that shall answer"))?;
        let Definition { conversation, conversation_fix, .. } = format.definition();
        let message_count = reader.message_count.ok_or_else(|| missing(conversation, conversation_fix))?;
        let max_tokens = reader.layout.token_limits.iter().map(|limit| limit.value).min();
        if reader.max_tokens_required && !reader.max_tokens_given && !reader.counting {
            return Err(missing("max_tokens", "say how many tokens the answer may have, e.g. 1024"));
        }
        Ok(Self {
            format,
            model,
            stream: reader.stream,
            max_tokens,
            answers: reader.layout.answers.as_ref().map_or(1, |answers| answers.value),
            tools: reader.tools,
            thinking: reader.thinking,
            reasoning_effort: reader.effort,
            response_format: reader.response_format,
            temperature: reader.temperature,
            top_p: reader.top_p,
            stop_sequences: reader.stop_sequences,
            makes_images: reader.makes_images,
            message_count,
            estimated_input_tokens,
            conversation_key: reader.opening.key(&body),
            nothing: max_tokens == Some(0) || reader.max_tokens_given && max_tokens.is_none(),
            body,
            layout: reader.layout,
        })
    }
}
