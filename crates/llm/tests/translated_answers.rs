//! What becomes of answers that are not as their vendor would write them, on the way to a caller of another format.

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_llm::neutral::Encoding;
use systemprompt_llm::{AnswerTap, ErrorAnswer, Format, InferenceRequest, Translation};

use Format::{AnthropicMessages, OpenAiChat};

fn back_with(caller: Format, provider: Format, more: &Value) -> Translation {
    let mut body = json!({ "model": "mine", "max_tokens": 100, "messages": [{ "role": "user", "content": "Hi" }] });
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let request = InferenceRequest::parse(caller, Bytes::from(body.to_string())).expect("a request");
    request.translate(provider, &Encoding::of("m"), "req1", 7).expect("translated").back
}

fn back(caller: Format, provider: Format) -> Translation {
    back_with(caller, provider, &json!({}))
}

fn parsed(bytes: Vec<u8>) -> Value {
    serde_json::from_slice(&bytes).expect("JSON")
}

/// A stream of chunks of a server that is compatible with OpenAI.
fn chunks(deltas: &[Value]) -> String {
    let chunk = |delta: &Value| format!("data: {}\n\n", json!({ "id": "c1", "choices": [delta] }));
    deltas.iter().map(chunk).collect::<String>() + "data: [DONE]\n\n"
}

fn delta(delta: Value) -> Value {
    json!({ "index": 0, "delta": delta })
}

/// What an Anthropic caller is told of a stream, put together.
#[track_caller]
fn told(stream: &str) -> Value {
    let back = back(AnthropicMessages, OpenAiChat);
    let whole = parsed(back.stream_as_whole(stream.as_bytes()).expect("an answer"));
    let mut translation = back.stream();
    let mut out = Vec::new();
    translation.feed(stream.as_bytes(), &mut out);
    translation.finish(&mut out);
    let together = AnthropicMessages.collect_stream(&out).expect("a stream of the format");
    assert_eq!(parsed(together), whole, "{}", String::from_utf8_lossy(&out));
    whole
}

fn call(fields: Value) -> Value {
    delta(json!({ "tool_calls": [fields] }))
}

#[test]
fn calls_of_tools_are_put_in_order_however_servers_send_them() {
    let used =
        |id: &str, name: &str, input: Value| json!({ "type": "tool_use", "id": id, "name": name, "input": input });
    let two = json!([used("a", "x", json!({ "n": 1 })), used("b", "y", json!({ "n": 2 }))]);
    for (what, deltas) in [
        (
            "as the vendor does",
            vec![
                call(
                    json!({ "index": 0, "id": "a", "type": "function", "function": { "name": "x", "arguments": "" } }),
                ),
                call(json!({ "index": 0, "function": { "arguments": "{\"n\"" } })),
                call(json!({ "index": 0, "function": { "arguments": ":1}" } })),
                call(
                    json!({ "index": 1, "id": "b", "type": "function", "function": { "name": "y", "arguments": "{\"n\":2}" } }),
                ),
            ],
        ),
        (
            "mixed",
            vec![
                call(json!({ "index": 0, "id": "a", "function": { "name": "x", "arguments": "{\"n\"" } })),
                call(json!({ "index": 1, "id": "b", "function": { "name": "y", "arguments": "{" } })),
                call(json!({ "index": 0, "function": { "arguments": ":1}" } })),
                call(json!({ "index": 1, "function": { "arguments": "\"n\":2}" } })),
            ],
        ),
        (
            "at one place, whole",
            vec![
                call(json!({ "index": 0, "id": "a", "function": { "name": "x", "arguments": "{\"n\":1}" } })),
                call(json!({ "index": 0, "id": "b", "function": { "name": "y", "arguments": { "n": 2 } } })),
            ],
        ),
        (
            "without places",
            vec![
                call(json!({ "id": "a", "function": { "name": "x", "arguments": "{\"n\":" } })),
                call(json!({ "function": { "arguments": "1}" } })),
                call(json!({ "id": "b", "function": { "name": "y", "arguments": "{\"n\":2}" } })),
            ],
        ),
        (
            "in one chunk, with the id again in each piece",
            vec![
                delta(json!({ "tool_calls": [
                    { "index": 0, "id": "a", "function": { "name": "x", "arguments": "{\"n\":" } },
                    { "index": 1, "id": "b", "function": { "name": "y", "arguments": "{\"n\":" } },
                ] })),
                delta(json!({ "tool_calls": [
                    { "index": 0, "id": "a", "function": { "name": "x", "arguments": "1}" } },
                    { "index": 1, "id": "b", "function": { "name": null, "arguments": "2}" } },
                ] })),
            ],
        ),
        (
            "with the name last",
            vec![
                call(json!({ "index": 0, "id": "a", "function": { "arguments": "{\"n\":1}" } })),
                call(json!({ "index": 0, "function": { "name": "x" } })),
                call(json!({ "index": 1, "id": "b", "function": { "name": "y", "arguments": "{\"n\":2}" } })),
            ],
        ),
    ] {
        // These servers say that they stopped, and not what for.
        for reason in ["tool_calls", "stop"] {
            let mut deltas = deltas.clone();
            deltas.push(json!({ "index": 0, "delta": {}, "finish_reason": reason }));
            let told = told(&chunks(&deltas));
            assert_eq!(told["content"], two, "{what}");
            assert_eq!(told["stop_reason"], "tool_use", "{what}");
        }
    }
    let nameless = chunks(&[
        call(json!({ "function": { "name": "x", "arguments": "{}" } })),
        call(json!({ "function": { "name": "y", "arguments": "" } })),
    ]);
    assert_eq!(
        told(&nameless)["content"],
        json!([used("call_c1_0", "x", json!({})), used("call_c1_1", "y", json!({}))])
    );
    let old = chunks(&[
        delta(json!({ "function_call": { "name": "x", "arguments": "{\"n\":" } })),
        delta(json!({ "function_call": { "arguments": "1}" } })),
    ]);
    assert_eq!(told(&old)["content"], json!([used("call_c1_0", "x", json!({ "n": 1 }))]));
}

#[test]
fn the_words_of_compatible_servers_are_read() {
    let told = told(&chunks(&[
        delta(json!({ "role": "assistant", "content": "", "reasoning": "Hm", "reasoning_content": "Hm" })),
        delta(json!({ "reasoning": "m.", "content": null })),
        delta(
            json!({ "content": [{ "type": "thinking", "thinking": [{ "type": "text", "text": "Oh." }] }, { "type": "text", "text": "Yes" }] }),
        ),
        delta(json!({ "content": " no" })),
        delta(json!({ "refusal": "But no." })),
        json!({ "index": 0, "delta": {}, "finish_reason": "stop" }),
        json!({ "index": 1, "delta": { "content": "another choice" } }),
        // It was not the end.
        delta(json!({ "content": "Well." })),
    ]));
    let texts: Vec<&Value> = told["content"]
        .as_array()
        .expect("blocks")
        .iter()
        .map(|block| if block["type"] == "thinking" { &block["thinking"] } else { &block["text"] })
        .collect();
    assert_eq!(texts, ["Hmm.Oh.", "Yes no", "But no.", "Well."]);
    assert_eq!(told["stop_reason"], "refusal");
    assert_eq!(told["id"], "msg_c1");
    assert_eq!(told["model"], "mine");
}

#[test]
fn what_a_server_says_of_its_end_is_believed() {
    let back = back(AnthropicMessages, OpenAiChat);
    let text = format!("data: {}\n\n", json!({ "id": "c", "choices": [delta(json!({ "content": "a" }))] }));
    let stop = format!("data: {}\n\n", json!({ "choices": [{ "index": 0, "delta": {}, "finish_reason": "length" }] }));
    let usage =
        format!("data: {}\n\n", json!({ "choices": [], "usage": { "prompt_tokens": 3, "completion_tokens": 5 } }));
    let ended = |stream: &str| {
        let mut translation = back.stream();
        let mut out = Vec::new();
        translation.feed(stream.as_bytes(), &mut out);
        translation.finish(&mut out);
        (translation.ended(), String::from_utf8(out).expect("UTF-8"))
    };
    assert!(!ended(&text).0, "it broke off");
    assert!(back.stream_as_whole(text.as_bytes()).is_none());
    let (is_ended, out) = ended(&format!("{text}{stop}{usage}"));
    assert!(is_ended && out.contains(r#""stop_reason":"max_tokens""#) && out.contains(r#""output_tokens":5"#), "{out}");
    assert!(ended(&format!("{text}data: [DONE]\n\n")).0);
    let (is_ended, out) = ended("data: [DONE]\n\n");
    assert!(is_ended && out.starts_with("event: message_start"), "{out}");
    assert!(back.whole(br#"{"choices":[]}"#).is_none());
    assert!(back.whole(b"<html>").is_none());
}

#[test]
fn a_providers_error_is_told_in_the_callers_dialect() {
    for (caller, provider, stream, expected) in [
        (
            AnthropicMessages,
            OpenAiChat,
            "data: {\"error\":{\"message\":\"Slow down\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}\n\n",
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"rate_limit_error\",\"message\":\"Slow down\"}}\n\n",
        ),
        (
            OpenAiChat,
            AnthropicMessages,
            "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n",
            "data: {\"error\":{\"message\":\"Overloaded\",\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n",
        ),
    ] {
        let back = back(caller, provider);
        let mut translation = back.stream();
        let mut out = Vec::new();
        translation.feed(stream.as_bytes(), &mut out);
        assert!(translation.ended());
        translation.fail(&ErrorAnswer::internal(), &mut out);
        translation.finish(&mut out);
        assert_eq!(String::from_utf8(out).expect("UTF-8"), expected);
        assert!(back.stream_as_whole(stream.as_bytes()).is_none());
        let body = stream.rsplit_once("data: ").expect("data").1.trim();
        assert!(back.whole(body.as_bytes()).is_none(), "an error is no answer");
        assert!(back.whole_as_stream(body.as_bytes()).is_none());
        let error = back.error(429, body.as_bytes());
        assert_eq!(error.status, 429);
        assert!(expected.contains(&error.message));
    }
    let cut = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":1}}}\n\n\
               event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"a\"}}\n\n";
    let mut translation = back(OpenAiChat, AnthropicMessages).stream();
    let mut out = Vec::new();
    translation.feed(cut.as_bytes(), &mut out);
    translation.finish(&mut out);
    assert!(!translation.ended());
    translation.fail(&ErrorAnswer::upstream_interrupted("it broke off"), &mut out);
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(
        out.ends_with("\"message\":\"it broke off\",\"type\":\"api_error\",\"param\":null,\"code\":null}}\n\n"),
        "{out}"
    );
    assert!(!out.contains("[DONE]") && !out.contains("\"finish_reason\":\""), "{out}");
}

#[test]
fn what_is_no_json_in_a_stream_is_an_error_and_no_gap() {
    let back = back(AnthropicMessages, OpenAiChat);
    let text = |text: &str| format!("data: {}\n\n", json!({ "choices": [delta(json!({ "content": text }))] }));
    let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
    for garbage in ["data: <html>\n\n", "data: {\"choices\":[{\"delta\":{\"content\":\"cut\n\n", "data: {nothing}\n\n"]
    {
        let stream = format!("{}{garbage}{}{end}", text("one"), text("two"));
        for size in [1, 7, stream.len()] {
            let mut translation = back.stream();
            let mut out = Vec::new();
            for chunk in stream.as_bytes().chunks(size) {
                translation.feed(chunk, &mut out);
            }
            assert_eq!(translation.trouble(), Some("the provider sent an event that is not JSON"));
            translation.finish(&mut out);
            translation.fail(&ErrorAnswer::internal(), &mut out);
            let told = String::from_utf8(out).expect("UTF-8");
            assert!(told.contains("\"one\"") && !told.contains("cut") && !told.contains("two"), "{told}");
            assert!(told.contains("event: error") && !told.contains("message_stop"), "{told}");
        }
        assert!(back.stream_as_whole(stream.as_bytes()).is_none());
    }
    let forgiven =
        ["data:\n\n", ": ping\n\n", "data: {\"object\":\"of.tomorrow\"}\n\n", "event: x\ndata: {}\n\n"].concat();
    let stream = format!("{}{forgiven}{}{end}data: <html>\n\n", text("one"), text("two"));
    let told = String::from_utf8(streamed(&back, stream.as_bytes())).expect("UTF-8");
    assert!(told.contains("two") && told.contains("message_stop"), "{told}");
    assert!(back.stream_as_whole(stream.as_bytes()).is_some(), "what follows the end is not read");
}

#[test]
fn calls_of_tools_that_take_text_are_what_the_caller_offered() {
    let offered = json!({ "stream": true, "tools": [{ "type": "custom", "custom": { "name": "patch" } }] });
    let back = back_with(OpenAiChat, AnthropicMessages, &offered);
    let answer = json!({ "id": "msg_1", "type": "message", "role": "assistant", "stop_reason": "tool_use", "content": [
        { "type": "tool_use", "id": "toolu_1", "name": "patch", "input": { "input": "*** Begin\n" } },
        { "type": "tool_use", "id": "toolu_2", "name": "other", "input": {} },
    ] });
    let calls = json!([
        { "id": "toolu_1", "type": "custom", "custom": { "name": "patch", "input": "*** Begin\n" } },
        { "id": "toolu_2", "type": "function", "function": { "name": "other", "arguments": "{}" } },
    ]);
    let answer = answer.to_string();
    let whole = parsed(back.whole(answer.as_bytes()).expect("an answer"));
    assert_eq!(whole["choices"][0]["message"]["tool_calls"], calls);
    let stream = AnthropicMessages.whole_as_stream(200, answer.as_bytes(), false);
    for stream in [back.whole_as_stream(answer.as_bytes()).expect("a stream"), streamed(&back, &stream)] {
        let together = parsed(OpenAiChat.collect_stream(&stream).expect("a stream"));
        assert_eq!(together["choices"][0]["message"]["tool_calls"], calls);
    }
}

fn streamed(back: &Translation, stream: &[u8]) -> Vec<u8> {
    let mut translation = back.stream();
    let mut out = Vec::new();
    translation.feed(stream, &mut out);
    translation.finish(&mut out);
    assert!(translation.ended());
    out
}

#[test]
fn stops_that_a_provider_was_not_told_end_the_answer_all_the_same() {
    let stops = json!({ "stop_sequences": ["one", "two", "three", "four", "END"] });
    let back = back_with(AnthropicMessages, OpenAiChat, &stops);
    let answer = json!({ "id": "c1", "choices": [{ "index": 0, "message": { "content": "It is the END of it" }, "finish_reason": "stop" }],
        "usage": { "prompt_tokens": 1, "completion_tokens": 9 } });
    let whole = parsed(back.whole(answer.to_string().as_bytes()).expect("an answer"));
    assert_eq!(whole["content"], json!([{ "type": "text", "text": "It is the " }]));
    assert_eq!((&whole["stop_reason"], &whole["stop_sequence"]), (&json!("stop_sequence"), &json!("END")));
    assert_eq!(whole["usage"]["output_tokens"], 9);
    let stream = chunks(&[
        delta(json!({ "content": "It is the E" })),
        delta(json!({ "content": "ND" })),
        delta(json!({ "content": " of it" })),
        json!({ "index": 0, "delta": {}, "finish_reason": "stop", "usage": { "prompt_tokens": 1, "completion_tokens": 9 } }),
    ]);
    let together = parsed(AnthropicMessages.collect_stream(&streamed(&back, stream.as_bytes())).expect("a stream"));
    assert_eq!(together, whole);
}

#[test]
fn tools_with_names_that_did_not_fit_are_called_by_their_own() {
    let name = format!("mcp__{}", "server".repeat(20));
    let tools = json!({ "tools": [{ "name": name, "input_schema": { "type": "object" } }] });
    let mut body = json!({ "model": "mine", "max_tokens": 100, "messages": [{ "role": "user", "content": "Hi" }] });
    body.as_object_mut().expect("an object").extend(tools.as_object().expect("an object").clone());
    let request = InferenceRequest::parse(AnthropicMessages, Bytes::from(body.to_string())).expect("a request");
    let translated = request.translate(OpenAiChat, &Encoding::of("m"), "req1", 7).expect("translated");
    let asked: Value = serde_json::from_slice(&translated.bytes).expect("JSON");
    let written = &asked["tools"][0]["function"]["name"];
    assert!(written.as_str().is_some_and(|written| written.len() <= 64));
    let stream = chunks(&[call(json!({ "index": 0, "id": "a", "function": { "name": written, "arguments": "{}" } }))]);
    let whole = parsed(translated.back.stream_as_whole(stream.as_bytes()).expect("an answer"));
    assert_eq!(whole["content"][0]["name"], name);
}

#[test]
fn anthropics_deviations_are_read() {
    let back = back(OpenAiChat, AnthropicMessages);
    let event = |kind: &str, mut data: Value| {
        data["type"] = kind.into();
        format!("event: {kind}\ndata: {data}\n\n")
    };
    let block =
        |index: u64, block: Value| event("content_block_start", json!({ "index": index, "content_block": block }));
    let piece = |index: u64, delta: Value| event("content_block_delta", json!({ "index": index, "delta": delta }));
    let stop = |index: u64| event("content_block_stop", json!({ "index": index }));
    let stream = [
        event(
            "message_start",
            json!({ "message": { "id": "msg_1", "model": "x", "usage": { "input_tokens": 4, "output_tokens": 1 } } }),
        ),
        event("ping", json!({})),
        // A call that begins whole, one that comes in pieces while it is open, and one of the vendor's own.
        block(0, json!({ "type": "tool_use", "id": "a", "name": "x", "input": { "n": 1 } })),
        block(1, json!({ "type": "tool_use", "id": "b", "name": "y", "input": {} })),
        piece(1, json!({ "type": "input_json_delta", "partial_json": "{\"n\":" })),
        stop(0),
        piece(1, json!({ "type": "input_json_delta", "partial_json": "2}" })),
        stop(1),
        block(2, json!({ "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} })),
        piece(2, json!({ "type": "input_json_delta", "partial_json": "{}" })),
        stop(2),
        block(3, json!({ "type": "text", "text": "" })),
        piece(3, json!({ "type": "text_delta", "text": "So" })),
        piece(3, json!({ "type": "new_delta", "x": 1 })),
        event("message_delta", json!({ "delta": { "stop_reason": "end_turn" }, "usage": { "output_tokens": 9 } })),
        event("message_delta", json!({ "delta": { "stop_reason": null }, "usage": { "output_tokens": 0 } })),
        event("message_stop", json!({})),
    ]
    .concat();
    let whole = parsed(back.stream_as_whole(stream.as_bytes()).expect("an answer"));
    let message = &whole["choices"][0]["message"];
    assert_eq!(message["content"], "So");
    let function = |id: &str, name: &str, arguments: &str| json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } });
    assert_eq!(message["tool_calls"], json!([function("a", "x", "{\"n\":1}"), function("b", "y", "{\"n\":2}")]));
    assert_eq!(whole["choices"][0]["finish_reason"], "tool_calls");
    assert_eq!(whole["usage"]["completion_tokens"], 9);
    let mut tap = AnswerTap::new(AnthropicMessages, true, 0, 0);
    tap.feed(stream.as_bytes());
    assert_eq!(tap.finish().usage.output_tokens, Some(9));
    let together = parsed(OpenAiChat.collect_stream(&streamed(&back, stream.as_bytes())).expect("a stream"));
    assert_eq!(together["choices"][0]["message"]["tool_calls"], message["tool_calls"]);
}

#[test]
fn probabilities_are_told() {
    let asked = json!({ "stream": true, "logprobs": true, "top_logprobs": 1 });
    // Between servers of one format nothing is translated, so the words are read back by the format that wrote them.
    let token = json!({ "token": "So", "logprob": -0.5, "bytes": [83, 111], "top_logprobs": [{ "token": "So", "logprob": -0.5, "bytes": [83, 111] }] });
    let answer = json!({ "id": "c", "choices": [{ "index": 0, "message": { "content": "So" }, "logprobs": { "content": [token] }, "finish_reason": "stop" }] });
    let back = back_with(OpenAiChat, OpenAiChat, &asked);
    let whole = parsed(back.whole(answer.to_string().as_bytes()).expect("an answer"));
    assert_eq!(whole["choices"][0]["logprobs"]["content"], json!([token]));
    let stream = back.whole_as_stream(answer.to_string().as_bytes()).expect("a stream");
    let together = parsed(OpenAiChat.collect_stream(&stream).expect("a stream"));
    assert_eq!(together["choices"][0]["logprobs"]["content"], json!([token]));
}
