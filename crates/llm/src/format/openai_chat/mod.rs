//! OpenAI Chat Completions and everything compatible with it: `POST /v1/chat/completions`.

pub(super) mod answer;
pub(super) mod codec;
mod collect;
mod decode;
mod demo;
mod encode;
mod error;
mod events;
mod grounding;
mod read;
mod reasoning;
mod request;
pub(super) mod usage;
pub(crate) mod usage_chunk;
mod write;

use super::definition::{Definition, Instructions, Path};

pub(super) static DEFINITION: Definition = Definition {
    name: "openai-chat",
    path: Path::Fixed("/chat/completions"),
    request_id_header: "x-request-id",
    // The format has no event for it; a comment is skipped by every reader of event streams.
    ping: b": ping\n\n",
    conversation: "messages",
    conversation_fix: "send an array with at least one message",
    instructions: Some(Instructions::Messages),
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
    stop_field: "finish_reason",
    stop_reason: answer::stop_reason,
    demo_body: demo::body,
    demo_events: demo::events,
    offered_tool: demo::offered_tool,
};
