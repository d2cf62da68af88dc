//! OpenAI's API for images: no conversation, and no stream.

use serde_json::Value;
use systemprompt_model::json::loose;

use super::definition::{Definition, Path};
use super::openai_chat;
use crate::answer::reading::{Reading, is_error};
use crate::demo::answer::DemoAnswer;
use crate::demo::stream::DemoEvent;
use crate::images::request;

/// Most images of one answer.
const MOST: usize = 100;

/// Images made from words.
pub(super) static GENERATIONS: Definition = Definition {
    name: "openai-images",
    path: Path::Fixed("/images/generations"),
    conversation: "prompt",
    conversation_fix: "say what is to be seen",
    read_request: request::read,
    answer_event: event,
    answer_body: body,
    collect: no_collection,
    events: no_events,
    demo_body: no_demo,
    demo_events: no_demo_events,
    instructions: None,
    ..openai_chat::DEFINITION
};

/// Images made from others and words.
pub(super) static EDITS: Definition =
    Definition { name: "openai-image-edits", path: Path::Fixed("/images/edits"), instructions: None, ..GENERATIONS };

/// There are no streams, but errors may come as one.
fn event(answer: &mut Reading, data: &[u8]) {
    let [error] = answer.pick(data, ["error"]);
    if let Some(error) = error.filter(|error| is_error(error)) {
        answer.error(error);
    }
}

fn body(answer: &mut Reading, body: &[u8]) {
    let [id, model, data, usage] = answer.pick(body, ["id", "model", "data", "usage"]);
    event(answer, body);
    answer.identity(id, model);
    openai_chat::usage::usage(answer, usage);
    // Under names of their own here.
    let [input, output] =
        usage.map_or([None; 2], |usage| answer.pick(usage, ["input_tokens_details", "output_tokens_details"]));
    let of_images = |answer: &mut Reading, details: Option<&[u8]>| {
        let [tokens] = details.map_or([None], |details| answer.pick(details, ["image_tokens"]));
        answer.count(tokens)
    };
    answer.usage.image_input_tokens = of_images(answer, input);
    // Older models do not tell them apart: all they say is an image.
    answer.usage.image_output_tokens = of_images(answer, output).or(answer.usage.output_tokens);
    let made = data.map(|data| loose::elements(data, MOST).len() as u64);
    answer.usage.images = made;
    answer.finished = answer.error.is_none() && made.is_some_and(|made| made > 0) && loose::is_whole(body);
}

/// A stream is never put together, because there is none.
fn no_collection(_: &[Value]) -> Option<Value> {
    None
}

/// An answer never becomes a stream.
fn no_events(_: &Value, _: bool) -> Option<Vec<u8>> {
    None
}

/// The demo model draws nothing: no request for images leads to it.
fn no_demo(_: &DemoAnswer, _: &str, _: i64) -> Vec<u8> {
    Vec::new()
}

fn no_demo_events(_: &DemoAnswer, _: &str, _: i64) -> Vec<DemoEvent> {
    Vec::new()
}
