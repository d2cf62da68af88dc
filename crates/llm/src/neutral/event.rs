//! A streamed answer in neutral words.

use super::json::Json;
use super::part::Citation;
use super::sealed::Signature;
use crate::answer::summary::{StopReason, UpstreamErrorSummary, Usage};
use crate::format::Format;

/// An event of a streamed answer.
///
/// A sound stream is `Start`, then parts one after the other (`PartStart`, its `Delta`s, `PartStop`), `Usage` wherever it
/// is known, `Stop` and `End`. Readers give no other order: they close a part before they begin the next, and a part that
/// is still open before `Stop`. Formats whose tool calls arrive interleaved are put in order by their reader.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// The answer begins.
    Start {
        /// The provider's id of the answer.
        id: Option<String>,
        /// The model that answers, in the provider's words.
        model: Option<String>,
    },
    /// A part begins. It is the only one open until its `PartStop`.
    PartStart(PartStart),
    /// More of the part that is open.
    Delta(Delta),
    /// The part that is open is complete.
    PartStop,
    /// What was used so far. Counts are of the whole answer and the latest ones count; one that is absent says nothing.
    Usage(Usage),
    /// The class of service the request was given.
    ServiceTier(String),
    /// Why the model stopped.
    Stop {
        /// Why.
        reason: StopReason,
        /// The text that ended the answer, with [`StopReason::StopSequence`].
        sequence: Option<String>,
    },
    /// Nothing more comes.
    End,
    /// The provider reports an error. Nothing more comes.
    Error(UpstreamErrorSummary),
}

/// How a part begins.
#[derive(Debug, Clone, PartialEq)]
pub enum PartStart {
    /// Text.
    Text,
    /// The model declines.
    Refusal,
    /// What the model thinks.
    Thinking {
        /// Nothing of it will be told in words.
        redacted: bool,
    },
    /// A call of a tool.
    ToolCall {
        /// Which call it is.
        id: String,
        /// The tool.
        name: String,
        /// The tool takes text and not JSON.
        custom: bool,
    },
    /// Something only this format knows, whole.
    Native(Format, Json),
}

/// More of a part.
#[derive(Debug, Clone, PartialEq)]
pub enum Delta {
    /// Of its text: a text's, a refusal's, a thought's words, or the input of a call.
    Text(String),
    /// Where the text so far comes from.
    Citation(Citation),
    /// What the provider wants to see again, of a thought or a call.
    Signature(Signature),
    /// Probabilities of the tokens of the text.
    Logprobs(Vec<TokenLogprob>),
}

/// A token and how likely it was.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TokenLogprob {
    /// The token.
    pub token: String,
    /// The logarithm of its probability.
    pub logprob: f64,
    /// The likeliest ones in its place.
    pub top: Vec<(String, f64)>,
}
