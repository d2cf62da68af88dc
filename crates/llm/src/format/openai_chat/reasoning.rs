//! Thoughts, which servers that are compatible with OpenAI tell in words, and some want to see again.

use crate::format::Format;
use crate::neutral::{Signature, Thinking};

/// What marks a thought that came in this field of a message.
pub(super) fn signature(field: &str) -> Signature {
    Signature { by: Format::OpenAiChat, id: None, data: field.to_owned() }
}

/// The field a thought came in, if it came in one of this format.
pub(super) fn field(thought: &Thinking) -> Option<&'static str> {
    let signature = thought.signature.as_ref().filter(|signature| signature.by == Format::OpenAiChat)?;
    ["reasoning_content", "reasoning"].into_iter().find(|field| *field == signature.data)
}
