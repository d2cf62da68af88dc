//! Bedrock Converse, which only providers speak.

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_llm::neutral::{Encoding, Feature};
use systemprompt_llm::{AnswerSummary, AnswerTap, Format, InferenceRequest, RequestError, StopReason};

const STREAM: &str = include_str!("golden/answers/bedrock.sse");
const BODY: &str = include_str!("golden/answers/bedrock.json");
const CLAUDE: &str = "eu.anthropic.claude-sonnet-4-5-20250929-v1:0";

fn read(streamed: bool, answer: &str) -> AnswerSummary {
    let mut tap = AnswerTap::new(Format::BedrockConverse, streamed, 1024, 1024);
    tap.feed(answer.as_bytes());
    assert_eq!(streamed, tap.terminal_seen());
    tap.finish()
}

fn request(body: &Value) -> InferenceRequest {
    let mut whole = json!({ "model": "m", "max_tokens": 100, "messages": [{ "role": "user", "content": "hi" }] });
    whole.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
    InferenceRequest::parse(Format::AnthropicMessages, Bytes::from(whole.to_string())).expect("a request")
}

fn asked(body: &Value, model: &str) -> (Value, Vec<Feature>) {
    let translated =
        request(body).translate(Format::BedrockConverse, &Encoding::of(model), "req1", 0).expect("a request");
    let lost = translated.losses.iter().map(|loss| loss.feature).collect();
    (serde_json::from_slice(&translated.bytes).expect("JSON"), lost)
}

#[test]
fn answers_are_read_streamed_and_whole() {
    let (streamed, whole) = (read(true, STREAM), read(false, BODY));
    assert_eq!(streamed.tool_calls[0].input_excerpt, r#"{"city": "Köln"}"#);
    assert_eq!(AnswerSummary { tool_calls: whole.tool_calls.clone(), ..streamed.clone() }, whole);
    assert_eq!(streamed.stop_reason, Some(StopReason::ToolUse));
    assert_eq!((streamed.text.head.as_str(), streamed.thinking.head.as_str()), ("I look.", "Hm."));
    let usage = streamed.usage;
    assert_eq!((usage.input_tokens, usage.output_tokens, usage.cache_read_tokens), (Some(12), Some(34), Some(7000)));
    assert_eq!((usage.cache_creation_tokens, usage.cache_creation_1h_tokens), (Some(300), Some(100)));
    let collected = Format::BedrockConverse.collect_stream(STREAM.as_bytes()).expect("a whole answer");
    let [collected, expected]: [Value; 2] =
        [&collected[..], BODY.as_bytes()].map(|json| serde_json::from_slice(json).expect("JSON"));
    assert_eq!(collected["output"], expected["output"]);

    let cut = STREAM.find("data: {\"messageStop\"").expect("the end");
    let mut tap = AnswerTap::new(Format::BedrockConverse, true, 0, 0);
    tap.feed(&STREAM.as_bytes()[..cut]);
    tap.end_of_stream();
    assert!(!tap.terminal_seen(), "a stream that stops early is not complete");
    let counted = r#"{"inputTokens":100,"outputTokens":5,"totalTokens":105,"cacheReadInputTokens":60}"#;
    let body = format!(r#"{{"output":{{"message":{{"content":[]}}}},"stopReason":"end_turn","usage":{counted}}}"#);
    assert_eq!(read(false, &body).usage.input_tokens, Some(40), "the total says that the cached ones are among them");
}

#[test]
fn a_call_stays_what_it_was_when_another_begins_in_its_place() {
    let start = |name: &str| {
        let tool = format!(r#"{{"toolUse":{{"toolUseId":"t1","name":"{name}"}}}}"#);
        format!("data: {{\"contentBlockStart\":{{\"contentBlockIndex\":0,\"start\":{tool}}}}}\n\n")
    };
    let mut tap = AnswerTap::new(Format::BedrockConverse, true, 0, 0);
    tap.feed((start("read") + &start("delete")).as_bytes());
    assert_eq!(tap.tool_calls().map(|call| call.name.as_str()).collect::<Vec<_>>(), ["read", "delete"]);
}

#[test]
fn errors_are_named_for_what_they_are() {
    let stream = |event: &str| format!("data: {{\"messageStart\":{{\"role\":\"assistant\"}}}}\n\ndata: {event}\n\n");
    for (name, status) in [
        ("throttlingException", 429),
        ("validationException", 400),
        ("modelTimeoutException", 504),
        ("internalServerException", 502),
    ] {
        let event = format!(r#"{{"{name}":{{"message":"no"}}}}"#);
        let error = read(true, &stream(&event)).error.expect("an error");
        assert_eq!((error.kind.as_deref(), error.message.as_str(), error.status), (Some(name), "no", Some(status)));
        let back =
            request(&json!({ "stream": true })).translate(Format::BedrockConverse, &Encoding::of(CLAUDE), "1", 0);
        let mut translated = back.expect("a request").back.stream();
        let mut out = Vec::new();
        translated.feed(stream(&event).as_bytes(), &mut out);
        assert!(translated.ended());
        assert!(String::from_utf8_lossy(&out).contains("event: error"), "{name}");
    }
    for body in [r#"{"message":"Too many tokens"}"#, r#"{"Message":"Too many tokens"}"#] {
        assert_eq!(read(false, body).error.expect("an error").message, "Too many tokens");
    }
}

#[test]
fn nobody_asks_in_it() {
    let error = InferenceRequest::parse(Format::BedrockConverse, Bytes::from_static(b"{}")).expect_err("nobody");
    assert_eq!(error, RequestError::OfProvidersOnly { format: "bedrock-converse" });
    assert!(!Format::OF_CALLERS.contains(&Format::BedrockConverse));
    let arn = "arn:aws:bedrock:eu-west-1:1:inference-profile/a";
    let path = "/model/arn%3Aaws%3Abedrock%3Aeu-west-1%3A1%3Ainference-profile%2Fa/converse-stream";
    assert_eq!(Format::BedrockConverse.path(arn, true), path);
}

#[test]
fn requests_say_what_the_vendor_of_the_model_takes() {
    let tool = json!({ "name": "f", "description": " ", "input_schema": { "type": "object" }, "cache_control": { "type": "ephemeral" } });
    let body = json!({ "tools": [tool], "tool_choice": { "type": "any" }, "top_k": 5, "temperature": 0.5, "top_p": 0.5, "stop_sequences": ["END", " "] });
    let (claude, lost) = asked(&body, CLAUDE);
    assert_eq!(claude["toolConfig"]["toolChoice"], json!({ "any": {} }));
    assert_eq!(claude["toolConfig"]["tools"][0]["toolSpec"]["description"], Value::Null);
    assert_eq!(claude["toolConfig"]["tools"][1], json!({ "cachePoint": { "type": "default" } }));
    assert_eq!(claude["additionalModelRequestFields"], json!({ "top_k": 5 }));
    assert_eq!(claude["additionalModelResponseFieldPaths"], json!(["/stop_sequence"]));
    assert_eq!(claude["inferenceConfig"], json!({ "maxTokens": 100, "temperature": 0.5, "stopSequences": ["END"] }));
    assert_eq!(lost, [Feature::TopP]);
    let (llama, lost) = asked(&body, "meta.llama4-maverick-17b-instruct-v1:0");
    assert_eq!(llama["toolConfig"]["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!(llama["inferenceConfig"]["topP"], 0.5);
    assert_eq!(lost, [Feature::CacheControl, Feature::TopK]);

    // What was called has to be declared, whoever offers it no more.
    let call = json!({ "type": "tool_use", "id": "t.1", "name": "gone", "input": {} });
    let document = json!({ "type": "document", "title": "a_b.pdf", "source": { "type": "base64", "media_type": "application/pdf", "data": "aaaa" } });
    let body = json!({ "messages": [
        { "role": "user", "content": [document] },
        { "role": "assistant", "content": [call] },
        { "role": "user", "content": [{ "type": "tool_result", "tool_use_id": "t.1", "content": [] }] },
    ] });
    let (asked_for, lost) = asked(&body, CLAUDE);
    assert!(lost.is_empty(), "{lost:?}");
    assert_eq!(asked_for["toolConfig"]["tools"][0]["toolSpec"]["name"], "gone");
    let [document, words] = asked_for["messages"][0]["content"].as_array().expect("blocks").as_slice() else {
        panic!()
    };
    assert_eq!(document["document"], json!({ "format": "pdf", "name": "a b pdf", "source": { "bytes": "aaaa" } }));
    assert!(words["text"].is_string(), "a document does not stand alone");
    let id = &asked_for["messages"][1]["content"][0]["toolUse"]["toolUseId"];
    let result = &asked_for["messages"][2]["content"][0]["toolResult"];
    assert_eq!(&result["toolUseId"], id);
    assert!(id.as_str().is_some_and(|id| !id.contains('.')), "{id}");
    assert_eq!(result["content"].as_array().map(Vec::len), Some(1), "nothing is not taken");
}

#[test]
fn a_stop_sequence_is_named_and_thoughts_come_back() {
    let body = json!({ "thinking": { "type": "enabled", "budget_tokens": 2000 }, "max_tokens": 4000, "stop_sequences": ["END"] });
    let back =
        request(&body).translate(Format::BedrockConverse, &Encoding::of(CLAUDE), "1", 0).expect("a request").back;
    let answer = json!({
        "output": { "message": { "role": "assistant", "content": [
            { "reasoningContent": { "reasoningText": { "text": "Hm.", "signature": "sig" } } },
            { "reasoningContent": { "redactedContent": "cmVk" } },
            { "text": "a" },
        ] } },
        "stopReason": "stop_sequence",
        "additionalModelResponseFields": { "stop_sequence": "END" },
        "usage": { "inputTokens": 1, "outputTokens": 2, "totalTokens": 3 },
    });
    let told: Value =
        serde_json::from_slice(&back.whole(answer.to_string().as_bytes()).expect("an answer")).expect("JSON");
    assert_eq!((&told["stop_reason"], &told["stop_sequence"]), (&json!("stop_sequence"), &json!("END")));
    let messages = json!([
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": told["content"] },
        { "role": "user", "content": "more" },
    ]);
    let (again, lost) = asked(&json!({ "messages": messages }), CLAUDE);
    assert_eq!(again["messages"][1]["content"], answer["output"]["message"]["content"]);
    assert!(lost.is_empty(), "{lost:?}");
}
