//! What is Google's own about translating to and from Gemini.

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_llm::neutral::{Encoding, Feature};
use systemprompt_llm::{Address, Format, InferenceRequest, Translated, TranslationError};

fn asked(body: &Value, model: &str) -> Result<(Value, Vec<Feature>), TranslationError> {
    let translated = chat(body).translate(Format::Gemini, &Encoding::of(model), "req1", 0)?;
    let lost = translated.losses.iter().map(|loss| loss.feature).collect();
    Ok((serde_json::from_slice(&translated.bytes).expect("JSON"), lost))
}

fn chat(body: &Value) -> InferenceRequest {
    let mut whole = json!({ "model": "m", "messages": [{ "role": "user", "content": "hi" }] });
    whole.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
    InferenceRequest::parse(Format::OpenAiChat, Bytes::from(whole.to_string())).expect("a request")
}

fn gemini(body: &Value) -> InferenceRequest {
    let address = Address { model: "m".to_owned(), stream: false };
    InferenceRequest::parse_addressed(Format::Gemini, Bytes::from(body.to_string()), address).expect("a request")
}

const CALLS: &str = r#"{"candidates":[{"content":{"role":"model","parts":[
    {"text":"Hm.","thought":true},{"text":"I look."},
    {"functionCall":{"name":"read","args":{"path":"a"}},"thoughtSignature":"c2lnbmF0dXJlKy8="},
    {"functionCall":{"name":"read","args":{"path":"b"}}}]},"finishReason":"STOP"}],"responseId":"r1"}"#;

#[test]
fn signatures_and_calls_come_back_through_every_format() {
    let function = json!({ "type": "object", "properties": {} });
    let first = json!({ "role": "user", "content": "Read both" });
    for (caller, body) in [
        (
            Format::AnthropicMessages,
            json!({ "model": "m", "max_tokens": 99, "messages": [first], "tools": [{ "name": "read", "input_schema": function }] }),
        ),
        (
            Format::OpenAiChat,
            json!({ "model": "m", "messages": [first], "tools": [{ "type": "function", "function": { "name": "read" } }] }),
        ),
        (
            Format::OpenAiResponses,
            json!({ "model": "m", "input": [first], "tools": [{ "type": "function", "name": "read" }] }),
        ),
    ] {
        let parse = |body: &Value| InferenceRequest::parse(caller, Bytes::from(body.to_string())).expect("a request");
        let ask = |body: &Value| {
            parse(body).translate(Format::Gemini, &Encoding::of("gemini-3-pro"), "req1", 0).expect("a request")
        };
        let Translated { back, .. } = ask(&body);
        let told: Value = serde_json::from_slice(&back.whole(CALLS.as_bytes()).expect("an answer")).expect("JSON");
        let mut next = body.clone();
        match caller {
            Format::AnthropicMessages => {
                let calls: Vec<&Value> =
                    told["content"].as_array().unwrap().iter().filter(|block| block["type"] == "tool_use").collect();
                let results: Vec<Value> = calls
                    .iter()
                    .rev()
                    .map(|call| json!({ "type": "tool_result", "tool_use_id": call["id"], "content": call["input"]["path"] }))
                    .collect();
                next["messages"] = json!([first, { "role": "assistant", "content": told["content"] }, { "role": "user", "content": results }]);
            }
            Format::OpenAiChat => {
                let message = &told["choices"][0]["message"];
                let calls = message["tool_calls"].as_array().unwrap();
                let results = calls.iter().rev().map(|call| {
                    let path: Value = serde_json::from_str(call["function"]["arguments"].as_str().unwrap()).unwrap();
                    json!({ "role": "tool", "tool_call_id": call["id"], "content": path["path"] })
                });
                next["messages"] = [first.clone(), message.clone()].into_iter().chain(results).collect();
            }
            _ => {
                let output = told["output"].as_array().unwrap();
                let calls = output.iter().filter(|item| item["type"] == "function_call").rev();
                let results = calls.map(|call| {
                    let path: Value = serde_json::from_str(call["arguments"].as_str().unwrap()).unwrap();
                    json!({ "type": "function_call_output", "call_id": call["call_id"], "output": path["path"] })
                });
                next["input"] = [first.clone()].into_iter().chain(output.clone()).chain(results).collect();
            }
        }
        let again: Value = serde_json::from_slice(&ask(&next).bytes).expect("JSON");
        let said = again["contents"][1]["parts"].as_array().expect("parts");
        let calls: Vec<&Value> = said.iter().filter(|part| part["functionCall"].is_object()).collect();
        assert_eq!(calls[0]["thoughtSignature"], "c2lnbmF0dXJlKy8=", "{caller}");
        assert_eq!(calls[1]["thoughtSignature"], Value::Null, "{caller}: of calls made at once the first is signed");
        let answers = again["contents"][2]["parts"].as_array().expect("parts");
        for (call, (answer, path)) in calls.iter().zip(answers.iter().zip(["a", "b"])) {
            assert_eq!(answer["functionResponse"]["id"], call["functionCall"]["id"], "{caller}");
            assert_eq!(answer["functionResponse"]["name"], "read", "{caller}");
            assert_eq!(answer["functionResponse"]["response"], json!({ "result": path }), "{caller}");
        }
    }
}

#[test]
fn a_signature_that_nobody_has_is_said_to_be_missing() {
    let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let body = json!({ "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
    ] });
    for (model, signature) in [
        ("gemini-3-flash", json!("skip_thought_signature_validator")),
        ("gemini-flash-latest", json!("skip_thought_signature_validator")),
        ("gemini-2.5-flash", Value::Null),
        ("gemma-3-27b-it", Value::Null),
    ] {
        let (asked, _) = asked(&body, model).expect("a request");
        assert_eq!(asked["contents"][1]["parts"][0]["thoughtSignature"], signature, "{model}");
        let answer = &asked["contents"][2]["parts"][0]["functionResponse"]["response"];
        assert!(answer["error"].is_string(), "every call has an answer");
    }
}

#[test]
fn what_a_generation_cannot_do_is_said_otherwise_and_recorded() {
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let format = json!({ "type": "json_schema", "json_schema": { "name": "n", "schema": { "type": "object", "properties": { "a": { "pattern": "x" } } } } });
    let body = json!({ "tools": tools, "response_format": format });
    let (old, lost) = asked(&body, "gemini-2.5-flash").expect("a request");
    assert_eq!((old["generationConfig"].clone(), lost), (Value::Null, vec![Feature::JsonSchema]));
    assert!(old["systemInstruction"]["parts"][0]["text"].as_str().is_some_and(|text| text.contains("\"pattern\"")));
    let (new, lost) = asked(&body, "gemini-3-flash").expect("a request");
    assert_eq!(new["generationConfig"]["responseMimeType"], "application/json");
    assert_eq!(lost, [Feature::JsonSchema], "a model is not held to patterns");

    let image = json!({ "type": "image_url", "image_url": { "url": "data:image/png;base64,aaaa" } });
    let call = json!({ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } });
    let body = json!({ "messages": [
        { "role": "user", "content": "hi" },
        { "role": "assistant", "content": null, "tool_calls": [call] },
        { "role": "tool", "tool_call_id": "c", "content": [image] },
    ] });
    let (old, lost) = asked(&body, "gemini-2.5-flash").expect("a request");
    assert_eq!(old["contents"][2]["parts"][2]["inlineData"]["data"], "aaaa");
    assert_eq!(lost, [Feature::MediaInToolResults]);
    let (new, lost) = asked(&body, "gemini-3-flash").expect("a request");
    assert_eq!(new["contents"][2]["parts"][0]["functionResponse"]["parts"][0]["inlineData"]["data"], "aaaa");
    assert!(lost.is_empty());

    let body = json!({ "stop": ["1", "2", "3", "4", "5", "6"], "seed": 5_000_000_000_i64, "logprobs": true, "top_logprobs": 3,
        "presence_penalty": 0.5, "service_tier": "default", "tools": tools, "parallel_tool_calls": false,
        "tool_choice": { "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [{ "type": "function", "function": { "name": "f" } }] } } });
    let (asked_for, lost) = asked(&body, "gemini-3-flash").expect("a request");
    let config = &asked_for["generationConfig"];
    assert_eq!(config["stopSequences"].as_array().map(Vec::len), Some(5));
    assert_eq!((&config["responseLogprobs"], &config["logprobs"]), (&json!(true), &json!(3)));
    assert_eq!((&config["presencePenalty"], &asked_for["serviceTier"]), (&json!(0.5), &json!("standard")));
    let calling = json!({ "mode": "VALIDATED", "allowedFunctionNames": ["f"] });
    assert_eq!(asked_for["toolConfig"]["functionCallingConfig"], calling);
    // Where the sixth text comes up the gateway ends the answer itself.
    assert_eq!(lost, [Feature::Seed, Feature::ParallelToolCallsOff]);
}

#[test]
fn media_by_address_are_the_providers_to_fetch() {
    let image = |url: &str| {
        let image = json!({ "type": "image_url", "image_url": { "url": url } });
        asked(&json!({ "messages": [{ "role": "user", "content": [image] }] }), "gemini-3-flash").expect("a request")
    };
    let (known, lost) = image("https://example.com/a.PNG?size=1");
    let file = json!({ "mimeType": "image/png", "fileUri": "https://example.com/a.PNG?size=1" });
    assert_eq!((&known["contents"][0]["parts"][0]["fileData"], lost), (&file, Vec::new()));
    let (guessed, lost) = image("https://example.com/image");
    assert_eq!(guessed["contents"][0]["parts"][0]["fileData"]["mimeType"], "image/jpeg");
    assert_eq!(lost, [Feature::ImageUrls]);
    let file = json!({ "type": "file", "file": { "file_id": "file-1" } });
    let refused = asked(&json!({ "messages": [{ "role": "user", "content": [file] }] }), "gemini-3-flash");
    assert!(matches!(refused, Err(TranslationError::Unsupported(error)) if error.feature == Feature::Files));
}

#[test]
fn a_search_goes_alone() {
    let search = json!({ "web_search_options": {} });
    let body = |tools: Value| {
        let request =
            json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "hi" }], "tools": tools });
        let request = InferenceRequest::parse(Format::AnthropicMessages, Bytes::from(request.to_string())).unwrap();
        let translated = request.translate(Format::Gemini, &Encoding::of("gemini-3-flash"), "1", 0).expect("a request");
        let asked: Value = serde_json::from_slice(&translated.bytes).expect("JSON");
        (asked["tools"].clone(), translated.losses.len())
    };
    let own = json!({ "type": "web_search_20250305", "name": "web_search" });
    assert_eq!(body(json!([own])), (json!([{ "googleSearch": {} }]), 0));
    let (tools, lost) = body(json!([own, { "name": "f", "input_schema": { "type": "object" } }]));
    assert_eq!((tools[0]["functionDeclarations"][0]["name"].as_str(), lost), (Some("f"), 1));
    let (asked, _) = asked(&search, "gemini-3-flash").expect("a request");
    assert_eq!(asked["tools"], json!([{ "googleSearch": {} }]));
}

#[test]
fn an_answer_says_where_it_comes_from_and_how_likely_it_was() {
    let answer = json!({
        "candidates": [{
            "content": { "parts": [{ "text": "Grüße aus Köln" }] },
            "finishReason": "STOP",
            "groundingMetadata": {
                "webSearchQueries": ["Köln"],
                "groundingChunks": [{ "web": { "uri": "https://k", "title": "K" } }],
                "groundingSupports": [{ "segment": { "startIndex": 12, "endIndex": 17 }, "groundingChunkIndices": [0] }],
            },
            "logprobsResult": {
                "chosenCandidates": [{ "token": "Grüße", "logProbability": -0.5 }],
                "topCandidates": [{ "candidates": [{ "token": "Hallo", "logProbability": -1.5 }] }],
            },
        }],
        "usageMetadata": { "promptTokenCount": 3, "candidatesTokenCount": 5, "totalTokenCount": 8 },
    });
    let request = chat(&json!({ "logprobs": true, "top_logprobs": 1 }));
    let back = request.translate(Format::Gemini, &Encoding::of("gemini-3-flash"), "1", 0).expect("a request").back;
    let told = back.whole(answer.to_string().as_bytes()).expect("an answer");
    let told: Value = serde_json::from_slice(&told).expect("JSON");
    let choice = &told["choices"][0];
    let cited = &choice["message"]["annotations"][0]["url_citation"];
    // Bytes there, characters here.
    assert_eq!(
        (&cited["start_index"], &cited["end_index"], &cited["url"]),
        (&json!(10), &json!(14), &json!("https://k"))
    );
    assert_eq!(choice["logprobs"]["content"][0]["top_logprobs"][0]["token"], "Hallo");
}

#[test]
fn an_answer_of_no_use_is_an_error_and_a_blocked_prompt_a_refusal() {
    let back =
        chat(&json!({})).translate(Format::Gemini, &Encoding::of("gemini-3-flash"), "1", 0).expect("a request").back;
    let failed = r#"{"candidates":[{"content":{"parts":[]},"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"print()"}]}"#;
    assert_eq!(back.whole(failed.as_bytes()), None);
    let mut stream = back.stream();
    let mut out = Vec::new();
    stream.feed(format!("data: {failed}\r\n\r\n").as_bytes(), &mut out);
    assert!(stream.ended());
    let out = String::from_utf8(out).expect("text");
    assert!(out.contains("print()") && out.contains("\"error\"") && !out.contains("[DONE]"), "{out}");

    let blocked = r#"{"promptFeedback":{"blockReason":"SAFETY"},"usageMetadata":{"promptTokenCount":3}}"#;
    let told: Value = serde_json::from_slice(&back.whole(blocked.as_bytes()).expect("an answer")).expect("JSON");
    assert_eq!(told["choices"][0]["finish_reason"], "content_filter");
    assert_eq!(told["choices"][0]["message"]["refusal"], "The provider blocked the prompt: SAFETY.");

    // Google writes an error into a stream as its JSON alone.
    let mut stream = back.stream();
    let mut out = Vec::new();
    let text = r#"data: {"candidates":[{"content":{"parts":[{"text":"half"}]}}]}"#;
    stream.feed(
        format!("{text}\r\n\r\n{{\n  \"error\": {{\"code\": 503, \"message\": \"gone\"}}\n}}\n").as_bytes(),
        &mut out,
    );
    stream.finish(&mut out);
    assert!(stream.ended() && String::from_utf8_lossy(&out).contains("gone"));

    let mut cut = back.stream();
    cut.feed(format!("{text}\r\n\r\n").as_bytes(), &mut out);
    cut.finish(&mut out);
    assert!(!cut.ended(), "a stream that stops early has no end");
}

#[test]
fn a_gemini_caller_is_understood_in_both_spellings() {
    let request = gemini(&json!({
        "contents": [
            { "parts": { "text": "Look" } },
            { "role": "model", "parts": [{ "function_call": { "name": "f", "args": { "a": 1 } } }, { "executable_code": { "code": "1" } }] },
            { "role": "user", "parts": [{ "function_response": { "id": "made-up", "name": "f", "response": { "error": { "code": 5 } } } }, { "inline_data": { "mime_type": "image/png", "data": "aa-_" } }] },
        ],
        "system_instruction": { "parts": [{ "text": "Be kind." }] },
        "tools": [{ "function_declarations": [{ "name": "f", "parameters": { "type": "OBJECT", "properties": { "a": { "type": "INTEGER", "nullable": true } } } }] }, { "google_search": {} }],
        "tool_config": { "function_calling_config": { "mode": "ANY", "allowed_function_names": ["f"] } },
        "generation_config": { "max_output_tokens": 7, "thinking_config": { "thinking_budget": 0 }, "new_field": 1 },
        "safety_settings": [{ "category": "A" }],
    }));
    let translated =
        request.translate(Format::AnthropicMessages, &Encoding::of("claude-sonnet-4-5"), "1", 0).expect("a request");
    let asked: Value = serde_json::from_slice(&translated.bytes).expect("JSON");
    assert_eq!((&asked["max_tokens"], &asked["system"][0]["text"]), (&json!(7), &json!("Be kind.")));
    let schema = json!({ "type": "object", "properties": { "a": { "type": ["integer", "null"] } } });
    assert_eq!(asked["tools"][0]["input_schema"], schema);
    assert_eq!(asked["tool_choice"]["name"], "f");
    let call = &asked["messages"][1]["content"][0];
    let result = &asked["messages"][2]["content"][0];
    assert_eq!((&result["tool_use_id"], &result["is_error"]), (&call["id"], &json!(true)));
    assert_eq!(result["content"][0]["text"], r#"{"code":5}"#);
    assert_eq!(asked["messages"][2]["content"][1]["source"]["data"], "aa+/", "in the alphabet that all read");
    let lost: Vec<&str> = translated.losses.iter().map(|loss| loss.field.as_str()).collect();
    assert_eq!(lost, ["generationConfig.newField", "safetySettings", "messages"]);

    let cached = gemini(&json!({ "contents": { "parts": [] }, "cachedContent": "cachedContents/x" }));
    let refused = cached.translate(Format::OpenAiChat, &Encoding::of("gpt-x"), "1", 0).expect_err("it is Google's");
    assert!(refused.to_string().contains("cachedContent"), "{refused}");
}

#[test]
fn work_grows_with_what_is_read() {
    // Nothing here looks at a clock: work that grew with the square of this would not come to an end in anybody's patience.
    const MANY: usize = 3_000;
    let calls: Vec<Value> = (0..MANY).map(|_| json!({ "functionCall": { "name": "f" } })).collect();
    let results: Vec<Value> =
        (0..MANY).map(|_| json!({ "functionResponse": { "name": "f", "response": { "result": "r" } } })).collect();
    let contents = json!([{ "role": "model", "parts": calls }, { "role": "user", "parts": results }]);
    let request = gemini(&json!({ "contents": contents }));
    let translated = request.translate(Format::OpenAiChat, &Encoding::of("gpt-4o"), "1", 0).expect("a request");
    let asked: Value = serde_json::from_slice(&translated.bytes).expect("JSON");
    let answered = asked["messages"].as_array().expect("messages").iter().filter(|message| message["content"] == "r");
    assert_eq!(answered.count(), MANY);

    let text = "ü".repeat(MANY);
    let supports: Vec<Value> = (0..MANY)
        .map(|at| json!({ "segment": { "startIndex": at, "endIndex": 2 * at }, "groundingChunkIndices": [0] }))
        .collect();
    let answer = json!({ "candidates": [{
        "content": { "parts": [{ "text": text }] },
        "finishReason": "STOP",
        "groundingMetadata": { "groundingChunks": [{ "web": { "uri": "https://k" } }], "groundingSupports": supports },
    }] });
    let back =
        chat(&json!({})).translate(Format::Gemini, &Encoding::of("gemini-3-flash"), "1", 0).expect("a request").back;
    let told = back.whole(answer.to_string().as_bytes()).expect("an answer");
    assert!(told.len() < MANY * 500, "{}", told.len());
    let telling = gemini(&json!({ "contents": { "parts": { "text": "a" } } }));
    let back = telling.translate(Format::OpenAiChat, &Encoding::of("gpt-4o"), "1", 0).expect("a request").back;
    assert!(back.whole(&told).is_some_and(|whole| whole.len() < MANY * 500));
}
