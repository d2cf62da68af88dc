//! What a format is: all that the rest of the crate needs to know of it.

use std::borrow::Cow;
use std::fmt::Write as _;

use serde_json::Value;

use crate::answer::reading::Reading;
use crate::answer::summary::StopReason;
use crate::demo::answer::{DemoAnswer, OfferedTool};
use crate::demo::stream::DemoEvent;
use crate::error::ErrorAnswer;
use crate::request::error::RequestError;
use crate::request::reader::Reader;

/// Writes the error of a body into a stream.
type WriteErrorEvents = fn(&[u8], Option<&str>, Option<&Reading>) -> Vec<u8>;

/// What a format is.
#[derive(Debug)]
pub(crate) struct Definition {
    /// The name used in logs, metrics and the ledger.
    pub(crate) name: &'static str,
    /// Where requests are posted, below our prefix as below a provider's endpoint.
    pub(crate) path: Path,
    /// The header under which the vendor's clients look for the id of a request.
    pub(crate) request_id_header: &'static str,
    /// An event that says nothing.
    pub(crate) ping: &'static [u8],
    /// The field of the conversation.
    pub(crate) conversation: &'static str,
    /// What to send in it, for somebody who left it out.
    pub(crate) conversation_fix: &'static str,
    /// Where a request has what the operator of the conversation tells the model; `None` where it is no conversation, or none
    /// of a caller.
    pub(crate) instructions: Option<Instructions>,
    /// Writes the events that end a stream with the error of a body: the request's id, and what was seen of the stream.
    pub(crate) error_events: WriteErrorEvents,
    /// Writes the body of an error; with the request's id where it has a place there.
    pub(crate) error_body: fn(&ErrorAnswer, Option<&str>) -> Vec<u8>,
    /// Reads a request body.
    pub(crate) read_request: fn(&mut Reader, &[u8]) -> Result<(), RequestError>,
    /// Reads the data of one event of a streamed answer.
    pub(crate) answer_event: fn(&mut Reading, &[u8]),
    /// Whether a streamed answer has an event that tells its end, behind the one that says why the model stopped.
    pub(crate) has_last_event: bool,
    /// Reads a buffered answer.
    pub(crate) answer_body: fn(&mut Reading, &[u8]),
    /// The key under which a buffered answer says what was used.
    pub(crate) usage_field: &'static str,
    /// Reads the raw value under that key.
    pub(crate) answer_usage: fn(&mut Reading, Option<&[u8]>),
    /// Puts the events of a stream together into the body of a buffered answer; `None` if the format has no place there for
    /// something they say.
    pub(crate) collect: fn(&[Value]) -> Option<Value>,
    /// The stream of events that builds up a buffered answer, and says what was used if that was asked for; `None` if it is no
    /// answer of this format.
    pub(crate) events: fn(&Value, bool) -> Option<Vec<u8>>,
    /// The key under which a buffered answer says why it ended.
    pub(crate) stop_field: &'static str,
    /// What a word under that key means.
    pub(crate) stop_reason: fn(&str) -> StopReason,
    /// Writes a buffered answer of the demo model, from its id and time.
    pub(crate) demo_body: fn(&DemoAnswer, &str, i64) -> Vec<u8>,
    /// Writes a streamed answer of the demo model.
    pub(crate) demo_events: fn(&DemoAnswer, &str, i64) -> Vec<DemoEvent>,
    /// Reads an element of a request's `tools`.
    pub(crate) offered_tool: for<'a> fn(&'a [u8]) -> Option<OfferedTool<'a>>,
}

/// Where a request has what the operator of the conversation tells the model. In every format a message of the conversation
/// may be the operator's too, by its role.
#[derive(Debug)]
pub(crate) enum Instructions {
    /// In a field of its own.
    Field {
        /// Its name, in every spelling; the first is the one to write.
        names: &'static [&'static str],
        /// Writes its value from a text; it may keep something of the old value, which is `null` if there is none.
        value: fn(&str, &[u8]) -> String,
    },
    /// In messages alone.
    Messages,
}

/// How a format counts the tokens of a prompt.
#[derive(Debug)]
pub(crate) struct Count {
    /// Where requests to count are posted.
    pub(crate) path: Path,
    /// The inference request inside of a request to count.
    pub(crate) inside: fn(&[u8]) -> &[u8],
    /// The request to count for a provider, of an inference request that the caller wrote in this format: the model, and
    /// whether the provider takes it without an envelope.
    pub(crate) relayed: fn(&[u8], &str, bool) -> Vec<u8>,
    /// The same, of an inference request that was written anew.
    pub(crate) written: fn(&[u8], &str, bool) -> Vec<u8>,
    /// The field of the answer that says how many there are.
    pub(crate) field: &'static str,
}

/// Where requests are posted.
#[derive(Debug)]
pub(crate) enum Path {
    /// Always at the same place.
    Fixed(&'static str),
    /// The path names the model, and says whether a stream is wanted.
    OfModel {
        /// What stands before the model.
        before: &'static str,
        /// What stands behind it, for a whole answer.
        whole: &'static str,
        /// What stands behind it, for a stream.
        streamed: &'static str,
    },
}

impl Path {
    /// The path for a model.
    pub(crate) fn of(&self, model: &str, stream: bool) -> Cow<'static, str> {
        match self {
            Self::Fixed(path) => Cow::Borrowed(path),
            Self::OfModel { before, whole, streamed } => {
                let mut path = (*before).to_owned();
                for byte in model.bytes() {
                    if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                        path.push(char::from(byte));
                    } else {
                        let _ = write!(path, "%{byte:02X}");
                    }
                }
                path.push_str(if stream { streamed } else { whole });
                Cow::Owned(path)
            }
        }
    }
}
