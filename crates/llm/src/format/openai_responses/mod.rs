//! OpenAI Responses: `POST /v1/responses`.

pub(super) mod answer;
pub(super) mod codec;
mod collect;
mod decode;
mod demo;
mod encode;
mod error;
mod events;
mod grounding;
mod items;
mod read;
mod request;
mod response;
mod stream;
mod tools;
mod usage;
mod write;

use serde_json::Value;

use super::definition::{Definition, Instructions, Path};

pub(super) static DEFINITION: Definition = Definition {
    name: "openai-responses",
    path: Path::Fixed("/responses"),
    request_id_header: "x-request-id",
    // The format has no event for it; a comment is skipped by every reader of event streams.
    ping: b": ping\n\n",
    conversation: "input",
    conversation_fix: "send a text, or an array with at least one item",
    instructions: Some(Instructions::Field {
        names: &["instructions"],
        value: |text, _| Value::from(text).to_string(),
    }),
    error_events: error::events,
    error_body: error::body,
    read_request: request::read,
    answer_event: answer::event,
    has_last_event: true,
    answer_body: answer::body,
    usage_field: "usage",
    answer_usage: usage::usage,
    collect: collect::collect,
    events: events::events,
    stop_field: "status",
    stop_reason: answer::stop_reason,
    demo_body: demo::body,
    demo_events: demo::events,
    offered_tool: demo::offered_tool,
};
