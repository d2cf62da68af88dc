//! The relay lane: what a provider receives is what the caller sent, but for the edits that were asked for.
//!
//! Each case is a pair of files in `golden/relay`: `<case>.request.json`, the caller's bytes, and `<case>.relayed.json`,
//! the provider's, after all edits at once. There is no switch that rewrites them: a change here is a change of what
//! customers send.

use std::path::Path;

use bytes::Bytes;
use systemprompt_llm::{Address, Edits, Effort, Format, InferenceRequest, RequestError, ResponseFormat};

fn parse(format: Format, body: &str) -> InferenceRequest {
    let bytes = Bytes::from(body.to_owned());
    let request = match format {
        Format::Gemini => InferenceRequest::parse_addressed(format, bytes, address("gemini-3-pro")),
        _ => InferenceRequest::parse(format, bytes),
    };
    request.unwrap_or_else(|error| panic!("{error}: {body}"))
}

fn address(model: &str) -> Address {
    Address { model: model.to_owned(), stream: true }
}

fn edits() -> Edits {
    Edits { model: Some("upstream-model".into()), max_tokens_limit: Some(4096), include_stream_usage: true }
}

#[test]
fn golden_requests_keep_every_other_byte() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/relay");
    let mut cases = 0;
    for entry in std::fs::read_dir(&folder).expect("the golden files") {
        let path = entry.expect("a golden file").path();
        let name = path.file_name().and_then(|name| name.to_str()).expect("a readable name");
        let Some(case) = name.strip_suffix(".request.json") else { continue };
        let format = match case.split('-').next() {
            Some("anthropic") => Format::AnthropicMessages,
            Some("responses") => Format::OpenAiResponses,
            Some("gemini") => Format::Gemini,
            _ => Format::OpenAiChat,
        };
        let request = parse(format, &std::fs::read_to_string(&path).expect("a request"));
        let expected = std::fs::read_to_string(folder.join(format!("{case}.relayed.json"))).expect("its relayed form");
        let relayed = request.relay(&edits()).bytes;
        assert_eq!(std::str::from_utf8(&relayed).expect("UTF-8"), expected, "{case}");
        cases += 1;
    }
    assert!(cases >= 4, "only {cases} golden requests");
}

#[track_caller]
fn check(format: Format, body: &str, edits: &Edits, expected: &str) {
    let relayed = parse(format, body).relay(edits);
    assert_eq!(std::str::from_utf8(&relayed.bytes).expect("UTF-8"), expected);
    serde_json::from_slice::<serde_json::Value>(&relayed.bytes).expect("still JSON");
}

#[test]
fn nothing_to_edit_copies_nothing() {
    let body =
        Bytes::from_static(br#"{ "model":"m", "max_tokens": 10,"messages":[{"role":"user","content":"x"}] , "x":1 }"#);
    let request = InferenceRequest::parse(Format::AnthropicMessages, body.clone()).expect("a request");
    for edits in [
        Edits::default(),
        Edits { model: Some("m".into()), ..Edits::default() },
        Edits { max_tokens_limit: Some(10), ..Edits::default() },
        Edits { include_stream_usage: true, ..Edits::default() },
    ] {
        let relayed = request.relay(&edits);
        assert_eq!(relayed.bytes.as_ptr(), body.as_ptr(), "{edits:?}");
        assert_eq!(relayed.bytes.len(), body.len());
        assert!(!relayed.usage_added);
    }
}

#[test]
fn what_the_path_says_counts() {
    let parse =
        |body: &str, address| InferenceRequest::parse_addressed(Format::Gemini, Bytes::from(body.to_owned()), address);
    let contents = r#""contents":[{"role":"user","parts":[{"text":"hello"}]}]"#;
    let request = parse(&format!(r#"{{"model":"models/other",{contents}}}"#), address("gemini-x")).expect("a request");
    assert_eq!((request.model.as_str(), request.stream, request.message_count), ("gemini-x", true, 1));
    let edits = Edits { model: Some("upstream".into()), ..Edits::default() };
    assert_eq!(request.relay(&edits).bytes, format!("{{{contents}}}"));
    let chat = r#"{"model":"m","messages":[{"role":"user","content":"hello"}]}"#;
    let same = InferenceRequest::parse(Format::OpenAiChat, Bytes::from(chat)).expect("a request");
    assert_eq!(request.conversation_key, same.conversation_key, "a conversation is the same in every format");

    let all = parse(
        r#"{"contents":[{"parts":[{"text":"a"}]}],"tools":[{"functionDeclarations":[{"name":"a"},{"name":"b"}]},{"google_search":{}}],
            "generationConfig":{"maxOutputTokens":9,"candidateCount":2,"temperature":0.5,"top_p":1,"stopSequences":["x"],
            "responseMimeType":"application/json","responseJsonSchema":{},"thinkingConfig":{"thinkingLevel":"HIGH"}}}"#,
        address("m"),
    )
    .expect("a request");
    assert_eq!((all.max_tokens, all.answers, all.tools, all.thinking), (Some(9), 2, 3, true));
    assert_eq!((all.temperature, all.top_p, all.stop_sequences.len()), (Some(0.5), Some(1.0), 1));
    assert_eq!(all.response_format, ResponseFormat::JsonSchema);
    assert_eq!(all.reasoning_effort, Some(Effort::High));
    for (budget, thinking, effort) in
        [("-1", true, None), ("0", false, Some(Effort::None)), ("5000", true, Some(Effort::Medium))]
    {
        let body = format!(r#"{{{contents},"generationConfig":{{"thinkingConfig":{{"thinkingBudget":{budget}}}}}}}"#);
        let request = parse(&body, address("m")).expect("a request");
        assert_eq!((request.thinking, request.reasoning_effort), (thinking, effort), "{budget}");
    }

    for (body, field) in [
        (r"{}", "contents"),
        (r#"{"contents":[]}"#, "contents"),
        (r#"{"contents":["a"]}"#, "contents[0]"),
        (r#"{"contents":[{"role":1}]}"#, "contents[0].role"),
        (r#"{"contents":{},"generationConfig":1}"#, "generationConfig"),
        (r#"{"contents":{},"generationConfig":{},"generation_config":{}}"#, "generationConfig"),
        (r#"{"contents":{},"GenerationConfig":{}}"#, "GenerationConfig"),
        (r#"{"contents":{},"generationConfig":{"MaxOutputTokens":1}}"#, "MaxOutputTokens"),
        (r#"{"contents":{},"generationConfig":{"maxOutputTokens":"1"}}"#, "generationConfig.maxOutputTokens"),
    ] {
        let error = parse(body, address("m")).expect_err(body);
        assert_eq!(error.field(), Some(field), "{body}: {error}");
    }
    let nameless = parse(r#"{"contents":{}}"#, address("")).expect_err("no model");
    assert_eq!(nameless.field(), Some("model"));
}

#[test]
fn the_model_is_replaced_however_its_key_and_value_are_spelled() {
    let edits = Edits { model: Some("a \"new\" one".into()), ..Edits::default() };
    for key in ["model", r"mod\u0065l", r"\u006dodel"] {
        check(
            Format::OpenAiChat,
            &format!(r#"{{"messages":[{{"role":"user","content":"model"}}], "{key}" : "g\u0070t" ,"z":0}}"#),
            &edits,
            &format!(r#"{{"messages":[{{"role":"user","content":"model"}}], "{key}" : "a \"new\" one" ,"z":0}}"#),
        );
    }
}

#[test]
fn output_limits_are_lowered_and_never_raised_or_added() {
    let edits = Edits { max_tokens_limit: Some(100), ..Edits::default() };
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    for (given, expected) in [
        (r#""max_tokens":101"#, r#""max_tokens":100"#),
        (r#""max_tokens": 99999999999999999999999 "#, r#""max_tokens": 100 "#),
        (r#""max_tokens":100"#, r#""max_tokens":100"#),
        (r#""max_tokens":5"#, r#""max_tokens":5"#),
        (r#""max_completion_tokens":500,"max_tokens":400"#, r#""max_completion_tokens":100,"max_tokens":100"#),
        (r#""max_tokens":null"#, r#""max_tokens":null"#),
        (r#""top_p":1"#, r#""top_p":1"#),
        (r#""max_tokens":24.0"#, r#""max_tokens":24"#),
        (r#""max_tokens": 1e1 "#, r#""max_tokens": 10 "#),
        (r#""max_tokens":1.024E3"#, r#""max_tokens":100"#),
        (r#""max_tokens":1e300"#, r#""max_tokens":100"#),
        (r#""max_tokens":0"#, r#""max_tokens":0"#),
        (r#""max_tokens":-1"#, r#""max_tokens":-1"#),
    ] {
        let body = |limit: &str| format!(r#"{{"model":"m",{limit},{messages}}}"#);
        check(Format::OpenAiChat, &body(given), &edits, &body(expected));
    }
}

#[test]
fn a_thinking_budget_stays_below_a_lowered_limit() {
    let edits = Edits { max_tokens_limit: Some(8192), ..Edits::default() };
    let rest = r#""messages":[{"role":"user","content":"x"}]"#;
    for (given, expected) in [
        ((32000, "enabled", 16000), (8192, 4096)),
        ((32000, "enabled", 31999), (8192, 8191)),
        ((1_000_000, "enabled", 10_000), (8192, 1024)),
        ((32000, "enabled", 8192), (8192, 2097)),
        ((32000, "enabled", 8191), (8192, 8191)),
        ((8192, "enabled", 4000), (8192, 4000)),
        // Not made so by us: thinking between tool calls may take more than one answer has.
        ((32000, "enabled", 64000), (8192, 64000)),
        ((32000, "disabled", 16000), (8192, 16000)),
    ] {
        let body = |limit: u64, kind: &str, budget: u64| {
            format!(
                r#"{{"model":"m","thinking":{{"type":"{kind}","budget_tokens":{budget}}},"max_tokens":{limit},{rest}}}"#
            )
        };
        let (limit, kind, budget) = given;
        check(Format::AnthropicMessages, &body(limit, kind, budget), &edits, &body(expected.0, kind, expected.1));
    }
    check(
        Format::AnthropicMessages,
        &format!(r#"{{"model":"m","max_tokens":3.2e4,"thinking":{{"type":"enabled","budget_tokens":16e3}},{rest}}}"#),
        &edits,
        &format!(r#"{{"model":"m","max_tokens":8192,"thinking":{{"type":"enabled","budget_tokens":4096}},{rest}}}"#),
    );
    for (given, expected) in [
        (
            r#""max_completion_tokens":32000,"reasoning":{"max_tokens":16000}"#,
            r#""max_completion_tokens":8192,"reasoning":{"max_tokens":4096}"#,
        ),
        (
            r#""reasoning":{"exclude":true,"max_tokens":2e3},"max_tokens":9000"#,
            r#""reasoning":{"exclude":true,"max_tokens":2000},"max_tokens":8192"#,
        ),
        (
            r#""reasoning":{"enabled":false,"max_tokens":16000},"max_tokens":32000"#,
            r#""reasoning":{"enabled":false,"max_tokens":16000},"max_tokens":8192"#,
        ),
        (
            r#""max_tokens":32000,"thinking":{"type":"enabled","budget_tokens":16000.0}"#,
            r#""max_tokens":8192,"thinking":{"type":"enabled","budget_tokens":4096}"#,
        ),
        (
            r#""reasoning":{"effort":"high"},"max_tokens":10,"n":2.0"#,
            r#""reasoning":{"effort":"high"},"max_tokens":10,"n":2"#,
        ),
        (r#""reasoning":"auto","thinking":true,"n":1e1"#, r#""reasoning":"auto","thinking":true,"n":10"#),
        (r#""reasoning":{"max_tokens":5000}"#, r#""reasoning":{"max_tokens":5000}"#),
    ] {
        let body = |fields: &str| format!(r#"{{"model":"m",{fields},{rest}}}"#);
        check(Format::OpenAiChat, &body(given), &edits, &body(expected));
    }
    check(
        Format::AnthropicMessages,
        &format!(r#"{{"model":"m","max_tokens":4000,"thinking":{{"type":"enabled","budget_tokens":2000.0}},{rest}}}"#),
        &edits,
        &format!(r#"{{"model":"m","max_tokens":4000,"thinking":{{"type":"enabled","budget_tokens":2000}},{rest}}}"#),
    );
    let body = |limit: u64, budget: u64| {
        format!(
            r#"{{"model":"m","max_tokens":{limit},"thinking":{{"type":"enabled","budget_tokens":{budget}}},{rest}}}"#
        )
    };
    let small = Edits { max_tokens_limit: Some(1000), ..Edits::default() };
    check(Format::AnthropicMessages, &body(2000, 1024), &small, &body(1000, 512));
}

#[test]
fn the_caller_s_user_is_removed_with_the_right_comma() {
    let edits = Edits::default();
    for (given, expected) in [
        (r#""metadata":{"user_id":"u"}"#, r#""metadata":{}"#),
        (r#""metadata":{ "user_id" : "u" }"#, r#""metadata":{  }"#),
        (r#""metadata":{"user_id":"u","a":1}"#, r#""metadata":{"a":1}"#),
        (r#""metadata":{"a":1,"user_id":"u"}"#, r#""metadata":{"a":1}"#),
        (r#""metadata":{"a":1 , "user_id":"u" , "b":2}"#, r#""metadata":{"a":1 , "b":2}"#),
        (r#""metadata":{"a":1 , "user\u005fid":{"x":[1,2]}}"#, r#""metadata":{"a":1}"#),
        (r#""metadata":{"user":"u"}"#, r#""metadata":{"user":"u"}"#),
        (r#""metadata":null"#, r#""metadata":null"#),
        (r#""user":"u""#, r#""user":"u""#),
    ] {
        let body = |metadata: &str| {
            format!(r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"user","content":"x"}}],{metadata},"z":[]}}"#)
        };
        check(Format::AnthropicMessages, &body(given), &edits, &body(expected));
    }

    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    for (given, expected) in [
        (format!(r#"{{"user":"u","model":"m",{messages}}}"#), format!(r#"{{"model":"m",{messages}}}"#)),
        (format!(r#"{{"model":"m" , "user":"u" , {messages}}}"#), format!(r#"{{"model":"m" , {messages}}}"#)),
        (format!("{{\"model\":\"m\",{messages},\n  \"user\": null\n}}"), format!("{{\"model\":\"m\",{messages}\n}}")),
        (
            format!(r#"{{"model":"m",{messages},"metadata":{{"user_id":"u"}}}}"#),
            format!(r#"{{"model":"m",{messages},"metadata":{{"user_id":"u"}}}}"#),
        ),
    ] {
        check(Format::OpenAiChat, &given, &edits, &expected);
    }
}

#[test]
fn usage_is_asked_for_in_streams_only_and_said_so() {
    let edits = Edits { include_stream_usage: true, ..Edits::default() };
    let messages = r#""messages":[{"role":"user","content":"x"}]"#;
    for (given, expected, added) in [
        (r#""stream":true"#, r#""stream":true,"stream_options":{"include_usage":true}"#, true),
        (r#""stream": true , "user":"u""#, r#""stream": true,"stream_options":{"include_usage":true}"#, true),
        (r#""stream":true,"stream_options":null"#, r#""stream":true,"stream_options":{"include_usage":true}"#, true),
        (r#""stream":true,"stream_options":{}"#, r#""stream":true,"stream_options":{"include_usage":true}"#, true),
        (
            r#""stream_options":{ "a":1 },"stream":true"#,
            r#""stream_options":{"include_usage":true, "a":1 },"stream":true"#,
            true,
        ),
        (
            r#""stream":true,"stream_options":{"include_usage":false}"#,
            r#""stream":true,"stream_options":{"include_usage":true}"#,
            true,
        ),
        (
            r#""stream":true,"stream_options":{"include_usage":true}"#,
            r#""stream":true,"stream_options":{"include_usage":true}"#,
            false,
        ),
        (r#""stream":false"#, r#""stream":false"#, false),
        (r#""stream":null"#, r#""stream":null"#, false),
        (r#""seed":1"#, r#""seed":1"#, false),
    ] {
        let body = |stream: &str| format!(r#"{{"model":"m",{messages},{stream}}}"#);
        check(Format::OpenAiChat, &body(given), &edits, &body(expected));
        assert_eq!(parse(Format::OpenAiChat, &body(given)).relay(&edits).usage_added, added, "{given}");
    }
    let anthropic = format!(r#"{{"model":"m","max_tokens":1,{messages},"stream":true}}"#);
    check(Format::AnthropicMessages, &anthropic, &edits, &anthropic);
}

#[test]
fn facts_are_read() {
    let request = parse(
        Format::AnthropicMessages,
        r#"{"model":"claude","max_tokens":1000,"stream":true,"temperature":0.5,"top_p":1e-1,"stop_sequences":["a","b\n"],
            "system":[{"type":"text","text":"12345678"}],"thinking":{"type":"enabled","budget_tokens":5000},
            "tools":[{"name":"t","description":"1234","input_schema":{}},{"name":"u"}],
            "output_config":{"format":{"type":"json_schema","schema":{"type":"object"}}},
            "messages":[{"role":"user","content":"h\u00e9llo"},{"role":"assistant","content":[{"type":"text","text":"ok"}]}]}"#,
    );
    assert_eq!(request.model, "claude");
    assert!(request.stream && request.thinking);
    assert_eq!(request.max_tokens, Some(1000));
    assert_eq!((request.temperature, request.top_p), (Some(0.5), Some(0.1)));
    assert_eq!(request.stop_sequences, ["a", "b\n"]);
    assert_eq!((request.tools, request.message_count), (2, 2));
    assert_eq!(request.reasoning_effort, Some(systemprompt_llm::Effort::Medium));
    assert_eq!(request.response_format, systemprompt_llm::ResponseFormat::JsonSchema);
    // text + 12345678 + t + 1234 + u + user + héllo + assistant + text + ok, without the role names.
    assert_eq!(request.estimated_input_tokens, (4 + 8 + 1 + 4 + 1 + 5 + 4 + 2_u64).div_ceil(4));

    let request = parse(
        Format::OpenAiChat,
        r#"{"model":"gpt","max_completion_tokens":7,"stop":"x","n":3.0,"reasoning_effort":"xhigh","response_format":{"type":"json_object"},
            "messages":[{"role":"user","content":"hi"}]}"#,
    );
    assert_eq!((request.max_tokens, request.answers), (Some(7), 3));
    assert_eq!(request.stop_sequences, ["x"]);
    assert_eq!(request.reasoning_effort, Some(systemprompt_llm::Effort::Xhigh));
    assert_eq!(request.response_format, systemprompt_llm::ResponseFormat::JsonObject);
    assert!(request.thinking && !request.stream);
}

#[test]
fn thinking_is_asked_for_in_more_than_one_way() {
    use systemprompt_llm::Effort;
    for (fields, thinking, effort) in [
        (r#""reasoning_effort":"none""#, false, Some(Effort::None)),
        (r#""reasoning":{"effort":"high"}"#, true, Some(Effort::High)),
        (r#""reasoning":{"effort":"none"}"#, false, Some(Effort::None)),
        (r#""reasoning":{"max_tokens":5000}"#, true, Some(Effort::Medium)),
        (r#""reasoning":{"enabled":true}"#, true, None),
        (r#""reasoning":{"enabled":false,"effort":"high"}"#, false, Some(Effort::High)),
        (r#""reasoning":{"exclude":true}"#, false, None),
        (r#""thinking":{"type":"enabled","budget_tokens":20000},"reasoning_effort":"low""#, true, Some(Effort::Low)),
        (r#""thinking":{"type":"disabled"}"#, false, None),
    ] {
        let body = format!(r#"{{"model":"m",{fields},"messages":[{{"role":"user","content":"x"}}]}}"#);
        let request = parse(Format::OpenAiChat, &body);
        assert_eq!((request.thinking, request.reasoning_effort), (thinking, effort), "{fields}");
    }
}

#[test]
fn inline_media_is_not_counted_by_its_length() {
    let picture = "A".repeat(1_000_000);
    let openai = format!(
        r#"{{"model":"gpt","messages":[{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"data:image/png;base64,{picture}"}}}}]}}]}}"#
    );
    let anthropic = format!(
        r#"{{"model":"claude","max_tokens":1,"messages":[{{"role":"user","content":[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{picture}"}}}}]}}]}}"#
    );
    for (format, body) in [(Format::OpenAiChat, openai), (Format::AnthropicMessages, anthropic)] {
        let tokens = parse(format, &body).estimated_input_tokens;
        assert!((1_000..1_020).contains(&tokens), "{tokens}");
    }
}

#[test]
fn every_bad_body_names_its_field_and_the_fix() {
    let m = r#""messages":[{"role":"user","content":"x"}]"#;
    let anthropic = [
        (String::new(), "the request body is empty"),
        (" \n".to_owned(), "the request body is empty"),
        ("[]".to_owned(), "must be a JSON object"),
        (r#"{"model":"m""#.to_owned(), "expected `,` or `}` at byte 12"),
        (format!(r#"{{"model":"m","max_tokens":1,{m}}} x"#), "expected the end of the text"),
        (format!(r#"{{"max_tokens":1,{m}}}"#), "`model` is missing: name the model"),
        (format!(r#"{{"model":1,"max_tokens":1,{m}}}"#), "`model` must be a string"),
        (format!(r#"{{"model":"","max_tokens":1,{m}}}"#), "`model` must be a model name"),
        (format!(r#"{{"model":null,"max_tokens":1,{m}}}"#), "`model` must be a string"),
        (format!(r#"{{"model":"m",{m}}}"#), "`max_tokens` is missing: say how many tokens"),
        (format!(r#"{{"model":"m","max_tokens":1.5,{m}}}"#), "`max_tokens` must be a whole number"),
        (format!(r#"{{"model":"m","max_tokens":"9",{m}}}"#), "`max_tokens` must be a whole number"),
        (r#"{"model":"m","max_tokens":1}"#.to_owned(), "`messages` is missing"),
        (r#"{"model":"m","max_tokens":1,"messages":[]}"#.to_owned(), "`messages` must be an array with at least one"),
        (r#"{"model":"m","max_tokens":1,"messages":"x"}"#.to_owned(), "`messages` must be an array"),
        (
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user"},3]}"#.to_owned(),
            "`messages[1]` must be an object",
        ),
        (r#"{"model":"m","max_tokens":1,"messages":[{"content":"x"}]}"#.to_owned(), "`messages[0].role` is missing"),
        (r#"{"model":"m","max_tokens":1,"messages":[{"role":1}]}"#.to_owned(), "`messages[0].role` must be a string"),
        (format!(r#"{{"model":"m","max_tokens":1,{m},"stream":1}}"#), "`stream` must be true or false"),
        (format!(r#"{{"model":"m","max_tokens":1,{m},"temperature":"1"}}"#), "`temperature` must be a number"),
        (format!(r#"{{"model":"m","max_tokens":1,{m},"metadata":[]}}"#), "`metadata` must be an object"),
        (
            format!(r#"{{"model":"m","max_tokens":1,{m},"stop_sequences":[1]}}"#),
            "`stop_sequences` must be an array of strings",
        ),
        (format!(r#"{{"model":"m","model":"n","max_tokens":1,{m}}}"#), "`model` appears more than once"),
        (format!(r#"{{"model":"m","mod\u0065l":"n","max_tokens":1,{m}}}"#), "`model` appears more than once"),
        (format!(r#"{{"model":"m","max_tokens":1,{m},{m}}}"#), "`messages` appears more than once"),
        (
            format!(r#"{{"model":"m","max_tokens":1,{m},"metadata":{{"user_id":"a","user_i\u0064":"b"}}}}"#),
            "`metadata.user_id` appears more than once",
        ),
        (
            format!(r#"{{"model":"m","Model":"n","max_tokens":1,{m}}}"#),
            "`Model` differs from `model` only in upper and lower case",
        ),
        (
            format!(r#"{{"model":"m","max_tokens":1,{m},"deep":{}{}}}"#, "[".repeat(500), "]".repeat(500)),
            "nests more than 128 levels",
        ),
    ];
    for (body, expected) in anthropic {
        let error = InferenceRequest::parse(Format::AnthropicMessages, body.clone().into()).expect_err(&body);
        assert!(error.to_string().contains(expected), "{error} — expected {expected:?} for {body:.100}");
    }
    for (extra, expected) in [
        (r#""n":1.5"#, "`n` must be a whole number"),
        (r#""max_completion_tokens":true"#, "`max_completion_tokens` must be a whole number"),
        (r#""stream_options":true"#, "`stream_options` must be an object"),
        (r#""stream_options":{"include_usage":1}"#, "`stream_options.include_usage` must be true or false"),
        (
            r#""stream_options":{"include_usage":true,"include_usage":false}"#,
            "`stream_options.include_usage` appears more",
        ),
        (r#""user":"a","us\u0065r":"b""#, "`user` appears more than once"),
        (r#""tools":{}"#, "`tools` must be an array"),
    ] {
        let body = format!(r#"{{"model":"m",{m},{extra}}}"#);
        let error = InferenceRequest::parse(Format::OpenAiChat, body.into()).expect_err(extra);
        assert!(error.to_string().contains(expected), "{error}");
    }
    let body = Bytes::from_static(b"{\"model\":\"m\xff\"}");
    assert_eq!(
        InferenceRequest::parse(Format::OpenAiChat, body).expect_err("bad UTF-8"),
        RequestError::NotUtf8 { offset: 11 }
    );
}

#[test]
fn responses_keep_nothing_and_name_nobody() {
    let edits = Edits::default();
    for (given, expected) in [
        (r#""model":"m","input":"x""#, r#""model":"m","store":false,"input":"x""#),
        (r#""input":"x","model": "m" "#, r#""input":"x","model": "m","store":false "#),
        (r#""model":"m","input":"x","store":false"#, r#""model":"m","input":"x","store":false"#),
        (r#""model":"m","store" : true ,"input":"x""#, r#""model":"m","store" : false ,"input":"x""#),
        (r#""store":null,"model":"m","input":"x""#, r#""store":false,"model":"m","input":"x""#),
        (
            r#""model":"m","store":false,"input":"x","user":"u","safety_identifier":"s""#,
            r#""model":"m","store":false,"input":"x""#,
        ),
        (
            r#""user":"u" , "safety_identifier":"s" , "model":"m","store":false,"input":"x""#,
            r#""model":"m","store":false,"input":"x""#,
        ),
        (
            r#""safety_identifier":"s","model":"m","store":false,"input":"x","user":"u""#,
            r#""model":"m","store":false,"input":"x""#,
        ),
        (r#""input":"x","user":"u","model":"m","safety_identifier":"s""#, r#""input":"x","model":"m","store":false"#),
        (
            r#""model":"m","store":false,"metadata":{"user_id":"u"},"input":"x""#,
            r#""model":"m","store":false,"metadata":{"user_id":"u"},"input":"x""#,
        ),
        // A thought that is known by its name is known to nobody, and is asked for in a form that is.
        (
            r#""model":"gpt-6","input":[{"role":"user","content":"x"}]"#,
            r#""model":"gpt-6","store":false,"include":["reasoning.encrypted_content"],"input":[{"role":"user","content":"x"}]"#,
        ),
        (
            r#""model":"m","input":"x","reasoning":{},"include":["file_search_call.results"]"#,
            r#""model":"m","store":false,"input":"x","reasoning":{},"include":["reasoning.encrypted_content","file_search_call.results"]"#,
        ),
        (
            r#""model":"o3","input":"x","include":[ ],"store":true"#,
            r#""model":"o3","input":"x","include":["reasoning.encrypted_content" ],"store":false"#,
        ),
        (
            r#""include":null,"model":"o3","input":"x""#,
            r#""include":["reasoning.encrypted_content"],"model":"o3","store":false,"input":"x""#,
        ),
        (
            r#""model":"o3","store":false,"input":"x","include":[]"#,
            r#""model":"o3","store":false,"input":"x","include":[]"#,
        ),
        (
            r#""model":"m","store":false,"input":[{"type":"reasoning","id":"rs_1","summary":[]} , {"role":"user","content":"x"},{"id":"rs_2","type":"reasoning","summary":[],"encrypted_content":null,"content":[]},{"id":"rs_3","type":"reasoning"}]"#,
            r#""model":"m","store":false,"input":[{"role":"user","content":"x"}]"#,
        ),
        (
            r#""model":"m","store":false,"input":[{"role":"user","content":"x"},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"e"},{"type":"reasoning","id":"rs_2","content":[{"type":"reasoning_text","text":"t"}]}]"#,
            r#""model":"m","store":false,"input":[{"role":"user","content":"x"},{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"e"},{"type":"reasoning","id":"rs_2","content":[{"type":"reasoning_text","text":"t"}]}]"#,
        ),
    ] {
        check(Format::OpenAiResponses, &format!("{{{given}}}"), &edits, &format!("{{{expected}}}"));
    }
}

#[test]
fn a_bad_responses_body_names_its_field_and_the_fix() {
    for (body, expected) in [
        ("", "send a JSON object with `model` and `input`"),
        ("[]", "must be a JSON object with `model` and `input`"),
        (r#"{"model":"m"}"#, "`input` is missing: send a text, or an array with at least one item"),
        (r#"{"model":"m","messages":[]}"#, "`input` is missing"),
        (r#"{"model":"m","input":[]}"#, "`input` must be a text, or an array with at least one item"),
        (r#"{"model":"m","input":3}"#, "`input` must be a text, or an array of items"),
        (r#"{"model":"m","input":["x"]}"#, "`input[0]` must be an item"),
        (r#"{"model":"m","input":[{"content":"x"}]}"#, "`input[0].role` is missing"),
        (r#"{"model":"m","input":[{"role":1,"content":"x"}]}"#, "`input[0].role` must be a string"),
        (r#"{"model":"m","input":[{"type":"item_reference","id":"rs_1"}]}"#, "`input[0]` is not offered here"),
        (r#"{"model":"m","input":[{"id":"rs_1"}]}"#, "`input[0]` is not offered here"),
        (r#"{"model":"m","input":"x","previous_response_id":"resp_1"}"#, "`previous_response_id` is not offered here"),
        (r#"{"model":"m","input":"x","conversation":{"id":"c"}}"#, "`conversation` is not offered here"),
        (r#"{"model":"m","input":"x","background":true}"#, "`background` is not offered here"),
        (r#"{"model":"m","input":"x","background":1}"#, "`background` must be true or false"),
        (r#"{"model":"m","input":"x","store":"no"}"#, "`store` must be true or false"),
        (r#"{"model":"m","input":"x","Input":"y"}"#, "`Input` differs from `input` only"),
        (r#"{"model":"m","input":"x","Store":true}"#, "`Store` differs from `store` only"),
        (r#"{"model":"m","input":"x","max_output_tokens":1.5}"#, "`max_output_tokens` must be a whole number"),
        (r#"{"model":"m","input":"x","tools":{}}"#, "`tools` must be an array"),
    ] {
        let error = InferenceRequest::parse(Format::OpenAiResponses, body.to_owned().into()).expect_err(body);
        assert!(error.to_string().contains(expected), "{error} — expected {expected:?} for {body}");
    }
    for body in [
        r#"{"model":"m","input":"x","previous_response_id":null,"conversation":null,"background":false,"background_options":{}}"#,
        r#"{"model":"m","input":[{"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"x"},{"role":"user","content":"x"}]}"#,
    ] {
        parse(Format::OpenAiResponses, body);
    }
}

#[test]
fn what_a_responses_request_says_is_read() {
    let request = parse(
        Format::OpenAiResponses,
        r#"{"model":"m","instructions":"be kind","input":[{"role":"developer","content":"rules"},
            {"type":"message","role":"user","content":[{"type":"input_text","text":"hello"}]},
            {"type":"function_call","call_id":"c","name":"n","arguments":"{}"},
            {"type":"function_call_output","call_id":"c","output":"done"}],
            "tools":[{"type":"function","name":"n"},{"type":"web_search"}],"max_output_tokens":77,"stream":true,
            "reasoning":{"effort":"high","summary":"auto"},"text":{"verbosity":"low","format":{"type":"json_schema","schema":{"type":"object"}}},
            "temperature":0.5,"top_p":0.25}"#,
    );
    assert_eq!((request.message_count, request.tools, request.max_tokens, request.stream), (4, 2, Some(77), true));
    assert_eq!((request.thinking, request.reasoning_effort), (true, Some(Effort::High)));
    assert_eq!(request.response_format, ResponseFormat::JsonSchema);
    assert_eq!((request.temperature, request.top_p), (Some(0.5), Some(0.25)));
    let key = |body: &str| parse(Format::OpenAiResponses, body).conversation_key;
    let start = key(r#"{"model":"m","instructions":"s","input":"hello"}"#);
    for same in [
        r#"{"input":[{"content":[{"type":"input_text","text":"hello"}],"role":"user"}],"model":"n","instructions":"s"}"#,
        r#"{"model":"m","instructions":"s","input":[{"role":"user","content":"hello"},{"role":"assistant","content":"hi"}]}"#,
        r#"{"model":"m","input":[{"role":"system","content":"s"},{"role":"user","content":"hello"}]}"#,
    ] {
        assert_eq!(key(same), start, "{same}");
    }
    assert_ne!(key(r#"{"model":"m","instructions":"s","input":"hallo"}"#), start);
    let picture = "A".repeat(1_000_000);
    let body = format!(
        r#"{{"model":"m","input":[{{"role":"user","content":[{{"type":"input_image","image_url":"data:image/png;base64,{picture}"}}]}}]}}"#
    );
    assert!((1_000..1_020).contains(&parse(Format::OpenAiResponses, &body).estimated_input_tokens));
}

/// Unknown fields may repeat, nest, and hold anything: they are the provider's to judge.
#[test]
fn unknown_fields_are_nobody_s_business() {
    let body = r#"{"x":1,"x":2,"model":"m","X":null,"thinking":"soon","reasoning_effort":{"new":1},"messages":[{"role":"robot","content":[[1]],"z":0}]}"#;
    let relayed = parse(Format::OpenAiChat, body).relay(&edits()).bytes;
    assert_eq!(relayed, body.replace(r#""model":"m""#, r#""model":"upstream-model""#));
}
