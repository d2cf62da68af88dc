//! Amazon Bedrock's Converse API: `POST /model/{model}/converse` and `/converse-stream`. Only providers speak it.
//!
//! Its streams are events in a binary frame. Where answers are decoded they become server-sent events, whose data is an
//! object with the name of the event as its only member: `{"contentBlockDelta":{…}}`.

pub(super) mod answer;
pub(super) mod codec;
mod collect;
mod content;
mod demo;
mod encode;
mod error;
mod events;
mod exception;
mod models;
mod read;
mod request;
mod usage;

use super::definition::{Definition, Path};

pub(super) static DEFINITION: Definition = Definition {
    name: "bedrock-converse",
    path: Path::OfModel { before: "/model/", whole: "/converse", streamed: "/converse-stream" },
    request_id_header: "x-amzn-requestid",
    ping: b": ping\n\n",
    conversation: "messages",
    conversation_fix: "send an array with at least one message",
    // Nobody asks in it.
    instructions: None,
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
    stop_field: "stopReason",
    stop_reason: answer::stop_reason,
    demo_body: demo::body,
    demo_events: demo::events,
    offered_tool: demo::offered_tool,
};
