//! Reading what an answer cost.

use crate::answer::reading::{Counted, Reading, raise};

/// Notes what a raw `usage` says. `input_tokens` contains what was read from the cache and written to it, and
/// `output_tokens` the reasoning; ours are kinds that do not overlap.
pub(super) fn usage(answer: &mut Reading, usage: Option<&[u8]>) {
    let Some(usage) = usage.filter(|usage| usage.starts_with(b"{")) else { return };
    let [input, output, total, input_details, output_details] = answer.pick(
        usage,
        ["input_tokens", "output_tokens", "total_tokens", "input_tokens_details", "output_tokens_details"],
    );
    let [input_details, output_details] =
        [input_details, output_details].map(|details| details.filter(|details| details.starts_with(b"{")));
    let [read, written] =
        input_details.map_or([None; 2], |details| answer.pick(details, ["cached_tokens", "cache_write_tokens"]));
    let [reasoning] = output_details.map_or([None], |details| answer.pick(details, ["reasoning_tokens"]));
    let [input, output, total] = [input, output, total].map(|value| answer.count(value));
    let [read, written, reasoning] = [read, written, reasoning].map(|value| answer.count(value));
    raise(&mut answer.counted.prompt, input);
    raise(&mut answer.counted.completion, output);
    raise(&mut answer.counted.total, total);
    raise(&mut answer.usage.cache_read_tokens, read);
    raise(&mut answer.usage.cache_creation_tokens, written);
    raise(&mut answer.usage.reasoning_tokens, reasoning);
    derive(answer);
}

/// Makes kinds that do not overlap of what was counted.
fn derive(answer: &mut Reading) {
    let Counted { prompt, completion, total, .. } = answer.counted;
    let cached =
        answer.usage.cache_read_tokens.unwrap_or(0).saturating_add(answer.usage.cache_creation_tokens.unwrap_or(0));
    // A server that counts the cached ones apart has more of them than of the prompt, or a total that says so.
    let apart = prompt.is_some_and(|prompt| cached > prompt)
        || cached > 0
            && matches!((prompt, completion, total), (Some(prompt), Some(completion), Some(total))
            if total == prompt.saturating_add(completion).saturating_add(cached));
    answer.usage.input_tokens = prompt.map(|prompt| if apart { prompt } else { prompt.saturating_sub(cached) });
    // Of three figures two are enough.
    answer.usage.output_tokens = completion.or_else(|| Some(total?.saturating_sub(prompt?)));
}
