//! Reading what an answer cost.

use systemprompt_model::json::loose;

use crate::answer::reading::{Reading, raise};

/// Notes what a raw `usage` says. Its kinds do not overlap; where the total says that they do, they are taken apart.
pub(super) fn usage(answer: &mut Reading, usage: Option<&[u8]>) {
    let Some(usage) = usage.filter(|usage| usage.starts_with(b"{")) else { return };
    let [input, output, total, read, written, details] = answer.pick(
        usage,
        ["inputTokens", "outputTokens", "totalTokens", "cacheReadInputTokens", "cacheWriteInputTokens", "cacheDetails"],
    );
    let [input, output, total, read, written] = [input, output, total, read, written].map(|value| answer.count(value));
    let cached = read.unwrap_or(0).saturating_add(written.unwrap_or(0));
    let within = cached > 0
        && total.is_some_and(|total| {
            input.zip(output).is_some_and(|(input, output)| input.saturating_add(output) == total)
        });
    let input = if within { input.map(|input| input.saturating_sub(cached)) } else { input };
    let mut one_hour = None;
    for detail in details.map(|details| loose::elements(details, 16)).unwrap_or_default() {
        let [lifetime, tokens] = answer.pick(detail, ["ttl", "inputTokens"]);
        if lifetime == Some(b"\"1h\"") {
            one_hour = answer.count(tokens);
        }
    }
    let known = &mut answer.usage;
    raise(&mut known.input_tokens, input);
    raise(&mut known.output_tokens, output);
    raise(&mut known.cache_read_tokens, read);
    raise(&mut known.cache_creation_tokens, written);
    raise(&mut known.cache_creation_1h_tokens, one_hour);
}
