//! Anthropic Messages: `POST /v1/messages`.

pub(super) mod answer;
mod blocks;
pub(super) mod codec;
mod collect;
pub(super) mod count;
mod decode;
mod demo;
mod encode;
mod error;
mod events;
mod grounding;
mod read;
mod request;
mod system;
mod usage;
mod write;

use super::definition::{Definition, Instructions, Path};

pub(super) static DEFINITION: Definition = Definition {
    name: "anthropic-messages",
    path: Path::Fixed("/messages"),
    request_id_header: "request-id",
    ping: b"event: ping\ndata: {\"type\": \"ping\"}\n\n",
    conversation: "messages",
    conversation_fix: "send an array with at least one message",
    instructions: Some(Instructions::Field { names: &["system"], value: system::exchanged }),
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
    stop_field: "stop_reason",
    stop_reason: answer::stop_reason,
    demo_body: demo::body,
    demo_events: demo::events,
    offered_tool: demo::offered_tool,
};
