//! Reading what an answer cost.

use crate::answer::reading::{Reading, raise};

/// Notes what a raw `usage` says. Its kinds do not overlap; those of `cache_creation` say how the cache writes are made up.
pub(super) fn usage(answer: &mut Reading, usage: Option<&[u8]>) {
    let Some(usage) = usage.filter(|usage| usage.starts_with(b"{")) else { return };
    let [input, output, cache_read, cache_creation, by_lifetime, details, server_tools, service_tier] = answer.pick(
        usage,
        [
            "input_tokens",
            "output_tokens",
            "cache_read_input_tokens",
            "cache_creation_input_tokens",
            "cache_creation",
            "output_tokens_details",
            "server_tool_use",
            "service_tier",
        ],
    );
    let [five_minutes, one_hour] = by_lifetime
        .map_or([None; 2], |written| answer.pick(written, ["ephemeral_5m_input_tokens", "ephemeral_1h_input_tokens"]));
    let [thinking] = details.map_or([None], |details| answer.pick(details, ["thinking_tokens"]));
    let [searches] = server_tools.map_or([None], |tools| answer.pick(tools, ["web_search_requests"]));
    let [input, output, cache_read, cache_creation, five_minutes, one_hour, thinking, searches] =
        [input, output, cache_read, cache_creation, five_minutes, one_hour, thinking, searches]
            .map(|value| answer.count(value));

    let known = &mut answer.usage;
    raise(&mut known.input_tokens, input);
    raise(&mut known.output_tokens, output);
    raise(&mut known.cache_read_tokens, cache_read);
    // Some proxies pass on the parts and not the sum.
    let parts = five_minutes.map(|five_minutes| five_minutes.saturating_add(one_hour.unwrap_or(0))).or(one_hour);
    raise(&mut known.cache_creation_tokens, cache_creation.max(parts));
    raise(&mut known.cache_creation_1h_tokens, one_hour);
    raise(&mut known.reasoning_tokens, thinking);
    raise(&mut known.web_searches, searches);
    answer.service_tier(service_tier);
}
