//! Asking models from inside the server: agents, MCP tools, jobs and extensions, in Rust and in neutral words.
//!
//! [`AiService`] is a thin layer over [`Inference`](crate::inference::Inference): it chooses the model, puts the request into
//! the words of the provider it leads to, asks, and reads the answer. So every call has an [`Attribution`] of its own, passes
//! the Gate, counts against the same quotas and is recorded like a client's; what a response says it used and cost is what
//! the ledger has.
//!
//! In reading order: what is asked (`message`, `tool`, `request`), what comes of it (`response`, `error`), how a request is
//! put into words (`speaking`), [`AiService::generate`] (`ai`) and its other forms: `streaming`, `toolbox` (a loop of tool
//! calls), `structured`, `search`, `image`.
//!
//! [`Attribution`]: systemprompt_model::Attribution

mod ai;
mod context;
mod error;
mod image;
mod message;
mod request;
mod response;
mod search;
mod speaking;
mod streaming;
mod structured;
mod tool;
mod toolbox;

pub use ai::AiService;
pub use context::AiContext;
pub use error::AiError;
pub use image::{AspectRatio, GeneratedImage, ImageRequest, ImageResolution, ImageResponse, ReferenceImage};
pub use message::{AiMessage, MessageRole};
pub use request::{AiRequest, AiRequestBuilder};
pub use response::{AiResponse, AiUsage};
pub use search::{GoogleSearchParams, SearchParams};
pub use streaming::{AiEvent, AiStream};
pub use structured::{Structured, StructuredOutputParams};
pub use tool::ToolDefinition;
pub use toolbox::{NoopToolProvider, ToolLimit, ToolOutput, ToolProvider, ToolRun};

pub use systemprompt_llm::StopReason;
pub use systemprompt_llm::neutral::{
    Citation, Grounding, Media, MediaKind, Part, Reasoning, Sampling, Source, Text, ToolCall, ToolChoice, ToolResult,
    WebSource,
};
