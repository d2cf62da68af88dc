//! Reading what an answer cost.

use systemprompt_model::json::loose;

use crate::answer::reading::{Reading, raise};

/// Kinds of tokens that are looked at.
const KINDS: usize = 16;

/// Notes what a raw `usageMetadata` says.
///
/// `promptTokenCount` contains the cached tokens; `candidatesTokenCount` does not contain the thoughts, and what Google's
/// own tools added to the prompt is counted apart. The total tells where a server counts otherwise.
pub(crate) fn usage(answer: &mut Reading, usage: Option<&[u8]>) {
    let Some(usage) = usage.filter(|usage| usage.starts_with(b"{")) else { return };
    let [prompt, cached, candidates, thoughts, tools, total, tier, traffic, prompt_kinds, candidate_kinds] = answer
        .pick(
            usage,
            [
                "promptTokenCount",
                "cachedContentTokenCount",
                "candidatesTokenCount",
                "thoughtsTokenCount",
                "toolUsePromptTokenCount",
                "totalTokenCount",
                "serviceTier",
                "trafficType",
                "promptTokensDetails",
                "candidatesTokensDetails",
            ],
        );
    let [audio_in, image_in] = ["AUDIO", "IMAGE"].map(|kind| of_kind(answer, prompt_kinds, kind));
    let [audio_out, image_out] = ["AUDIO", "IMAGE"].map(|kind| of_kind(answer, candidate_kinds, kind));
    let [prompt, cached, candidates, thoughts, tools, total] =
        [prompt, cached, candidates, thoughts, tools, total].map(|value| answer.count(value));
    raise(&mut answer.counted.prompt, prompt);
    raise(&mut answer.counted.completion, candidates);
    raise(&mut answer.counted.tools, tools);
    raise(&mut answer.counted.total, total);
    raise(&mut answer.usage.cache_read_tokens, cached);
    raise(&mut answer.usage.reasoning_tokens, thoughts);
    raise(&mut answer.usage.audio_input_tokens, audio_in);
    raise(&mut answer.usage.image_input_tokens, image_in);
    raise(&mut answer.usage.audio_output_tokens, audio_out);
    raise(&mut answer.usage.image_output_tokens, image_out);
    answer.service_tier(tier.or(traffic));
    derive(answer);
}

/// The tokens of one kind in a list of `{modality, tokenCount}`.
fn of_kind(answer: &mut Reading, kinds: Option<&[u8]>, kind: &str) -> Option<u64> {
    let mut count = None;
    for element in loose::elements(kinds?, KINDS) {
        let [modality, tokens] = answer.pick(element, ["modality", "tokenCount"]);
        if modality.and_then(loose::text).is_some_and(|modality| modality == kind) {
            raise(&mut count, answer.count(tokens));
        }
    }
    count.filter(|count| *count > 0)
}

/// Makes kinds that do not overlap of what was counted.
fn derive(answer: &mut Reading) {
    let counted = answer.counted;
    let thoughts = answer.usage.reasoning_tokens.unwrap_or(0);
    let asked = counted.prompt.map(|prompt| prompt.saturating_add(counted.tools.unwrap_or(0)));
    // Before the first candidate there is no count of them, but a total.
    let beyond = counted.total.zip(asked).map(|(total, asked)| total.saturating_sub(asked));
    answer.usage.output_tokens = match (counted.completion, beyond) {
        // The thoughts are among the candidates.
        (Some(candidates), Some(beyond)) if thoughts > 0 && beyond == candidates => Some(candidates),
        (Some(candidates), _) => Some(candidates.saturating_add(thoughts)),
        (None, Some(beyond)) => Some(beyond.max(thoughts)),
        (None, None) => answer.usage.reasoning_tokens,
    };
    let cached = answer.usage.cache_read_tokens.unwrap_or(0);
    answer.usage.input_tokens = asked.map(|asked| asked.saturating_sub(cached));
}
