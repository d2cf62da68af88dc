//! OpenAI's API for images: no conversation, and no stream.

use systemprompt_model::json::loose;

use super::definition::{Definition, Path};
use super::openai_chat;
use super::whole_only::{event, no_collection, no_demo, no_demo_events, no_events};
use crate::answer::reading::Reading;
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
    has_last_event: false,
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
