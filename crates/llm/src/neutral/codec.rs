//! What a format has to be able to do for a translation.

use bytes::Bytes;
use serde_json::Value;

use super::answer::Answer;
use super::event::Event;
use super::feature::{Feature, Treatment};
use super::grounding::Grounding;
use super::losses::{Losses, Unsupported};
use super::request::Request;
use crate::error::ErrorAnswer;
use crate::request::InferenceRequest;
use crate::request::error::RequestError;

/// How a format translates to and from neutral words.
#[derive(Debug)]
pub(crate) struct Codec {
    /// What it does with what it may have no words for, when it writes a request.
    pub(crate) treatment: fn(Feature) -> Treatment,
    /// Writes a request for a provider.
    pub(crate) encode: fn(&Request, &Encoding, &mut Losses) -> Result<Vec<u8>, Unsupported>,
    /// Reads a provider's whole answer, an error included; `None` if it is none of this format.
    pub(crate) read_answer: fn(&[u8]) -> Option<Answer>,
    /// Reads a provider's stream.
    pub(crate) read_stream: fn() -> Box<dyn ReadStream>,
    /// Reads where a whole answer comes from, if its provider searched for it.
    pub(crate) grounding: fn(&Value) -> Grounding,
    /// What it does for callers; `None` where none speaks it to us.
    pub(crate) caller: Option<Caller>,
}

/// What a format that callers speak has to be able to do besides.
#[derive(Debug)]
pub(crate) struct Caller {
    /// Reads a caller's request. It was parsed before, so it is JSON and its fields have their types.
    pub(crate) decode: fn(&InferenceRequest) -> Result<Request, RequestError>,
    /// Writes a whole answer for a caller.
    pub(crate) write_answer: fn(&Answer, &Asked) -> Vec<u8>,
    /// Writes a stream for a caller.
    pub(crate) write_stream: fn(Asked) -> Box<dyn WriteStream>,
}

/// Reads a provider's stream, one event's data after the other. Holds no more than what it needs to go on.
pub(crate) trait ReadStream: Send {
    /// Reads the data of one event. What is no event of the format is passed over.
    fn read(&mut self, data: &[u8], events: &mut Vec<Event>);

    /// The stream is over. Gives the `Stop` and `End` that a format without words for them means by it, and nothing if the
    /// stream ended too early.
    fn finish(&mut self, events: &mut Vec<Event>);
}

/// Writes a stream for a caller.
pub(crate) trait WriteStream: Send {
    /// Writes what an event is in this format: no server-sent event, one or several.
    fn write(&mut self, event: &Event, out: &mut Vec<u8>);

    /// Ends the stream with an error of ours, or of the provider.
    fn fail(&mut self, error: &ErrorAnswer, out: &mut Vec<u8>);
}

/// How a request is written for a provider.
#[derive(Debug, Clone)]
pub struct Encoding {
    /// The name the provider knows the model by.
    pub model: String,
    /// The most tokens this model can answer with. A larger limit of the caller is lowered to it; where the format needs a
    /// limit and the caller gave none, it is this one.
    pub max_output_tokens: Option<u64>,
    /// The most tokens this model can think.
    pub max_thinking_budget: Option<u64>,
    /// What the provider differs in from the vendor of its format.
    pub compatibility: Compatibility,
}

impl Encoding {
    /// For this model, with no limits known.
    pub fn of(model: impl Into<String>) -> Self {
        Self {
            model: model.into(),
            max_output_tokens: None,
            max_thinking_budget: None,
            compatibility: Compatibility::default(),
        }
    }
}

/// What a provider differs in from the vendor of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compatibility {
    /// The output limit is `max_tokens` and not `max_completion_tokens` (`openai-chat`).
    pub max_tokens_field: bool,
    /// It knows the role `developer` (OpenAI formats); otherwise `system` is written.
    pub developer_role: bool,
    /// It takes `stream_options.include_usage` (`openai-chat`).
    pub stream_usage: bool,
}

impl Default for Compatibility {
    fn default() -> Self {
        Self { max_tokens_field: false, developer_role: false, stream_usage: true }
    }
}

/// What a caller asked for, as far as its answer has to know.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The model by the caller's name for it, which is the name the answer gives.
    pub(crate) model: String,
    /// An id for an answer whose provider gave none.
    pub(crate) id: String,
    /// When the answer began, in seconds since 1970.
    pub(crate) created: i64,
    /// The caller's body, of which some formats repeat settings.
    pub(crate) body: Bytes,
    /// The names of the tools that take text: a call of one is written as the caller's format has it.
    pub(crate) custom_tools: Vec<String>,
    /// A stream is to say at its end what was used.
    pub(crate) stream_usage: bool,
}
