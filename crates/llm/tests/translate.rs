//! Every caller's format with every provider's: what the provider is asked, and what the caller is told.
//!
//! A case is a request (`golden/translate/requests/CALLER/CASE.json`) and what a provider answers
//! (`golden/translate/answers/PROVIDER/CASE.json`; the stream is made of it). What becomes of them stands in
//! `golden/translate/CALLER-to-PROVIDER/CASE.txt`. `UPDATE_GOLDEN=1` writes these files anew.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde_json::Value;
use systemprompt_llm::neutral::Encoding;
use systemprompt_llm::{
    Address, AnswerTap, Format, InferenceRequest, Translated, Translation, TranslationError, Usage,
};

const CASES: [&str; 8] =
    ["text", "parallel_tools", "tool_result_image", "thinking", "structured", "refusal", "length", "cache"];

fn golden(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/translate").join(path)
}

fn read(path: &str) -> Vec<u8> {
    std::fs::read(golden(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The model a provider of the format is asked for.
fn model(format: Format) -> &'static str {
    match format {
        Format::AnthropicMessages => "claude-sonnet-4-5",
        Format::OpenAiChat | Format::OpenAiResponses => "gpt-5.1",
        Format::Gemini => "gemini-3-pro",
        Format::BedrockConverse => "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        _ => panic!("{format} is no conversation"),
    }
}

fn request(caller: Format, case: &str) -> InferenceRequest {
    let body = Bytes::from(read(&format!("requests/{caller}/{case}.json")));
    let request = match caller {
        Format::Gemini => {
            let address = Address { model: "caller-model".to_owned(), stream: true };
            InferenceRequest::parse_addressed(caller, body, address)
        }
        _ => InferenceRequest::parse(caller, body),
    };
    request.expect("a request")
}

fn translated(caller: Format, provider: Format, case: &str) -> Result<Translated, TranslationError> {
    let encoding = Encoding { max_output_tokens: Some(64_000), ..Encoding::of(model(provider)) };
    let request = request(caller, case);
    request.translate(provider, &encoding, "req1", 1_700_000_000)
}

fn streamed(back: &Translation, stream: &[u8], size: usize) -> String {
    let mut translation = back.stream();
    let mut out = Vec::new();
    for chunk in stream.chunks(size) {
        translation.feed(chunk, &mut out);
    }
    translation.finish(&mut out);
    assert!(translation.ended(), "{}", String::from_utf8_lossy(&out));
    String::from_utf8(out).expect("UTF-8")
}

fn usage(format: Format, streamed: bool, answer: &[u8]) -> Usage {
    let mut tap = AnswerTap::new(format, streamed, 0, 0);
    tap.feed(answer);
    tap.finish().usage
}

fn pretty(json: &[u8]) -> String {
    let value: Value = serde_json::from_slice(json).expect("JSON");
    serde_json::to_string_pretty(&value).expect("JSON")
}

fn pairs() -> impl Iterator<Item = (Format, Format)> {
    let all = |caller| Format::ALL.into_iter().map(move |provider| (caller, provider));
    Format::OF_CALLERS.into_iter().flat_map(all).filter(|(caller, provider)| caller != provider)
}

/// Compares what becomes of a case with its file.
fn settle(caller: Format, provider: Format, case: &str, text: &str, wrong: &mut Vec<String>) {
    let path = golden(&format!("{caller}-to-{provider}/{case}.txt"));
    if option_env!("UPDATE_GOLDEN").is_some() {
        std::fs::create_dir_all(path.parent().expect("a directory")).expect("a directory");
        std::fs::write(&path, text).expect("written");
    } else if std::fs::read_to_string(&path).ok().as_deref() != Some(text) {
        wrong.push(format!("{}\n{text}", path.display()));
    }
}

#[test]
fn every_case_is_as_its_file_says() {
    let mut wrong = Vec::new();
    for (caller, provider) in pairs() {
        for case in CASES {
            let Translated { bytes, losses, back } = match translated(caller, provider, case) {
                Ok(translated) => translated,
                Err(error) => {
                    settle(caller, provider, case, &format!("# The request is refused\n{error}\n"), &mut wrong);
                    continue;
                }
            };
            let answer = read(&format!("answers/{provider}/{case}.json"));
            let stream = provider.whole_as_stream(200, &answer, true);
            let whole = back.whole(&answer).expect("an answer");
            let mut text = format!("# What the provider is asked\n{}\n\n# What is lost\n", pretty(&bytes));
            for loss in losses {
                let _ = writeln!(text, "{}: {} ({})", loss.field, loss.feature.as_str(), loss.treatment.as_str());
            }
            let _ = write!(text, "\n# What the caller is told, whole\n{}\n\n", pretty(&whole));
            let _ = write!(text, "# What the caller is told, as a stream\n{}", streamed(&back, &stream, usize::MAX));
            settle(caller, provider, case, &text, &mut wrong);
        }
    }
    assert!(wrong.is_empty(), "run with UPDATE_GOLDEN=1 and look at what changes:\n{}", wrong.join("\n"));
}

#[test]
fn usage_is_the_same_whole_and_streamed_and_in_the_ledger() {
    for (caller, provider) in pairs() {
        for case in CASES {
            let Ok(Translated { back, .. }) = translated(caller, provider, case) else { continue };
            let answer = read(&format!("answers/{provider}/{case}.json"));
            let stream = provider.whole_as_stream(200, &answer, true);
            let told = usage(caller, false, &back.whole(&answer).expect("an answer"));
            // Where a caller does not ask for it, a stream does not say it.
            if request(caller, case).stream {
                let streamed = streamed(&back, &stream, usize::MAX);
                assert_eq!(told, usage(caller, true, streamed.as_bytes()), "{case}");
                assert_eq!(told, usage(caller, true, &back.whole_as_stream(&answer).expect("a stream")), "{case}");
            }
            assert_eq!(told, usage(caller, false, &back.stream_as_whole(&stream).expect("an answer")), "{case}");
            let ledger = usage(provider, false, &answer);
            assert_eq!(ledger, usage(provider, true, &stream), "{case}");
            assert_eq!(told.prompt_tokens(), ledger.prompt_tokens(), "{caller} {provider} {case}");
            assert_eq!(told.total(), ledger.total(), "{caller} {provider} {case}");
        }
    }
}

#[test]
fn a_stream_says_the_same_however_it_is_cut() {
    for (caller, provider) in pairs() {
        for case in CASES {
            let Ok(Translated { back, .. }) = translated(caller, provider, case) else { continue };
            let answer = read(&format!("answers/{provider}/{case}.json"));
            let stream = provider.whole_as_stream(200, &answer, true);
            let whole = streamed(&back, &stream, usize::MAX);
            for size in [1, 2, 3, 7, 64, 1000] {
                assert_eq!(streamed(&back, &stream, size), whole, "{case} in pieces of {size}");
            }
        }
    }
}

#[test]
fn a_conversation_that_is_too_long_is_said_to_be_so_in_every_format() {
    let anthropic = br#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 tokens > 8 maximum"}}"#;
    let openai = br#"{"error":{"message":"Your input exceeds the limit","type":"invalid_request_error","code":"context_length_exceeded"}}"#;
    for (caller, provider, body) in [
        (Format::OpenAiResponses, Format::AnthropicMessages, &anthropic[..]),
        (Format::OpenAiChat, Format::AnthropicMessages, anthropic),
        (Format::AnthropicMessages, Format::OpenAiChat, openai),
        (Format::AnthropicMessages, Format::OpenAiResponses, openai),
    ] {
        let error = translated(caller, provider, "text").expect("a small request").back.error(400, body);
        let told: Value = serde_json::from_slice(&error.body(caller, None)).expect("JSON");
        match caller {
            // Claude Code knows it by these words.
            Format::AnthropicMessages => {
                assert!(told["error"]["message"].as_str().expect("text").starts_with("prompt is too long"), "{told}");
            }
            _ => assert_eq!(told["error"]["code"], "context_length_exceeded"),
        }
    }
}

#[test]
fn an_answer_is_cut_where_a_text_comes_up_that_the_provider_does_not_know() {
    let body = r#"{"model":"m","max_tokens":50,"stop_sequences":["\n\nHuman","END"],"messages":[{"role":"user","content":"x"}],"stream":true}"#;
    let request = InferenceRequest::parse(Format::AnthropicMessages, Bytes::from(body)).expect("a request");
    let to = Format::OpenAiResponses;
    let Translated { bytes, losses, back } =
        request.translate(to, &Encoding::of("gpt-6"), "req", 0).expect("a translation");
    assert!(losses.is_empty() && !String::from_utf8_lossy(&bytes).contains("END"));
    let answer = serde_json::json!({ "id": "resp_1", "object": "response", "status": "completed", "output": [
        { "type": "message", "id": "m", "content": [{ "type": "output_text", "text": "Yes.\n\nHe said EN. END. More." }] },
        { "type": "function_call", "id": "f", "call_id": "c", "name": "t", "arguments": "{}" }],
        "usage": { "input_tokens": 3, "output_tokens": 9 } });
    let answer = answer.to_string();
    let stream = to.whole_as_stream(200, answer.as_bytes(), true);
    let told = [
        back.whole(answer.as_bytes()).expect("an answer"),
        back.stream_as_whole(&stream).expect("an answer"),
        Format::AnthropicMessages.collect_stream(streamed(&back, &stream, 5).as_bytes()).expect("a stream"),
        Format::AnthropicMessages
            .collect_stream(&back.whole_as_stream(answer.as_bytes()).expect("a stream"))
            .expect("one"),
    ];
    for told in told {
        let told: Value = serde_json::from_slice(&told).expect("JSON");
        assert_eq!(told["content"].as_array().map(Vec::len), Some(1));
        assert_eq!(told["content"][0]["text"], "Yes.\n\nHe said EN. ");
        assert_eq!((&told["stop_reason"], &told["stop_sequence"]), (&"stop_sequence".into(), &"END".into()));
        assert_eq!(told["usage"]["output_tokens"], 9);
    }
    // A provider that breaks off after that has said all that the caller gets.
    let cut = String::from_utf8(stream).expect("UTF-8");
    let cut = &cut[..cut.find("event: response.completed").expect("the last event")];
    let mut translation = back.stream();
    let mut out = Vec::new();
    translation.feed(cut.as_bytes(), &mut out);
    translation.finish(&mut out);
    translation.fail(&systemprompt_llm::ErrorAnswer::upstream_interrupted("gone"), &mut out);
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(
        out.contains("\"stop_sequence\":\"END\"") && out.contains("message_stop") && !out.contains("gone"),
        "{out}"
    );
}

#[test]
fn what_is_not_all_of_an_answer_is_none() {
    for (provider, body) in [
        (Format::OpenAiResponses, r#"{"id":"r","object":"response","status":"in_progress","output":[]}"#),
        (Format::OpenAiResponses, r#"{"id":"r","object":"response","status":"completed","output":[{"type":"mess"#),
        (Format::OpenAiChat, r#"{"id":"c","choices":[{"index":0,"message":{"content":"hal"#),
    ] {
        let back = translated(Format::AnthropicMessages, provider, "text").expect("a small request").back;
        assert_eq!((back.whole(body.as_bytes()), back.whole_as_stream(body.as_bytes())), (None, None), "{body}");
    }
}
