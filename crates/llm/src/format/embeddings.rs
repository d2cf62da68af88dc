//! Embeddings, as the callers of OpenAI ask for them and as Gemini is asked: no conversation, and no stream.

use systemprompt_model::json::loose;

use super::definition::{Definition, Path};
use super::whole_only::{event, no_collection, no_demo, no_demo_events, no_events};
use super::{gemini, openai_chat};
use crate::answer::reading::{Reading, unwrapped};
use crate::embeddings::request;

pub(super) static OPENAI: Definition = Definition {
    name: "openai-embeddings",
    path: Path::Fixed("/embeddings"),
    conversation: request::INPUT,
    conversation_fix: "send a text, or an array of texts",
    instructions: None,
    read_request: request::read,
    answer_event: event,
    has_last_event: false,
    answer_body: openai_body,
    collect: no_collection,
    events: no_events,
    demo_body: no_demo,
    demo_events: no_demo_events,
    ..openai_chat::DEFINITION
};

/// For providers only.
pub(super) static GEMINI: Definition = Definition {
    name: "gemini-embeddings",
    path: Path::OfModel { before: "/models/", whole: ":batchEmbedContents", streamed: ":batchEmbedContents" },
    instructions: None,
    answer_event: event,
    has_last_event: false,
    answer_body: gemini_body,
    collect: no_collection,
    events: no_events,
    ..gemini::DEFINITION
};

fn openai_body(answer: &mut Reading, body: &[u8]) {
    let [id, model, data, usage] = answer.pick(body, ["id", "model", "data", "usage"]);
    event(answer, body);
    answer.identity(id, model);
    openai_chat::usage::usage(answer, usage);
    end(answer, body, data);
}

fn gemini_body(answer: &mut Reading, body: &[u8]) {
    let body = unwrapped(body);
    let [data, usage] = answer.pick(body, ["embeddings", "usageMetadata"]);
    event(answer, body);
    gemini::usage::usage(answer, usage);
    end(answer, body, data);
}

/// An answer is one if the embeddings are there, and whole.
fn end(answer: &mut Reading, body: &[u8], embeddings: Option<&[u8]>) {
    // An embedding is no text.
    answer.usage.output_tokens = Some(0);
    answer.finished = answer.error.is_none() && embeddings.is_some() && loose::is_whole(body);
}
