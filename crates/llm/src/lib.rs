//! Formats of model APIs, without any I/O: what a caller sends, what a provider answers, what it costs.
//!
//! A caller speaks a [`Format`], a provider speaks one too. When both are the same the request travels in the
//! *relay lane*: [`InferenceRequest::parse`] reads the body once and remembers where the few fields we may change are,
//! and [`InferenceRequest::relay`] splices changes into the original bytes. Everything else, unknown fields and
//! whitespace included, reaches the provider byte for byte, so prompt caches keep hitting.
//!
//! When they differ, [`InferenceRequest::translate`] writes the request anew, and the [`Translation`] it gives brings the
//! answer back; both pass through a neutral model.
//!
//! On the way back [`AnswerTap`] watches the answer without touching it and reports usage, stop reason, text and tool
//! calls for the ledger, within a fixed bound of memory and whatever it is given. [`ErrorAnswer`] writes our own refusals in the caller's format.
//!
//! Everything here is a pure function or a state machine that a test can drive without a socket or a clock.
//!
//! In reading order: the formats (`format`), reading a request (`request`), changing it (`relay`, `instructions`), translating it
//! (`neutral`, `translate`), saying one of our own (`spoken`), reading the answer (`sse`, `answer`), what
//! clouds put around both (`cloud`, `event_stream`), errors (`error`), prices ([`catalog`]), counting
//! tokens ([`tokens`]) and the offline model ([`demo`]).
//!
//! To add a format: a folder in `format/` with its definition, a variant of [`Format`], and golden files in
//! `tests/golden`. Nothing else here asks which format it has before it.

mod format;

mod request;

mod splice;

mod relay;

mod instructions;

mod cloud;

mod event_stream;

pub mod neutral;

mod translate;

mod translation_error;

mod spoken;

mod sse;

mod answer;

mod error;

mod embeddings;

mod images;

mod continuation;

mod counting;

pub mod catalog;
pub mod demo;
pub mod tokens;

#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;

pub use answer::excerpt::Excerpt;
pub use answer::originals::{Originals, OriginalsStream};
pub use answer::pieces::StreamTexts;
pub use answer::summary::{AnswerSummary, StopReason, ToolCall, UpstreamErrorSummary, Usage};
pub use answer::tap::AnswerTap;
pub use answer::window::{Replacement, StreamWindow, Unreplaceable, WindowFull};
pub use cloud::{Envelope, cloud_error};
pub use continuation::ContinuedStream;
pub use embeddings::GeminiEmbedding;
pub use error::{ErrorAnswer, ErrorKind};
pub use event_stream::{EventStream, FrameError};
pub use format::Format;
pub use format::gemini::array::JsonArray;
pub use format::openai_chat::usage_chunk::UsageChunkFilter;
pub use images::{ImageOrder, MadeImage};
pub use relay::{Edits, Relayed};
pub use request::error::RequestError;
pub use request::facts::{Effort, ResponseFormat};
pub use request::turns::earlier_turns;
pub use request::{Address, InferenceRequest, destructive_tool_names, tool_names};
pub use spoken::{HeardStream, Hearing, Spoken};
pub use translate::{Translated, TranslatedStream, Translation};
pub use translation_error::TranslationError;
