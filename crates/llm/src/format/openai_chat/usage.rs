//! Reading what an answer cost.

use systemprompt_model::json;

use crate::answer::reading::{Reading, raise};

/// Notes what a raw `usage` says.
///
/// `prompt_tokens` contains the cached tokens; ours are kinds that do not overlap.
pub(super) fn usage(answer: &mut Reading, usage: Option<&[u8]>) {
    let names = ["prompt_tokens", "completion_tokens", "prompt_tokens_details"];
    let Some(Ok([prompt, completion, details])) = usage.map(|usage| json::pick(usage, names)) else { return };
    raise(&mut answer.prompt_tokens, prompt);
    raise(&mut answer.usage.output_tokens, completion);
    if let Some(Ok([read, written])) =
        details.map(|details| json::pick(details, ["cached_tokens", "cache_write_tokens"]))
    {
        raise(&mut answer.usage.cache_read_tokens, read);
        raise(&mut answer.usage.cache_creation_tokens, written);
    }
    let cached =
        answer.usage.cache_read_tokens.unwrap_or(0).saturating_add(answer.usage.cache_creation_tokens.unwrap_or(0));
    answer.usage.input_tokens = answer.prompt_tokens.map(|prompt| prompt.saturating_sub(cached));
}
