//! Reading what an answer cost.

use systemprompt_model::json;

use crate::answer::reading::{Reading, raise};

/// Notes what a raw `usage` says. Its kinds do not overlap.
pub(super) fn usage(answer: &mut Reading, usage: Option<&[u8]>) {
    let names = ["input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"];
    if let Some(Ok([input, output, cache_read, cache_creation])) = usage.map(|usage| json::pick(usage, names)) {
        raise(&mut answer.usage.input_tokens, input);
        raise(&mut answer.usage.output_tokens, output);
        raise(&mut answer.usage.cache_read_tokens, cache_read);
        raise(&mut answer.usage.cache_creation_tokens, cache_creation);
    }
}
