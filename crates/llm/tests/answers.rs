//! What the ledger learns from an answer, streamed or buffered, whole or in pieces, sound or broken.

use systemprompt_llm::{
    AnswerSummary, AnswerTap, Excerpt, Format, JsonArray, StopReason, ToolCall, UpstreamErrorSummary, Usage,
};

const ANTHROPIC_STREAM: &str = include_str!("golden/answers/anthropic.sse");
const ANTHROPIC_BODY: &str = include_str!("golden/answers/anthropic.json");
const OPENAI_STREAM: &str = include_str!("golden/answers/openai.sse");
const OPENAI_BODY: &str = include_str!("golden/answers/openai.json");
const GEMINI_STREAM: &str = include_str!("golden/answers/gemini.sse");
const GEMINI_BODY: &str = include_str!("golden/answers/gemini.json");

const RESPONSES_STREAM: &str = include_str!("golden/answers/responses.sse");
const RESPONSES_BODY: &str = include_str!("golden/answers/responses.json");

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
            ..Usage::default()
        },
        service_tier: Some("standard".into()),
        stop_reason: Some(StopReason::ToolUse),
        provider_request_id: Some("msg_01".into()),
        model: Some("claude-sonnet-5-5".into()),
        tool_calls: vec![call("toolu_01", "weather", r#"{"city": "Köln"}"#)],
        provider_acted: false,
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
            reasoning_tokens: Some(5),
            ..Usage::default()
        },
        service_tier: None,
        stop_reason: Some(StopReason::ToolUse),
        provider_request_id: Some("chatcmpl-1".into()),
        model: Some("gpt-6-sol".into()),
        tool_calls: vec![call("call_1", "weather", r#"{"city": "Köln"}"#), call("call_2", "time", "{}")],
        provider_acted: false,
        text: excerpt("Grüße, 😀 世界"),
        thinking: excerpt(""),
        unread_bytes: 0,
        complete: true,
        error: None,
        unreadable_events: 0,
    }
}

fn responses() -> AnswerSummary {
    AnswerSummary {
        usage: Usage {
            input_tokens: Some(36),
            output_tokens: Some(20),
            cache_read_tokens: Some(64),
            cache_creation_tokens: Some(0),
            reasoning_tokens: Some(5),
            web_searches: Some(1),
            ..Usage::default()
        },
        service_tier: Some("default".into()),
        stop_reason: Some(StopReason::ToolUse),
        provider_request_id: Some("resp_1".into()),
        model: Some("gpt-6-sol-2026".into()),
        tool_calls: vec![
            call("call_1", "weather", r#"{"city": "Köln"}"#),
            call("call_2", "apply_patch", "*** Begin Patch\n"),
        ],
        provider_acted: true,
        text: excerpt("Grüße, 😀 世界"),
        thinking: excerpt("secret thoughts"),
        unread_bytes: 0,
        complete: true,
        error: None,
        unreadable_events: 0,
    }
}

fn gemini() -> AnswerSummary {
    AnswerSummary {
        usage: Usage {
            // The prompt, and what tools of Google's added to it, without what was cached.
            input_tokens: Some(100 + 7 - 64),
            output_tokens: Some(15 + 5),
            cache_read_tokens: Some(64),
            reasoning_tokens: Some(5),
            ..Usage::default()
        },
        service_tier: Some("standard".into()),
        stop_reason: Some(StopReason::ToolUse),
        provider_request_id: Some("r-1".into()),
        model: Some("gemini-3-pro".into()),
        tool_calls: vec![call("fc1", "weather", r#"{"city": "Köln"}"#), call("", "time", "{}")],
        provider_acted: false,
        text: excerpt("Grüße, 😀 世界"),
        thinking: excerpt("secret thoughts"),
        unread_bytes: 0,
        complete: true,
        error: None,
        unreadable_events: 0,
    }
}

#[test]
fn a_gemini_answer_is_read_in_all_its_forms() {
    // Its stream says nothing at its end.
    let ended = |stream: &str| {
        let mut tap = AnswerTap::new(Format::Gemini, true, 1024, 1024);
        tap.feed(stream.as_bytes());
        assert!(!tap.terminal_seen());
        let has_stopped = tap.has_stopped();
        tap.end_of_stream();
        assert_eq!(tap.terminal_seen(), has_stopped);
        tap.finish()
    };
    assert_eq!(ended(GEMINI_STREAM), gemini());
    assert_eq!(whole(Format::Gemini, false, GEMINI_BODY), gemini());
    let mut array = JsonArray::new();
    let mut chunks = array.feed(GEMINI_STREAM.as_bytes());
    chunks.extend(array.finish());
    assert_eq!(summary(Format::Gemini, false, [&chunks[..]]), gemini());
    let cut = GEMINI_STREAM.rfind("data:").expect("the last event");
    let cut = ended(&GEMINI_STREAM[..cut]);
    assert_eq!((cut.complete, cut.stop_reason, cut.usage.output_tokens), (false, None, Some(9)));
    let long = GEMINI_BODY.replace("Grüße", &"x".repeat(9 << 20));
    let read = whole(Format::Gemini, false, &long);
    assert_eq!((read.usage, read.stop_reason), (gemini().usage, Some(StopReason::EndTurn)), "the end says it");

    let blocked = ended(
        "data: {\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"},\"usageMetadata\":{\"promptTokenCount\":3}}\r\n\r\n",
    );
    assert_eq!(blocked.stop_reason.as_ref().map(StopReason::as_str), Some("PROHIBITED_CONTENT"));
    assert_eq!((blocked.complete, blocked.usage.input_tokens), (true, Some(3)));
    let searched = whole(
        Format::Gemini,
        false,
        r#"{"candidates":[{"content":{"parts":[{"text":"a"}]},"groundingMetadata":{"webSearchQueries":["b","c"]},"finishReason":"STOP"}],
            "usageMetadata":{"promptTokenCount":2,"candidatesTokenCount":9,"thoughtsTokenCount":4,"totalTokenCount":11}}"#,
    );
    assert_eq!(
        (searched.usage.web_searches, searched.usage.output_tokens),
        (Some(2), Some(9)),
        "thoughts are among them"
    );

    assert!(searched.provider_acted);
    let ran = r#"{"candidates":[{"content":{"parts":[{"executableCode":{"code":"1"}},{"text":"a"}]},"finishReason":"STOP"}]}"#;
    assert!(whole(Format::Gemini, false, ran).provider_acted);

    let error = r#"{"error":{"code":429,"message":"Quota","status":"RESOURCE_EXHAUSTED"}}"#;
    let pretty = "{\n  \"error\": {\n    \"code\": 429,\n    \"message\": \"Quota\",\n    \"status\": \"RESOURCE_EXHAUSTED\"\n  }\n}\n";
    for (streamed, text) in [
        (false, error.to_owned()),
        (false, format!("[{error}]")),
        (true, format!("data: {error}\r\n\r\n")),
        (true, format!("data: {{\"candidates\":[]}}\r\n\r\n{error}\n")),
        (true, format!("data: {{\"candidates\":[]}}\r\n\r\n{pretty}")),
    ] {
        let read = whole(Format::Gemini, streamed, &text);
        let error = read.error.unwrap_or_else(|| panic!("{text}"));
        assert_eq!((error.kind.as_deref(), error.message.as_str()), (Some("RESOURCE_EXHAUSTED"), "Quota"));
        assert_eq!((error.status, read.complete), (Some(429), false));
    }
    let collected = Format::Gemini.collect_stream(GEMINI_STREAM.as_bytes()).expect("a whole answer");
    let [collected, expected]: [serde_json::Value; 2] =
        [&collected[..], GEMINI_BODY.as_bytes()].map(|json| serde_json::from_slice(json).expect("JSON"));
    let parts = |answer: &serde_json::Value| -> Vec<serde_json::Value> {
        answer["candidates"][0]["content"]["parts"].as_array().expect("parts").clone()
    };
    assert_eq!(parts(&collected).len(), 5, "what came last is a part of its own");
    assert_eq!(parts(&collected)[..4], parts(&expected)[..]);
    assert_eq!(collected["usageMetadata"]["totalTokenCount"], 127);
    let stream = Format::Gemini.whole_as_stream(200, GEMINI_BODY.as_bytes(), true);
    let read = ended(std::str::from_utf8(&stream).expect("text"));
    assert_eq!(read.tool_calls[0].input_excerpt, r#"{"city":"Köln"}"#, "it is not spaced as it was");
    assert_eq!(AnswerSummary { tool_calls: gemini().tool_calls, ..read }, gemini());
}

#[test]
fn streamed_and_buffered_answers_say_the_same() {
    assert_eq!(whole(Format::OpenAiResponses, true, RESPONSES_STREAM), responses());
    assert_eq!(whole(Format::OpenAiResponses, false, RESPONSES_BODY), responses());
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
    let read = whole(Format::AnthropicMessages, false, cut);
    assert_eq!((read.unread_bytes, read.complete, read.is_partial()), (cut.len() as u64, false, true));
    assert_eq!(read.provider_request_id, anthropic().provider_request_id, "what came is read");
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
    // Only the end of the connection completes a stream of this format.
    let gemini = AnswerSummary { complete: false, ..gemini() };
    let gemini_stream = GEMINI_STREAM.replace("\r\n", "\n");
    for (format, stream, expected) in [
        (Format::AnthropicMessages, ANTHROPIC_STREAM, anthropic()),
        (Format::OpenAiChat, OPENAI_STREAM, openai()),
        (Format::Gemini, &gemini_stream, gemini),
    ] {
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
    // Each cut of this one would take long.
    for line_end in ["\n", "\r\n", "\r"] {
        let stream = RESPONSES_STREAM.replace('\n', line_end);
        for size in [1, 2, 3, 5, 64, 1000] {
            let read = summary(Format::OpenAiResponses, true, stream.as_bytes().chunks(size));
            assert_eq!(read, responses(), "chunks of {size}");
        }
    }
    for (format, body, expected) in [
        (Format::AnthropicMessages, ANTHROPIC_BODY, anthropic()),
        (Format::OpenAiChat, OPENAI_BODY, openai()),
        (Format::OpenAiResponses, RESPONSES_BODY, responses()),
    ] {
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
fn a_response_ends_as_its_status_says() {
    let body = |rest: &str| {
        format!(
            r#"{{"id":"r","object":"response","model":"m","output":[{{"type":"message","content":[{{"type":"output_text","text":"half"}},{{"type":"refusal","refusal":" no"}}]}}],"usage":{{"input_tokens":9,"output_tokens":4}},{rest}}}"#
        )
    };
    for (rest, stop, complete) in [
        (r#""status":"completed""#, Some(StopReason::EndTurn), true),
        (
            r#""status":"incomplete","incomplete_details":{"reason":"max_output_tokens"}"#,
            Some(StopReason::MaxTokens),
            true,
        ),
        (
            r#""status":"incomplete","incomplete_details":{"reason":"content_filter"}"#,
            Some(StopReason::Other("content_filter".into())),
            true,
        ),
        (r#""status":"incomplete","incomplete_details":null"#, Some(StopReason::Other("incomplete".into())), true),
        (r#""status":"cancelled""#, Some(StopReason::Other("cancelled".into())), true),
        (r#""status":"in_progress""#, None, false),
        (
            r#""status":"failed","error":{"code":"server_error","message":"gone"}"#,
            Some(StopReason::Other("failed".into())),
            false,
        ),
        (r#""status":"failed","error":null"#, Some(StopReason::Other("failed".into())), false),
    ] {
        let body = body(rest);
        let event = format!("data: {{\"type\":\"response.completed\",\"sequence_number\":0,\"response\":{body}}}\n\n");
        for (streamed, text) in [(false, &body), (true, &event)] {
            let read = whole(Format::OpenAiResponses, streamed, text);
            assert_eq!((&read.stop_reason, read.complete), (&stop, complete), "{rest}");
            // What no event said before is taken from the last one.
            assert_eq!(read.text, excerpt("half no"));
            assert_eq!((read.usage.input_tokens, read.usage.output_tokens), (Some(9), Some(4)));
            assert_eq!(read.error.is_some(), rest.contains("failed"), "{rest}");
        }
    }
    let failed = r#"{"type":"error","sequence_number":3,"error":{"type":"invalid_request_error","code":"context_length_exceeded","message":"too long"}}"#;
    let flat = r#"{"type":"error","sequence_number":3,"code":"rate_limit_exceeded","message":"slow","param":null}"#;
    for (event, status) in [(failed, 400), (flat, 429)] {
        let error = whole(Format::OpenAiResponses, true, &format!("data: {event}\n\n")).error.expect("an error");
        assert_eq!(error.http_status(), status);
        assert_ne!(error.kind.as_deref(), Some("error"));
    }
    let end = RESPONSES_STREAM.find("event: response.completed").expect("the last event");
    let cut = whole(Format::OpenAiResponses, true, &format!("{}data: [DONE]\n\n", &RESPONSES_STREAM[..end]));
    assert_eq!(
        (cut.complete, cut.stop_reason, cut.tool_calls.len()),
        (false, None, 2),
        "an end of another format is none"
    );
}

#[test]
fn errors_of_the_provider_are_reported() {
    let overloaded = UpstreamErrorSummary {
        kind: Some("overloaded_error".into()),
        message: "Overloaded".into(),
        ..UpstreamErrorSummary::default()
    };
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
fn errors_in_disguise_are_errors() {
    for (format, body, code, message, status) in [
        (
            Format::OpenAiChat,
            r#"{"error":{"message":"Worker local total request limit reached (1)","code":429}}"#,
            Some("429"),
            "Worker local total request limit reached (1)",
            Some(429),
        ),
        (
            Format::OpenAiChat,
            r#"{"object":"error","message":"too long","type":"BadRequestError","param":null,"code":400}"#,
            Some("400"),
            "too long",
            Some(400),
        ),
        (Format::OpenAiChat, r#"{"error":"model not found"}"#, None, "model not found", None),
        (
            Format::OpenAiChat,
            r#"{"choices":[{"index":0,"message":{"content":"half"},"finish_reason":"error","error":{"code":"502","message":"gone"}}]}"#,
            Some("502"),
            "gone",
            Some(502),
        ),
        (Format::OpenAiChat, r#"{"error":{"detail":[1]}}"#, None, r#"{"detail":[1]}"#, None),
        (Format::AnthropicMessages, r#"{"error":{"message":"no","status":"503"}}"#, None, "no", Some(503)),
        (Format::AnthropicMessages, r#"{"error":"no"}"#, None, "no", None),
        (Format::AnthropicMessages, r#"{"type":"error","message":"no"}"#, None, "no", None),
        (Format::AnthropicMessages, r#"{"object":"error","message":"no","code":404}"#, Some("404"), "no", Some(404)),
        (Format::AnthropicMessages, r#"{"message":"no"}"#, None, "no", None),
        (Format::OpenAiChat, r#"{"message":"no"}"#, None, "no", None),
        (Format::OpenAiChat, r#"[{"error":{"code":400,"message":"no"}}]"#, Some("400"), "no", Some(400)),
    ] {
        for (streamed, text) in [(false, body.to_owned()), (true, format!("data: {body}\n\n"))] {
            let read = whole(format, streamed, &text.replace("\"message\":{\"content", "\"delta\":{\"content"));
            let error = read.error.unwrap_or_else(|| panic!("{body}"));
            assert_eq!((error.code.as_deref(), error.message.as_str(), error.status), (code, message, status));
            assert!(!read.complete);
        }
    }
    let google =
        r#"{"error":{"code":400,"message":"x","status":"INVALID_ARGUMENT","details":[{"reason":"API_KEY_INVALID"}]}}"#;
    let error = whole(Format::OpenAiChat, false, google).error.expect("an error");
    assert!(error.is_about_credentials(Some(400)));
    for none in ["null", "false", "\"\"", "{}", r#"{"code":0,"message":""}"#, r#"{"message":null}"#] {
        let body = OPENAI_BODY.replacen('{', &format!("{{\"error\":{none},"), 1);
        assert_eq!(whole(Format::OpenAiChat, false, &body), openai(), "{none}");
    }
}

#[test]
fn complete_is_what_is_complete() {
    let chunk = |fields: &str| format!("data: {{\"choices\":[{fields}]}}\n\n");
    let text = chunk(r#"{"index":0,"delta":{"content":"a"},"finish_reason":null}"#);
    let empty = chunk(r#"{"index":0,"delta":{"content":"a"},"finish_reason":""}"#);
    let stop = chunk(r#"{"index":0,"delta":{},"finish_reason":"stop"}"#);
    let other = chunk(r#"{"index":1,"delta":{"content":"b"}}"#);
    let other_stop = chunk(r#"{"index":1,"delta":{},"finish_reason":"stop"}"#);
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\n";
    let delta = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"}}\n\n";
    let start = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{}}\n\n";
    for (format, stream, complete) in [
        (Format::OpenAiChat, format!("{text}{stop}"), true),
        (Format::OpenAiChat, format!("{text}{stop}{usage}"), true),
        (Format::OpenAiChat, format!("{text}{}", stop.trim_end()), true),
        (Format::OpenAiChat, text.clone(), false),
        (Format::OpenAiChat, format!("{empty}{usage}"), false),
        (Format::OpenAiChat, format!("{text}{other}{stop}"), false),
        (Format::OpenAiChat, format!("{text}{other}{stop}{other_stop}"), true),
        (Format::AnthropicMessages, format!("{start}{delta}"), true),
        (Format::AnthropicMessages, start.to_owned(), false),
        (Format::AnthropicMessages, String::new(), false),
    ] {
        let mut tap = AnswerTap::new(format, true, 10, 10);
        tap.feed(stream.as_bytes());
        assert!(!tap.terminal_seen());
        tap.end_of_stream();
        assert_eq!((tap.terminal_seen(), tap.finish().complete), (complete, complete), "{stream}");
    }
    for reason in ["", r#","finish_reason":null"#, r#","finish_reason":"""#] {
        let body = format!(r#"{{"choices":[{{"index":0,"message":{{"content":"a"}}{reason}}}]}}"#);
        assert!(whole(Format::OpenAiChat, false, &body).complete, "{reason}");
    }
    assert!(whole(Format::AnthropicMessages, false, r#"{"content":[{"type":"text","text":"a"}]}"#).complete);
}

#[test]
fn a_stop_is_believed_when_nothing_follows_it() {
    let chunk = |index: u64, text: &str, reason: &str| {
        let delta = if text.is_empty() { "{}".to_owned() } else { format!(r#"{{"content":"{text}"}}"#) };
        format!("data: {{\"choices\":[{{\"index\":{index},\"delta\":{delta},\"finish_reason\":\"{reason}\"}}]}}\n\n")
    };
    for (choices, stream, has_stopped) in [
        (1, chunk(0, "a", "") + &chunk(0, "", "stop"), true),
        (1, chunk(0, "a", "stop"), true),
        (1, chunk(0, "a", "null"), false),
        (1, chunk(0, "a", "stop") + &chunk(0, "b", "stop"), false),
        (2, chunk(0, "a", "stop"), false),
        (2, chunk(0, "a", "stop") + &chunk(1, "b", "stop"), true),
    ] {
        let mut tap = AnswerTap::new(Format::OpenAiChat, true, 10, 10);
        tap.expect_choices(choices);
        tap.feed(stream.as_bytes());
        assert_eq!(tap.has_stopped(), has_stopped, "{stream}");
    }
    let mut json = AnswerTap::new(Format::OpenAiChat, true, 1024, 1024);
    for piece in OPENAI_BODY.as_bytes().chunks(9) {
        json.feed(piece);
    }
    assert!(!json.terminal_seen() && !json.at_event_boundary());
    json.end_of_stream();
    assert!(json.terminal_seen(), "what is called a stream may be one JSON text");
    assert_eq!(json.finish(), openai());
}

#[test]
fn what_is_no_json_is_read_as_far_as_it_goes() {
    let deep = format!("{}1{}", "[".repeat(140), "]".repeat(140));
    for fields in [r#""logprobs":NaN"#, r#""x":-Infinity"#, "\"note\":\"two\nlines\"", &format!(r#""deep":{deep}"#)] {
        let body = OPENAI_BODY.replacen('{', &format!("{{{fields},"), 1);
        let read = whole(Format::OpenAiChat, false, &body);
        assert_eq!(read, AnswerSummary { unreadable_events: 1, ..openai() }, "{fields}");
        assert!(read.is_partial());
        let line = body.replace('\n', " ");
        let stream = format!("data: {}\n\n", line.replace("\"message\"", "\"delta\""));
        assert_eq!(whole(Format::OpenAiChat, true, &stream).usage, openai().usage, "{fields}");
    }
    let marked = format!("\u{feff}{ANTHROPIC_BODY}");
    assert_eq!(whole(Format::AnthropicMessages, false, &marked), AnswerSummary { unreadable_events: 1, ..anthropic() });
    let unknown = whole(Format::OpenAiChat, false, r#"{"result":"something new"}"#);
    assert!(unknown.complete && unknown.is_partial());
}

#[test]
fn usage_is_found_wherever_it_stands() {
    let usage = |input, output, read, written| Usage {
        input_tokens: Some(input),
        output_tokens: Some(output),
        cache_read_tokens: read,
        cache_creation_tokens: written,
        ..Usage::default()
    };
    let of = |usage: Usage, reasoning| Usage { reasoning_tokens: Some(reasoning), ..usage };
    for (stated, expected) in [
        (r#"{"prompt_tokens":10,"completion_tokens":5}"#, usage(10, 5, None, None)),
        (r#"{"prompt_tokens":10.0,"completion_tokens":5e0}"#, usage(10, 5, None, None)),
        (r#"{"input_tokens":10,"output_tokens":5}"#, usage(10, 5, None, None)),
        // Reasoning outside of the completion: the total tells.
        (
            r#"{"prompt_tokens":10120,"completion_tokens":1499,"total_tokens":14428,
                "prompt_tokens_details":{"cached_tokens":128},"completion_tokens_details":{"reasoning_tokens":2809}}"#,
            of(usage(9992, 4308, Some(128), None), 2809),
        ),
        (
            r#"{"prompt_tokens":100,"completion_tokens":300,"total_tokens":400,
                "completion_tokens_details":{"reasoning_tokens":200}}"#,
            of(usage(100, 300, None, None), 200),
        ),
        (
            r#"{"prompt_tokens":100,"completion_tokens":30,"completion_tokens_details":{"reasoning_tokens":200}}"#,
            of(usage(100, 230, None, None), 200),
        ),
        (r#"{"prompt_tokens":100,"total_tokens":400}"#, usage(100, 300, None, None)),
        // Gemini: thoughts are in the total only.
        (r#"{"prompt_tokens":100,"completion_tokens":30,"total_tokens":190}"#, usage(100, 90, None, None)),
        (
            r#"{"prompt_tokens":100,"completion_tokens":30,"prompt_cache_hit_tokens":64,"prompt_cache_miss_tokens":36}"#,
            usage(36, 30, Some(64), None),
        ),
        (r#"{"prompt_tokens":100,"completion_tokens":30,"cached_tokens":64}"#, usage(36, 30, Some(64), None)),
        // Proxies that pass on Anthropic's counts: the cached ones are not in the prompt.
        (
            r#"{"prompt_tokens":10,"completion_tokens":30,"total_tokens":40,"cache_read_input_tokens":5000,
                "cache_creation_input_tokens":7}"#,
            usage(10, 30, Some(5000), Some(7)),
        ),
        (
            r#"{"prompt_tokens":100,"completion_tokens":30,"total_tokens":180,"cached_tokens":50}"#,
            usage(100, 30, Some(50), None),
        ),
    ] {
        let stated = stated.replace('\n', "");
        for chunk in [
            format!(r#"{{"choices":[],"usage":{stated}}}"#),
            format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"stop","usage":{stated}}}]}}"#),
            format!(r#"{{"choices":[],"usage":null,"x_groq":{{"usage":{stated}}}}}"#),
        ] {
            let read = whole(Format::OpenAiChat, true, &format!("data: {chunk}\n\n"));
            assert_eq!((read.usage, read.unreadable_events), (expected, 0), "{chunk}");
        }
    }
    let read = whole(Format::OpenAiChat, false, r#"{"choices":[],"usage":{"prompt_tokens":1000000000000000000}}"#);
    assert_eq!((read.usage.input_tokens, read.is_partial()), (Some(10_000_000_000), true));

    let anthropic =
        r#"{"input_tokens":0,"output_tokens":0,"cache_creation_input_tokens":1000000,"service_tier":"priority",
        "cache_creation":{"ephemeral_5m_input_tokens":400000,"ephemeral_1h_input_tokens":600000},
        "server_tool_use":{"web_search_requests":2}}"#
            .replace('\n', "");
    for (streamed, answer) in [
        (false, format!(r#"{{"type":"message","content":[],"usage":{anthropic}}}"#)),
        (true, format!("data: {{\"type\":\"message_start\",\"message\":{{\"usage\":{anthropic}}}}}\n\n")),
    ] {
        let read = whole(Format::AnthropicMessages, streamed, &answer);
        let expected = Usage {
            cache_creation_1h_tokens: Some(600_000),
            web_searches: Some(2),
            ..usage(0, 0, None, Some(1_000_000))
        };
        assert_eq!((read.usage, read.service_tier.as_deref()), (expected, Some("priority")));
    }
}

#[test]
fn parts_and_old_forms_are_read() {
    let body = r#"{"choices":[{"message":{"content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"yes"}],
        "function_call":{"name":"old","arguments":"{}"}}}]}"#;
    let read = whole(Format::OpenAiChat, false, body);
    assert_eq!((read.text, read.thinking), (excerpt("yes"), excerpt("hm")));
    assert_eq!(read.tool_calls, [call("", "old", "{}")]);
    let body = r#"{"choices":[{"message":{"tool_calls":[{"id":"c","type":"custom","custom":{"name":"n","input":"x"}},
        {"id":"d","function":{"name":"m","arguments":{"a":1}}}]}}]}"#;
    assert_eq!(whole(Format::OpenAiChat, false, body).tool_calls, [call("c", "n", "x"), call("d", "m", r#"{"a":1}"#)]);
}

#[test]
fn a_stream_is_put_together_for_who_asked_for_a_whole_answer() {
    for (format, stream, body) in [
        (Format::AnthropicMessages, ANTHROPIC_STREAM, ANTHROPIC_BODY),
        (Format::OpenAiChat, OPENAI_STREAM, OPENAI_BODY),
        (Format::OpenAiResponses, RESPONSES_STREAM, RESPONSES_BODY),
    ] {
        let collected = format.collect_stream(stream.as_bytes()).expect("a whole answer");
        let read = whole(format, false, std::str::from_utf8(&collected).expect("JSON"));
        let expected = whole(format, false, body);
        assert_eq!(read.tool_calls.len(), expected.tool_calls.len());
        assert_eq!(AnswerSummary { tool_calls: expected.tool_calls.clone(), ..read }, expected);
    }
    let collected = Format::OpenAiChat.collect_stream(OPENAI_STREAM.as_bytes()).expect("a whole answer");
    let collected: serde_json::Value = serde_json::from_slice(&collected).expect("JSON");
    assert_eq!(collected["object"], "chat.completion");
    assert_eq!(collected["choices"][0]["message"]["tool_calls"][0]["function"]["name"], "weather");
    assert_eq!(collected["choices"][0]["message"]["role"], "assistant");
    for stream in ["", "data: [DONE]\n\n", "data: {\"broken\n\n", "data: {\"type\":\"new_event\"}\n\n"] {
        assert_eq!(Format::AnthropicMessages.collect_stream(stream.as_bytes()), None, "{stream}");
        assert_eq!(Format::OpenAiChat.collect_stream(stream.as_bytes()), None, "{stream}");
        assert_eq!(Format::OpenAiResponses.collect_stream(stream.as_bytes()), None, "{stream}");
    }
}

#[test]
fn a_whole_answer_is_told_as_the_stream_that_builds_it_up() {
    let anthropic = r#"{"id":"m","type":"message","role":"assistant","model":"c","stop_reason":"tool_use","stop_sequence":null,
        "container":{"id":"k"},"context_management":{"applied_edits":[]},
        "usage":{"input_tokens":9,"output_tokens":40,"cache_read_input_tokens":3,"server_tool_use":{"web_search_requests":1}},
        "content":[{"type":"thinking","thinking":"hm","signature":"s"},{"type":"redacted_thinking","data":"x"},
            {"type":"text","text":"line\nbreak","citations":[{"type":"char_location","cited_text":"c"},{"type":"page_location"}]},
            {"type":"text","text":""},{"type":"text","text":"plain","citations":null},
            {"type":"tool_use","id":"t","name":"n","input":{"a":[1,{"b":"c"}]}},{"type":"tool_use","id":"u","name":"n","input":{}},
            {"type":"web_search_tool_result","tool_use_id":"s","content":[{"type":"web_search_result"}]}]}"#;
    let openai = r#"{"id":"c","object":"chat.completion","created":1,"model":"g","system_fingerprint":null,"service_tier":"default",
        "usage":{"prompt_tokens":9,"completion_tokens":40,"total_tokens":49},
        "choices":[{"index":0,"finish_reason":"tool_calls","logprobs":{"content":[{"token":"a","logprob":-1.5}]},"message":
            {"role":"assistant","content":null,"refusal":null,"reasoning_content":"hm","tool_calls":[
                {"id":"t","type":"function","function":{"name":"n","arguments":"{\"a\":1}"}},
                {"id":"u","type":"function","function":{"name":"m","arguments":""}}]}},
            {"index":1,"finish_reason":"stop","logprobs":null,"message":{"role":"assistant","content":"yes","annotations":[]}}]}"#;
    for (format, body) in [
        (Format::AnthropicMessages, anthropic),
        (Format::AnthropicMessages, ANTHROPIC_BODY),
        (Format::OpenAiChat, openai),
        (Format::OpenAiChat, OPENAI_BODY),
        (Format::OpenAiResponses, RESPONSES_BODY),
    ] {
        let stream = format.whole_as_stream(200, body.as_bytes(), true);
        let collected = format.collect_stream(&stream).expect("a whole answer");
        let [collected, expected]: [serde_json::Value; 2] =
            [&collected, body.as_bytes()].map(|json| serde_json::from_slice(json).expect("JSON"));
        assert_eq!(collected, expected);
        let stream = String::from_utf8(stream).expect("UTF-8");
        let read = whole(format, true, &stream);
        let buffered = whole(format, false, body);
        assert_eq!((read.complete, &read.usage, &read.stop_reason), (true, &buffered.usage, &buffered.stop_reason));
        // The inputs were compared above; they are not spaced as they were.
        let calls = |of: &AnswerSummary| -> Vec<(String, String)> {
            of.tool_calls.iter().map(|call| (call.id.clone(), call.name.clone())).collect()
        };
        assert_eq!(calls(&read), calls(&buffered));
    }
    let kinds = |stream: &[u8]| -> Vec<String> {
        let stream = String::from_utf8(stream.to_vec()).expect("UTF-8");
        stream.lines().filter_map(|line| Some(line.strip_prefix("event: ")?.to_owned())).collect()
    };
    let short = br#"{"type":"message","content":[{"type":"text","text":"yes"}],"stop_reason":"end_turn"}"#;
    assert_eq!(
        kinds(&Format::AnthropicMessages.whole_as_stream(200, short, false)),
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop"
        ]
    );
    let short = br#"{"choices":[{"message":{"content":"yes"},"finish_reason":"stop"}],"usage":{"total_tokens":1}}"#;
    let stream = Format::OpenAiChat.whole_as_stream(200, short, false);
    assert_eq!(
        String::from_utf8(stream).expect("UTF-8"),
        "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"finish_reason\":null,\"index\":0,\"delta\":{\"content\":\"yes\"}}]}\n\n\
         data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n\
         data: [DONE]\n\n"
    );
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
fn a_call_stays_what_it_was_when_another_begins_in_its_place() {
    let start = |name: &str| {
        let block = format!(r#"{{"type":"tool_use","id":"toolu_{name}","name":"{name}","input":{{}}}}"#);
        format!("data: {{\"type\":\"content_block_start\",\"index\":0,\"content_block\":{block}}}\n\n")
    };
    let input = |part: &str| {
        let delta = format!(r#"{{"type":"input_json_delta","partial_json":"{part}"}}"#);
        format!("data: {{\"type\":\"content_block_delta\",\"index\":0,\"delta\":{delta}}}\n\n")
    };
    let read = whole(
        Format::AnthropicMessages,
        true,
        &[start("read"), input("1"), start("delete"), input("2"), start("delete")].concat(),
    );
    let expected = [("read", "1"), ("delete", "2"), ("delete", "")];
    assert_eq!(read.tool_calls, expected.map(|(name, input)| call(&format!("toolu_{name}"), name, input)));
    // One that nobody knows the name of yet is the same.
    let read = whole(Format::AnthropicMessages, true, &[input("1"), start("read")].concat());
    assert_eq!(read.tool_calls, [call("toolu_read", "read", "1")]);

    let mut tap = AnswerTap::new(Format::AnthropicMessages, true, 0, 0);
    for _ in 0..128 {
        tap.feed(start("read").as_bytes());
        assert!(!tap.may_have_missed_calls());
    }
    tap.feed(start("delete").as_bytes());
    assert!(tap.may_have_missed_calls() && tap.tool_calls().all(|call| call.name == "read"));
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
fn the_inputs_of_all_tools_together_are_bounded_and_only_measured_while_the_answer_runs() {
    const MIB: usize = 1024 * 1024;
    let mut tap = AnswerTap::new(Format::OpenAiChat, true, 100, MIB);
    for part in 0..40 {
        let (index, input) = (part / 2, "x".repeat(MIB / 2));
        let call = format!("{{\"index\":{index},\"function\":{{\"name\":\"n\",\"arguments\":\"{input}\"}}}}");
        tap.feed(
            format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"ab\",\"tool_calls\":[{call}]}}}}]}}\n\n")
                .as_bytes(),
        );
    }
    let so_far = tap.so_far();
    assert_eq!((so_far.text.bytes, so_far.text.head.as_str(), so_far.text.truncated), (80, "", true));
    assert_eq!(so_far.tool_calls, vec![ToolCall { input_bytes: MIB as u64, ..call("", "n", "") }; 20]);
    let read = tap.finish();
    let kept: Vec<usize> = read.tool_calls.iter().map(|call| call.input_excerpt.len()).collect();
    assert_eq!(kept, [[MIB; 8].as_slice(), &[0; 12]].concat());
    assert!(read.tool_calls.iter().all(|call| call.input_bytes == MIB as u64), "what is cut is known to be");
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

#[test]
fn what_a_provider_did_itself_is_known_and_counted() {
    let answer = |items: &str| {
        let text = r#"{"type":"message","content":[{"type":"output_text","text":"done"}]}"#;
        let body = format!(r#"{{"object":"response","status":"completed","output":[{items}{text}]}}"#);
        whole(Format::OpenAiResponses, false, &body)
    };
    for (items, files, runs, acted) in [
        ("", None, None, false),
        (r#"{"type":"reasoning","summary":[]},"#, None, None, false),
        (r#"{"type":"mcp_call","name":"file_ticket","output":"12"},"#, None, None, true),
        (r#"{"type":"file_search_call"},{"type":"file_search_call"},"#, Some(2), None, true),
        (r#"{"type":"code_interpreter_call"},"#, None, Some(1), true),
        (r#"{"type":"something_new"},"#, None, None, true),
    ] {
        let read = answer(items);
        let said = (read.usage.file_searches, read.usage.code_executions, read.provider_acted);
        assert_eq!(said, (files, runs, acted), "{items}");
        assert!(read.complete && read.tool_calls.is_empty(), "{items}");
    }
    let stream = "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"output_index\":0,\"item\":{\"type\":\"file_search_call\"}}\n\n\
                  event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"status\":\"completed\",\"output\":[{\"type\":\"file_search_call\"}]}}\n\n";
    let read = whole(Format::OpenAiResponses, true, stream);
    assert_eq!((read.usage.file_searches, read.provider_acted), (Some(1), true), "said twice, and done once");
}

#[test]
fn what_a_provider_looked_up_is_known_in_every_format_that_tells() {
    let gemini = |candidate: &str, part: &str| {
        let text = r#"{"text":"done"}"#;
        format!(r#"{{"candidates":[{{"content":{{"parts":[{part}{text}]}},{candidate}"finishReason":"STOP"}}]}}"#)
    };
    let chat = |rest: &str| {
        format!(r#"{{"choices":[{{"message":{{"role":"assistant","content":"done"{rest}}},"finish_reason":"stop"}}]}}"#)
    };
    let cited = r#","annotations":[{"type":"url_citation","url_citation":{"url":"https://a.example"}}]"#;
    for (format, body, acted) in [
        (Format::Gemini, gemini("", ""), false),
        (Format::Gemini, gemini(r#""groundingMetadata":null,"#, ""), false),
        (Format::Gemini, gemini(r#""groundingMetadata":{},"#, ""), true),
        (Format::Gemini, gemini(r#""groundingMetadata":null,"urlContextMetadata":{},"#, ""), true),
        (Format::Gemini, gemini("", r#"{"executableCode":{"code":"1"}},"#), true),
        (Format::Gemini, gemini("", r#"{"executableCode":null,"codeExecutionResult":{"output":"1"}},"#), true),
        (Format::OpenAiChat, chat(""), false),
        (Format::OpenAiChat, chat(r#","annotations":[]"#), false),
        (Format::OpenAiChat, chat(r#","annotations":null"#), false),
        (Format::OpenAiChat, chat(cited), true),
    ] {
        assert_eq!(whole(format, false, &body).provider_acted, acted, "{body}");
    }
}
