//! Reading what an answer cost. Compatible servers agree on the names of the prompt and the completion, and on little else.

use crate::answer::reading::{Counted, Reading, raise};

/// Notes what a raw `usage` says.
///
/// `prompt_tokens` contains the cached tokens, and `completion_tokens` the reasoning, at OpenAI and at most others; ours
/// are kinds that do not overlap. Where a server counts otherwise, its total tells.
pub(crate) fn usage(answer: &mut Reading, usage: Option<&[u8]>) {
    let Some(usage) = usage.filter(|usage| usage.starts_with(b"{")) else { return };
    let [prompt, input, completion, output, total, prompt_details, completion_details, service_tier] = answer.pick(
        usage,
        [
            "prompt_tokens",
            "input_tokens",
            "completion_tokens",
            "output_tokens",
            "total_tokens",
            "prompt_tokens_details",
            "completion_tokens_details",
            "service_tier",
        ],
    );
    let [read, written, written_anthropic, audio_in, image_in] = prompt_details.map_or([None; 5], |details| {
        answer.pick(
            details,
            ["cached_tokens", "cache_write_tokens", "cache_creation_tokens", "audio_tokens", "image_tokens"],
        )
    });
    // DeepSeek's name, Moonshot's, and those of proxies that pass on Anthropic's.
    let [read_hit, read_flat, read_anthropic, written_flat] = answer.pick(
        usage,
        ["prompt_cache_hit_tokens", "cached_tokens", "cache_read_input_tokens", "cache_creation_input_tokens"],
    );
    let [reasoning, audio_out, image_out] = completion_details
        .map_or([None; 3], |details| answer.pick(details, ["reasoning_tokens", "audio_tokens", "image_tokens"]));
    let [reasoning_flat, sources, queries, by_lifetime] =
        answer.pick(usage, ["reasoning_tokens", "num_sources_used", "num_search_queries", "cache_creation"]);
    let [one_hour] = by_lifetime.map_or([None], |written| answer.pick(written, ["ephemeral_1h_input_tokens"]));

    let mut largest = |values: &[Option<&[u8]>]| {
        let mut known = None;
        for value in values {
            raise(&mut known, answer.count(*value));
        }
        known
    };
    let prompt = largest(&[prompt, input]);
    let completion = largest(&[completion, output]);
    let total = largest(&[total]);
    let read = largest(&[read, read_hit, read_flat, read_anthropic]);
    let written = largest(&[written, written_anthropic, written_flat]);
    let reasoning = largest(&[reasoning, reasoning_flat]);
    let searches = largest(&[sources, queries]);
    let one_hour = largest(&[one_hour]);
    let [audio_in, image_in, audio_out, image_out] =
        [audio_in, image_in, audio_out, image_out].map(|count| largest(&[count]).filter(|count| *count > 0));

    raise(&mut answer.counted.prompt, prompt);
    raise(&mut answer.counted.completion, completion);
    raise(&mut answer.counted.total, total);
    raise(&mut answer.usage.cache_read_tokens, read);
    raise(&mut answer.usage.cache_creation_tokens, written);
    raise(&mut answer.usage.cache_creation_1h_tokens, one_hour);
    raise(&mut answer.usage.reasoning_tokens, reasoning);
    raise(&mut answer.usage.web_searches, searches);
    raise(&mut answer.usage.audio_input_tokens, audio_in);
    raise(&mut answer.usage.image_input_tokens, image_in);
    raise(&mut answer.usage.audio_output_tokens, audio_out);
    raise(&mut answer.usage.image_output_tokens, image_out);
    answer.service_tier(service_tier);
    derive(answer);
}

/// Makes kinds that do not overlap of what was counted.
fn derive(answer: &mut Reading) {
    let Counted { prompt, completion, total, .. } = answer.counted;
    // Of three figures two are enough.
    let completion = completion.or_else(|| Some(total?.saturating_sub(prompt?)));
    let sum = |one: Option<u64>, other: Option<u64>| one.unwrap_or(0).saturating_add(other.unwrap_or(0));
    let cached = sum(answer.usage.cache_read_tokens, answer.usage.cache_creation_tokens);
    let reasoning = answer.usage.reasoning_tokens.unwrap_or(0);
    // What the total has beyond prompt and completion.
    let beyond = match (prompt, completion, total) {
        (Some(_), Some(_), Some(total)) => total.saturating_sub(sum(prompt, completion)),
        _ => 0,
    };
    let apart = |kind: u64| kind > 0 && beyond == kind;
    let both = apart(reasoning.saturating_add(cached));
    // Reasoning stands apart where the total says so, also where it is not named at all, or where there is more of it than
    // of the answer.
    let reasoning_apart = if apart(reasoning) || both {
        reasoning
    } else if reasoning == 0 && !apart(cached) {
        beyond
    } else if completion.is_some_and(|completion| reasoning > completion) {
        reasoning
    } else {
        0
    };
    let cached_apart = apart(cached) && !apart(reasoning) || both || prompt.is_some_and(|prompt| cached > prompt);
    answer.usage.output_tokens = completion.map(|completion| completion.saturating_add(reasoning_apart));
    answer.usage.input_tokens = prompt.map(|prompt| if cached_apart { prompt } else { prompt.saturating_sub(cached) });
}
