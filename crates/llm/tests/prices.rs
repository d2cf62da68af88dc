//! What providers say was used, and what that costs: every dialect, at the prices of the built-in catalog.

use systemprompt_llm::catalog::{Pricing, default_catalog};
use systemprompt_llm::{AnswerTap, Format, StopReason};
use systemprompt_model::Microdollars;

fn prices(model: &str) -> Pricing {
    default_catalog().find(model).and_then(|model| model.pricing).expect("a price")
}

/// An answer of `format` with this usage and whatever else.
fn answer(format: Format, usage: &str, more: &str) -> String {
    match format {
        Format::AnthropicMessages => format!(
            r#"{{"id":"m","type":"message","role":"assistant","model":"x","content":[{{"type":"text","text":"hi"}}],
            "stop_reason":"end_turn","usage":{usage}{more}}}"#
        ),
        Format::OpenAiChat => format!(
            r#"{{"id":"c","object":"chat.completion","model":"x","choices":[{{"index":0,"finish_reason":"stop",
            "message":{{"role":"assistant","content":"hi"}}}}],"usage":{usage}{more}}}"#
        ),
        Format::OpenAiResponses => format!(
            r#"{{"id":"r","object":"response","status":"completed","model":"x","output":[{{"type":"message",
            "role":"assistant","content":[{{"type":"output_text","text":"hi"}}]}}],"usage":{usage}{more}}}"#
        ),
        Format::Gemini => format!(
            r#"{{"responseId":"g","modelVersion":"x","candidates":[{{"content":{{"role":"model","parts":[{{"text":"hi"}}]}},
            "finishReason":"STOP"}}],"usageMetadata":{usage}{more}}}"#
        ),
        Format::BedrockConverse => format!(
            r#"{{"output":{{"message":{{"role":"assistant","content":[{{"text":"hi"}}]}}}},"stopReason":"end_turn",
            "usage":{usage}{more}}}"#
        ),
        _ => panic!("{format} is no conversation"),
    }
}

fn cost(format: Format, model: &str, usage: &str, more: &str) -> Microdollars {
    let mut tap = AnswerTap::new(format, false, 0, 0);
    tap.feed(answer(format, usage, more).as_bytes());
    let read = tap.finish();
    assert_eq!(read.stop_reason, Some(StopReason::EndTurn), "{usage}");
    prices(model).cost(&read.usage, read.service_tier.as_deref())
}

#[test]
fn what_is_used_costs_what_the_catalog_says() {
    use Format::{AnthropicMessages as Anthropic, Gemini, OpenAiChat as Chat, OpenAiResponses as Responses};
    for (format, model, usage, more, expected) in [
        // 2 in, 10 out, 0.1 read, 2.5 written, 4 written for an hour, in millionths of a dollar for each token.
        (Anthropic, "claude-sonnet-5-5", r#"{"input_tokens":1000,"output_tokens":500}"#, "", 2_000 + 5_000),
        (
            Anthropic,
            "claude-sonnet-5-5",
            r#"{"input_tokens":3,"output_tokens":7,"cache_read_input_tokens":100001,"cache_creation_input_tokens":2000}"#,
            "",
            // 6 + 70 + 10,000.1 + 5,000
            15_076,
        ),
        (
            Anthropic,
            "claude-sonnet-5-5",
            r#"{"input_tokens":0,"output_tokens":0,"cache_creation_input_tokens":3000,
            "cache_creation":{"ephemeral_5m_input_tokens":1000,"ephemeral_1h_input_tokens":2000}}"#,
            "",
            2_500 + 8_000,
        ),
        (
            Anthropic,
            "claude-opus-5-5",
            r#"{"input_tokens":10,"output_tokens":10,"server_tool_use":{"web_search_requests":3}}"#,
            "",
            40 + 200 + 30_000,
        ),
        (
            Anthropic,
            "claude-opus-5-5",
            r#"{"input_tokens":1001,"output_tokens":10,"service_tier":"batch"}"#,
            "",
            // Half of 4,004 and of 200.
            2_002 + 100,
        ),
        // 0.1 in and 0.5 out up to 100,000 tokens of prompt, cached ones included; five times that above.
        (
            Anthropic,
            "claude-haiku-5-5",
            r#"{"input_tokens":1,"output_tokens":100,"cache_read_input_tokens":99999}"#,
            "",
            // 0.1 + 50 + 999.99
            1_050,
        ),
        (
            Anthropic,
            "claude-haiku-5-5",
            r#"{"input_tokens":2,"output_tokens":100,"cache_read_input_tokens":99999}"#,
            "",
            // 1 + 250 + 4,999.95
            5_251,
        ),
        // 2 in, 8 out, 0.5 read. The prompt contains what was read from the cache.
        (
            Chat,
            "gpt-4.1",
            r#"{"prompt_tokens":1000,"completion_tokens":100,"total_tokens":1100,
            "prompt_tokens_details":{"cached_tokens":600},"completion_tokens_details":{"reasoning_tokens":40}}"#,
            "",
            800 + 300 + 800,
        ),
        // Half a millionth is rounded up, and only once: 1 × 0.15 + 1 × 0.6 + 0 = 0.75.
        (Chat, "gpt-4o-mini", r#"{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}"#, "", 1),
        (
            Chat,
            "gpt-5",
            r#"{"prompt_tokens":1000,"completion_tokens":1000,"total_tokens":2000}"#,
            r#","service_tier":"flex""#,
            625 + 5_000,
        ),
        (
            Chat,
            "gpt-5",
            r#"{"prompt_tokens":1000,"completion_tokens":1000,"total_tokens":2000}"#,
            r#","service_tier":"priority""#,
            2_500 + 20_000,
        ),
        (
            Responses,
            "gpt-6.1-sol",
            r#"{"input_tokens":1000,"input_tokens_details":{"cached_tokens":400},"output_tokens":200,
            "output_tokens_details":{"reasoning_tokens":150},"total_tokens":1200}"#,
            "",
            1_200 + 40 + 2_000,
        ),
        // A prompt of more than 272,000 tokens costs twice as much, and its answer half as much again.
        (
            Responses,
            "gpt-6.1-sol",
            r#"{"input_tokens":272001,"input_tokens_details":{"cached_tokens":272000},"output_tokens":10,
            "output_tokens_details":{"reasoning_tokens":0},"total_tokens":272011}"#,
            "",
            4 + 54_400 + 150,
        ),
        // 0.3 in, 2.5 out, 0.03 read, and 1 for sound; what was thought is told apart from what was said.
        (
            Gemini,
            "gemini-2.5-flash",
            r#"{"promptTokenCount":1000,"cachedContentTokenCount":400,"candidatesTokenCount":100,"thoughtsTokenCount":60,
            "totalTokenCount":1160}"#,
            "",
            180 + 12 + 400,
        ),
        (
            Gemini,
            "gemini-2.5-flash",
            r#"{"promptTokenCount":1000,"candidatesTokenCount":100,"totalTokenCount":1100,"promptTokensDetails":
            [{"modality":"TEXT","tokenCount":200},{"modality":"AUDIO","tokenCount":800}]}"#,
            "",
            60 + 800 + 250,
        ),
        // What was read from the cache and written to it is counted apart.
        (
            Format::BedrockConverse,
            "claude-sonnet-5-5",
            r#"{"inputTokens":100,"outputTokens":10,"totalTokens":1310,"cacheReadInputTokens":1000,
            "cacheWriteInputTokens":200}"#,
            "",
            200 + 100 + 100 + 500,
        ),
    ] {
        assert_eq!(cost(format, model, usage, more), Microdollars(expected), "{model}: {usage}{more}");
    }
}

#[test]
fn a_stream_that_is_cut_costs_what_was_told() {
    let mut tap = AnswerTap::new(Format::AnthropicMessages, true, 0, 0);
    tap.feed(
        b"event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"model\":\"x\",\"usage\":\
        {\"input_tokens\":100,\"cache_read_input_tokens\":1000,\"output_tokens\":1}}}\n\n\
        event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":\
        {\"type\":\"text_delta\",\"text\":\"half of",
    );
    let read = tap.finish();
    assert!(!read.complete);
    // 200 for the prompt, 100 for what was cached, 10 for the one token of the answer that was counted.
    assert_eq!(prices("claude-sonnet-5-5").cost(&read.usage, None), Microdollars(310));
}
