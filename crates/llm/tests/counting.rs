//! Requests to count tokens, and their answers, in all directions.

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_llm::neutral::Encoding;
use systemprompt_llm::{Format, InferenceRequest};

fn to_count(caller: Format, body: &str, to: Format, bare: bool) -> Option<Value> {
    let model = (caller == Format::Gemini).then(|| "asked".to_owned());
    let request = InferenceRequest::parse_count(caller, &Bytes::from(body.to_owned()), model).expect("a request");
    let bytes = request.to_count(to, &Encoding::of("served"), bare).expect("it can be said")?;
    Some(serde_json::from_slice(&bytes).expect("JSON"))
}

const ANTHROPIC: &str = r#"{"model":"asked","system":"Be brief.","messages":[{"role":"user","content":"hi"}],
    "tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}]}"#;
const CONTENTS: &str = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
const WHOLE: &str = r#"{"generateContentRequest":{"model":"models/asked","contents":[{"role":"user","parts":[{"text":"hi"}]}],
    "systemInstruction":{"parts":[{"text":"Be brief."}]},"generationConfig":{"maxOutputTokens":5}}}"#;

#[test]
fn every_caller_is_counted_by_every_provider_that_counts() {
    use Format::{AnthropicMessages, Gemini};
    let own = to_count(AnthropicMessages, ANTHROPIC, AnthropicMessages, false).expect("it counts");
    let mut expected: Value = serde_json::from_str(ANTHROPIC).expect("JSON");
    expected["model"] = "served".into();
    assert_eq!(own, expected);

    let contents = json!([{ "role": "user", "parts": [{ "text": "hi" }] }]);
    let envelope = json!({ "generateContentRequest": { "model": "models/served", "contents": contents } });
    assert_eq!(to_count(Gemini, CONTENTS, Gemini, false), Some(envelope));
    assert_eq!(to_count(Gemini, CONTENTS, Gemini, true), Some(json!({ "contents": contents })));
    let whole = to_count(Gemini, WHOLE, Gemini, false).expect("it counts");
    let inside = &whole["generateContentRequest"];
    assert_eq!((&inside["model"], &inside["contents"]), (&json!("models/served"), &contents));
    assert_eq!(inside["generationConfig"]["maxOutputTokens"], 5);

    let translated = to_count(Gemini, WHOLE, AnthropicMessages, false).expect("it counts");
    let messages = json!([{ "role": "user", "content": [{ "type": "text", "text": "hi" }] }]);
    assert_eq!((&translated["model"], &translated["messages"]), (&json!("served"), &messages));
    assert_eq!(translated["system"][0]["text"], "Be brief.");
    assert!(translated.get("max_tokens").is_none() && translated.get("stream").is_none(), "{translated}");
    let translated = to_count(AnthropicMessages, ANTHROPIC, Gemini, false).expect("it counts");
    let inside = &translated["generateContentRequest"];
    assert_eq!((&inside["model"], &inside["contents"]), (&json!("models/served"), &contents));
    assert_eq!(inside["tools"][0]["functionDeclarations"][0]["name"], "f");

    for none in [Format::OpenAiChat, Format::OpenAiResponses, Format::BedrockConverse] {
        assert_eq!(to_count(AnthropicMessages, ANTHROPIC, none, false), None, "an estimate is all there is");
        assert_eq!((none.count_path("m"), none.counted(b"{}"), none.count_answer(1)), (None, None, None));
    }
}

#[test]
fn counts_are_told_in_the_callers_words() {
    for (format, answer, path) in [
        (Format::AnthropicMessages, r#"{"input_tokens":12}"#, "/messages/count_tokens"),
        (Format::Gemini, r#"{"totalTokens":12}"#, "/models/a%2Fb:countTokens"),
    ] {
        assert_eq!(format.counted(answer.as_bytes()), Some(12));
        assert_eq!(format.count_answer(12).as_deref(), Some(answer.as_bytes()));
        assert_eq!(format.count_path("a/b").as_deref(), Some(path));
        assert_eq!(format.counted(br#"{"error":{}}"#), None);
    }
    let google = br#"{"totalTokens":31,"promptTokensDetails":[{"modality":"TEXT","tokenCount":31}]}"#;
    assert_eq!(Format::Gemini.counted(google), Some(31));
}

#[test]
fn what_is_no_request_to_count_names_its_field() {
    for (format, body, field) in [
        (Format::AnthropicMessages, r#"{"model":"m"}"#, "messages"),
        (Format::Gemini, r#"{"generateContentRequest":{"model":"models/m"}}"#, "contents"),
    ] {
        let model = (format == Format::Gemini).then(|| "m".to_owned());
        let error = InferenceRequest::parse_count(format, &Bytes::from(body), model).expect_err(body);
        assert_eq!(error.field(), Some(field));
    }
}
