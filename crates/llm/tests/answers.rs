//! What the ledger learns from an answer, streamed or buffered, whole or in pieces, sound or broken.

use systemprompt_llm::{AnswerSummary, AnswerTap, Excerpt, Format, StopReason, ToolCall, UpstreamErrorSummary, Usage};

const ANTHROPIC_STREAM: &str = include_str!("golden/answers/anthropic.sse");
const ANTHROPIC_BODY: &str = include_str!("golden/answers/anthropic.json");
const OPENAI_STREAM: &str = include_str!("golden/answers/openai.sse");
const OPENAI_BODY: &str = include_str!("golden/answers/openai.json");

fn summary<'a>(format: Format, streamed: bool, chunks: impl IntoIterator<Item = &'a [u8]>) -> AnswerSummary {
    let mut tap = AnswerTap::new(format, streamed, 1024, 1024);
    for chunk in chunks {
        tap.feed(chunk);
    }
    tap.finish()
}

fn whole(format: Format, streamed: bool, answer: &str) -> AnswerSummary {
    summary(format, streamed, [answer.as_bytes()])
}

fn excerpt(text: &str) -> Excerpt {
    Excerpt { head: text.to_owned(), tail: String::new(), bytes: text.len() as u64, truncated: false }
}

fn call(id: &str, name: &str, input: &str) -> ToolCall {
    ToolCall { id: id.into(), name: name.into(), input_excerpt: input.into(), input_bytes: input.len() as u64 }
}

fn anthropic() -> AnswerSummary {
    AnswerSummary {
        usage: Usage {
            input_tokens: Some(12),
            output_tokens: Some(89),
            cache_read_tokens: Some(7000),
            cache_creation_tokens: Some(300),
        },
        stop_reason: Some(StopReason::ToolUse),
        provider_request_id: Some("msg_01".into()),
        model: Some("claude-sonnet-5-5".into()),
        tool_calls: vec![call("toolu_01", "weather", r#"{"city": "Köln"}"#)],
        text: excerpt("Grüße, 😀 世界"),
        thinking: excerpt("secret thoughts"),
        unread_bytes: 0,
        complete: true,
        error: None,
        unreadable_events: 0,
    }
}

fn openai() -> AnswerSummary {
    AnswerSummary {
        usage: Usage {
            input_tokens: Some(36),
            output_tokens: Some(20),
            cache_read_tokens: Some(64),
            cache_creation_tokens: None,
        },
        stop_reason: Some(StopReason::ToolUse),
        provider_request_id: Some("chatcmpl-1".into()),
        model: Some("gpt-6-sol".into()),
        tool_calls: vec![call("call_1", "weather", r#"{"city": "Köln"}"#), call("call_2", "time", "{}")],
        text: excerpt("Grüße, 😀 世界"),
        thinking: excerpt(""),
        unread_bytes: 0,
        complete: true,
        error: None,
        unreadable_events: 0,
    }
}

#[test]
fn streamed_and_buffered_answers_say_the_same() {
    assert_eq!(whole(Format::AnthropicMessages, true, ANTHROPIC_STREAM), anthropic());
    assert_eq!(whole(Format::AnthropicMessages, false, ANTHROPIC_BODY), anthropic());
    assert_eq!(whole(Format::OpenAiChat, true, OPENAI_STREAM), openai());
    assert_eq!(whole(Format::OpenAiChat, false, OPENAI_BODY), openai());
    assert_eq!(anthropic().usage.total(), 12 + 89 + 7000 + 300);
    assert_eq!(openai().usage.total(), 120);
}

#[test]
fn thoughts_are_read_under_either_name() {
    for (delta, expected) in [
        (r#"{"reasoning_content":"hm"}"#, "hm"),
        (r#"{"reasoning":"hm","reasoning_content":null}"#, "hm"),
        (r#"{"reasoning":"hm","reasoning_content":"hm"}"#, "hm"),
        (r#"{"content":"hm"}"#, ""),
    ] {
        let stream = format!("data: {{\"choices\":[{{\"index\":0,\"delta\":{delta}}}]}}\n\n");
        assert_eq!(whole(Format::OpenAiChat, true, &stream).thinking, excerpt(expected), "{delta}");
    }
}

#[test]
fn of_an_answer_that_was_cut_off_the_length_is_known() {
    let cut = &ANTHROPIC_BODY[..ANTHROPIC_BODY.len() / 2];
    assert_eq!(whole(Format::AnthropicMessages, false, cut).unread_bytes, cut.len() as u64);
    assert_eq!(whole(Format::AnthropicMessages, false, "<html>").unread_bytes, 0);
    let long = format!("{{\"content\":[{{\"type\":\"text\",\"text\":\"{}\"}}]", "x".repeat(9 << 20));
    assert_eq!(whole(Format::AnthropicMessages, false, &long).unread_bytes, long.len() as u64);
}

/// A small generator, so that the cuts are many, odd, and the same in every run.
struct Cuts(u64);

impl Cuts {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % bound
    }
}

#[test]
fn any_cut_of_a_stream_gives_the_same_summary() {
    let mut cuts = Cuts(7);
    for (format, stream, expected) in
        [(Format::AnthropicMessages, ANTHROPIC_STREAM, anthropic()), (Format::OpenAiChat, OPENAI_STREAM, openai())]
    {
        for line_end in ["\n", "\r\n", "\r"] {
            let stream = stream.replace('\n', line_end);
            for at in 0..stream.len() {
                let (head, tail) = stream.as_bytes().split_at(at);
                assert_eq!(summary(format, true, [head, tail]), expected, "cut at {at}, lines end in {line_end:?}");
            }
            for size in [1, 2, 3, 5, 64] {
                assert_eq!(summary(format, true, stream.as_bytes().chunks(size)), expected, "chunks of {size}");
            }
            for _ in 0..100 {
                let mut chunks = Vec::new();
                let mut rest = stream.as_bytes();
                while !rest.is_empty() {
                    let (chunk, after) = rest.split_at(cuts.below(120.min(rest.len() + 1)));
                    chunks.push(chunk);
                    rest = after;
                }
                assert_eq!(summary(format, true, chunks), expected);
            }
        }
    }
    for (format, body, expected) in
        [(Format::AnthropicMessages, ANTHROPIC_BODY, anthropic()), (Format::OpenAiChat, OPENAI_BODY, openai())]
    {
        for size in [1, 7, 100] {
            assert_eq!(summary(format, false, body.as_bytes().chunks(size)), expected);
        }
    }
}

#[test]
fn a_stream_that_stops_early_is_not_complete_and_keeps_what_it_counted() {
    let end = ANTHROPIC_STREAM.find("event: message_stop").expect("the last event");
    let cut = whole(Format::AnthropicMessages, true, &ANTHROPIC_STREAM[..end]);
    assert_eq!(cut, AnswerSummary { complete: false, ..anthropic() });

    let end = OPENAI_STREAM.find("data: [DONE]").expect("the last event");
    let cut = whole(Format::OpenAiChat, true, &OPENAI_STREAM[..end]);
    assert_eq!(cut, AnswerSummary { complete: false, ..openai() });

    assert!(!whole(Format::AnthropicMessages, false, &ANTHROPIC_BODY[..200]).complete);
    assert!(!whole(Format::OpenAiChat, false, "").complete);
    assert!(!whole(Format::OpenAiChat, true, "").complete);
}

#[test]
fn the_end_and_the_boundaries_are_seen_while_the_stream_runs() {
    let mut tap = AnswerTap::new(Format::AnthropicMessages, true, 10, 10);
    assert!(tap.at_event_boundary() && !tap.terminal_seen());
    for byte in ANTHROPIC_STREAM.as_bytes() {
        assert!(!tap.terminal_seen());
        tap.feed(&[*byte]);
    }
    assert!(tap.terminal_seen() && tap.at_event_boundary());
    assert_eq!(tap.finish().usage.output_tokens, Some(89));

    let mut tap = AnswerTap::new(Format::OpenAiChat, true, 10, 10);
    tap.feed(b"data: {\"choices\":[]}\n");
    assert!(!tap.at_event_boundary());
}

#[test]
fn errors_of_the_provider_are_reported() {
    let overloaded =
        UpstreamErrorSummary { kind: Some("overloaded_error".into()), code: None, message: "Overloaded".into() };
    let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"},"request_id":"req_1"}"#;
    let read = whole(Format::AnthropicMessages, false, body);
    assert_eq!((read.error, read.complete), (Some(overloaded.clone()), false));
    assert_eq!(read.provider_request_id.as_deref(), Some("req_1"));

    let mut tap = AnswerTap::new(Format::AnthropicMessages, true, 10, 10);
    tap.feed(format!("event: error\ndata: {body}\n\n").as_bytes());
    assert!(tap.terminal_seen());
    assert_eq!(tap.finish().error, Some(overloaded));

    let body = r#"{"error":{"message":"no","type":"invalid_request_error","param":null,"code":"model_not_found"}}"#;
    for (streamed, text) in [(false, body.to_owned()), (true, format!("data: {body}\n\ndata: [DONE]\n\n"))] {
        let read = whole(Format::OpenAiChat, streamed, &text);
        let error = read.error.expect("an error");
        assert_eq!((error.code.as_deref(), error.message.as_str()), (Some("model_not_found"), "no"));
        assert!(!read.complete);
    }
}

#[test]
fn garbage_is_counted_and_does_no_harm() {
    let garbage = "data: {not json\n\ndata: \u{7f}\n\nevent: x\ndata: 5\n\n";
    let read = whole(Format::AnthropicMessages, true, &format!("{garbage}{ANTHROPIC_STREAM}"));
    assert_eq!(read, AnswerSummary { unreadable_events: 3, ..anthropic() });
    let bytes: &[u8] = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\xff\"}}]}\n\n";
    assert_eq!(summary(Format::OpenAiChat, true, [bytes]).text.head, "a\u{fffd}");
    let read = whole(Format::OpenAiChat, false, "<html>502</html>");
    assert_eq!((read.complete, read.unreadable_events), (false, 1));
}

#[test]
fn memory_is_bounded_by_the_excerpts() {
    let mut tap = AnswerTap::new(Format::OpenAiChat, true, 100, 100);
    for part in 0..20_000 {
        tap.feed(format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"part {part:08} \"}}}}]}}\n\n").as_bytes());
        let call = format!(
            "{{\"index\":{part},\"id\":\"c\",\"function\":{{\"name\":\"n\",\"arguments\":\"{}\"}}}}",
            "x".repeat(99)
        );
        tap.feed(format!("data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{call}]}}}}]}}\n\n").as_bytes());
    }
    let read = tap.finish();
    assert_eq!((read.text.bytes, read.text.truncated), (20_000 * 14, true));
    assert!(read.text.head.starts_with("part 00000000 ") && read.text.tail.ends_with("part 00019999 "));
    assert!(read.text.head.len() <= 100 && read.text.tail.len() <= 100);
    assert_eq!(read.tool_calls.len(), 128);

    // An input longer than the excerpt keeps its start and its length.
    let mut tap = AnswerTap::new(Format::OpenAiChat, true, 10, 10);
    for _ in 0..3 {
        tap.feed(b"data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"arguments\":\"12345678\"}}]}}]}\n\n");
    }
    assert_eq!(
        tap.finish().tool_calls,
        [ToolCall { input_excerpt: "1234567812".into(), input_bytes: 24, ..ToolCall::default() }]
    );
}

#[test]
fn usage_is_found_at_the_end_of_an_answer_too_long_to_keep() {
    let text = "never the \\\"usage\\\":{\\\"output_tokens\\\":1} you look for ".repeat(250_000);
    let usage = r#""stop_reason":"max_tokens","usage":{"input_tokens":5,"output_tokens":900000}"#;
    let body = format!(r#"{{"type":"message","content":[{{"type":"text","text":"{text}"}}],{usage}}}"#);
    let read = summary(Format::AnthropicMessages, false, body.as_bytes().chunks(100_000));
    assert_eq!((read.usage.input_tokens, read.usage.output_tokens), (Some(5), Some(900_000)));
    assert_eq!(read.stop_reason, Some(StopReason::MaxTokens));
    assert!(read.complete);
}
