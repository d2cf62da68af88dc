//! Gemini: `POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`.
//!
//! The model, and whether a stream is wanted, stand in the path. A stream ends when the connection does, after the model
//! said why it stopped; without `alt=sse` it is a JSON array, see [`JsonArray`](array::JsonArray). Google's readers of
//! requests know each field in two spellings, `generationConfig` and `generation_config`.

pub(super) mod answer;
pub(crate) mod array;
pub(super) mod codec;
mod collect;
mod contents;
pub(super) mod count;
mod decode;
mod demo;
mod encode;
mod error;
mod events;
mod grounding;
mod media;
mod models;
mod places;
mod read;
mod request;
mod schemas;
mod signature;
pub(super) mod usage;
mod write;

use serde_json::json;

use super::definition::{Definition, Instructions, Path};

pub(super) static DEFINITION: Definition = Definition {
    name: "gemini",
    path: Path::OfModel { before: "/models/", whole: ":generateContent", streamed: ":streamGenerateContent?alt=sse" },
    request_id_header: "x-request-id",
    // Blank lines: Google's clients take a comment for an answer that cannot be read.
    ping: b"\r\n\r\n",
    conversation: "contents",
    conversation_fix: "send an array with at least one content",
    instructions: Some(Instructions::Field {
        names: &["systemInstruction", "system_instruction"],
        value: |text, _| json!({"parts": [{"text": text}]}).to_string(),
    }),
    error_events: error::events,
    error_body: error::body,
    read_request: request::read,
    answer_event: answer::event,
    has_last_event: false,
    answer_body: answer::body,
    usage_field: "usageMetadata",
    answer_usage: usage::usage,
    collect: collect::collect,
    events: events::events,
    stop_field: "finishReason",
    stop_reason: answer::stop_reason,
    demo_body: demo::body,
    demo_events: demo::events,
    offered_tool: demo::offered_tool,
};
