//! The neutral model: a request, an answer and a stream of events in words that mean the same in every format.
//!
//! It is what a [`Translation`](crate::Translation) passes through when a caller speaks another format than its provider.
//! A format reads its own requests into a [`Request`] and writes one ([`Codec`]), and the same for answers. So a format
//! knows the neutral model and itself, and never another format.
//!
//! What one side can say and the other cannot is a [`Feature`]. Each format has a table of what it does with each of them
//! when it writes a request ([`Treatment`]), and [`Losses`] goes by that table: nothing is lost silently.

mod answer;
pub(crate) mod codec;
mod event;
mod feature;
mod grounding;
mod json;
mod losses;
pub(crate) mod names;
mod part;
mod request;
mod sealed;
pub(crate) mod sequence;
pub(crate) mod stops;
pub(crate) mod turns;

pub use answer::Answer;
pub use codec::{Compatibility, Encoding};
pub use event::{Delta, Event, PartStart, TokenLogprob};
pub use feature::{Feature, Treatment};
pub use grounding::{Grounding, WebSource};
pub use json::Json;
pub use losses::{Loss, Losses, Unsupported};
pub use part::{CacheMark, Citation, Media, MediaKind, Part, Source, Text, Thinking, ToolCall, ToolResult};
pub use request::{
    CustomTool, Function, ImageOutput, Message, Output, Reasoning, Request, Role, Sampling, Tool, ToolChoice, WebSearch,
};
pub use sealed::Signature;
