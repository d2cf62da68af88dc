//! Reading what embeddings cost.

use systemprompt_model::json::loose;

use crate::answer::summary::Usage;
use crate::format::Format;

/// The tokens that an answer of a provider counts: Gemini's, or one compatible with OpenAI. Nothing is known of what is
/// no answer.
pub fn embeddings_usage(provider: Format, body: &[u8]) -> Usage {
    let (usage, prompt, total) = match provider {
        Format::Gemini => ("usageMetadata", "promptTokenCount", "totalTokenCount"),
        _ => ("usage", "prompt_tokens", "total_tokens"),
    };
    let [usage] = loose::pick(body, [usage]);
    let [prompt, total] = usage.map_or([None; 2], |usage| loose::pick(usage, [prompt, total]));
    let tokens = prompt.or(total).and_then(loose::count);
    // An embedding is no text.
    Usage { input_tokens: tokens, output_tokens: tokens.map(|_| 0), ..Usage::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_counted_as_the_provider_says() {
        for (provider, body, tokens) in [
            (Format::OpenAiChat, r#"{"data":[],"usage":{"prompt_tokens":8,"total_tokens":8}}"#, Some(8)),
            (Format::OpenAiChat, r#"{"data":[],"usage":{"total_tokens":9}}"#, Some(9)),
            (Format::OpenAiChat, r#"{"data":[]}"#, None),
            (Format::Gemini, r#"{"embeddings":[],"usageMetadata":{"promptTokenCount":4}}"#, Some(4)),
            (Format::Gemini, r#"{"error":{}}"#, None),
        ] {
            assert_eq!(embeddings_usage(provider, body.as_bytes()).input_tokens, tokens, "{body}");
        }
    }
}
