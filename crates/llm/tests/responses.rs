//! What OpenAI Responses says that others say otherwise, on the way to a provider and back.

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_llm::neutral::Encoding;
use systemprompt_llm::{ErrorAnswer, Format, InferenceRequest, Translated, Translation, TranslationError};

use Format::{AnthropicMessages, OpenAiChat, OpenAiResponses};

fn translate(caller: Format, to: Format, model: &str, body: &Value) -> Result<(Value, Translated), TranslationError> {
    let request = InferenceRequest::parse(caller, Bytes::from(body.to_string())).expect("a request");
    let translated = request.translate(to, &Encoding::of(model), "req1", 7)?;
    Ok((serde_json::from_slice(&translated.bytes).expect("JSON"), translated))
}

/// A request of a caller of this format, with these fields beside its model.
fn asked_by(caller: Format, to: Format, model: &str, fields: &Value) -> (Value, Vec<String>) {
    let mut body = json!({ "model": "mine" });
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let (asked, translated) = translate(caller, to, model, &body).unwrap_or_else(|error| panic!("{error}: {body}"));
    let losses = translated.losses.into_iter().map(|loss| format!("{} {}", loss.field, loss.treatment.as_str()));
    (asked, losses.collect())
}

fn claude(fields: &Value) -> (Value, Vec<String>) {
    asked_by(OpenAiResponses, AnthropicMessages, "claude-sonnet-4-5", fields)
}

fn gpt(model: &str, fields: &Value) -> (Value, Vec<String>) {
    let mut body = json!({ "max_tokens": 100, "messages": [{ "role": "user", "content": "Hi" }] });
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    asked_by(AnthropicMessages, OpenAiResponses, model, &body)
}

fn back(caller: Format, provider: Format) -> Translation {
    let body = match caller {
        OpenAiResponses => json!({ "model": "mine", "input": "Hi", "temperature": 0.25, "metadata": { "a": "b" } }),
        _ => json!({ "model": "mine", "max_tokens": 100, "messages": [{ "role": "user", "content": "Hi" }] }),
    };
    translate(caller, provider, "m", &body).expect("a translation").1.back
}

#[test]
fn what_means_nothing_without_the_vendor_is_refused_or_told() {
    let refused = |fields: Value| {
        let mut body = json!({ "model": "mine", "input": "x" });
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        translate(OpenAiResponses, AnthropicMessages, "claude-sonnet-4-5", &body).expect_err("refused").to_string()
    };
    for (fields, field) in [
        (json!({ "prompt": { "id": "pmpt_1" } }), "`prompt`"),
        (json!({ "input": [{ "type": "compaction", "encrypted_content": "x" }] }), "`input[0]`"),
        (json!({ "tools": [{ "type": "code_interpreter", "container": { "type": "auto" } }] }), "`tools[0]`"),
        (json!({ "tool_choice": { "type": "mcp", "server_label": "s" } }), "`tool_choice`"),
        (
            json!({ "input": [{ "role": "user", "content": [{ "type": "input_image", "file_id": "f" }] }] }),
            "`messages`",
        ),
        (json!({ "input": [{ "role": "user", "content": [{ "type": "input_text" }] }] }), "`input[0].content[0].text`"),
        (json!({ "input": [{ "type": "function_call", "name": "n" }] }), "`input[0].call_id`"),
        (json!({ "input": [{ "role": "critic", "content": "x" }] }), "`input[0].role`"),
        (json!({ "tools": [{ "name": "n" }] }), "`tools[0].type`"),
        (json!({ "tool_choice": "some" }), "`tool_choice`"),
    ] {
        let error = refused(fields);
        assert!(error.starts_with(field), "{error}");
    }
    let (asked, losses) = claude(&json!({
        "input": [{ "role": "user", "content": "x" }, { "type": "web_search_call", "id": "w", "status": "completed" }],
        "truncation": "auto", "service_tier": "flex", "client_metadata": { "a": "b" }, "store": true, "new": 1,
        "include": ["web_search_call.action.sources"], "top_logprobs": 0,
    }));
    assert_eq!(asked["messages"].as_array().map(Vec::len), Some(1));
    for lost in ["truncation dropped", "client_metadata dropped", "store dropped", "new dropped", "include[0] dropped"]
    {
        assert!(losses.iter().any(|loss| loss == lost), "{lost}: {losses:?}");
    }
}

#[test]
fn tools_are_chosen_in_every_form() {
    let tools = json!([
        { "type": "function", "name": "a", "parameters": { "type": "object" } },
        { "type": "namespace", "name": "ns", "description": "d", "tools": [
            { "type": "function", "name": "b", "parameters": { "type": "object" } },
            { "type": "custom", "name": "c" }] },
        { "type": "shell", "environment": { "type": "local" } },
    ]);
    for (choice, expected) in [
        (json!("required"), json!({ "type": "any" })),
        (json!("none"), json!({ "type": "none" })),
        (json!({ "type": "function", "name": "a" }), json!({ "type": "tool", "name": "a" })),
        (json!({ "type": "custom", "namespace": "ns", "name": "c" }), json!({ "type": "tool", "name": "ns__c" })),
        (json!({ "type": "shell" }), json!({ "type": "tool", "name": "shell" })),
        (
            json!({ "type": "allowed_tools", "mode": "required", "tools": [{ "type": "function", "name": "a" }] }),
            json!({ "type": "any" }),
        ),
    ] {
        let (asked, _) = claude(&json!({ "input": "x", "tools": tools, "tool_choice": choice }));
        assert_eq!(asked["tool_choice"], expected, "{choice}");
    }
    for kept in
        [json!({ "external_web_access": false }), json!({ "external_web_access": true, "indexed_web_access": true })]
    {
        let mut search = kept.clone();
        search["type"] = "web_search".into();
        let (asked, losses) = claude(&json!({ "input": "x", "tools": [search] }));
        assert!(asked.get("tools").is_none() && losses.len() == 1, "what the vendor keeps is not the web: {kept}");
    }
    let only = json!({ "type": "allowed_tools", "mode": "auto", "tools": [{ "type": "function", "name": "a" }] });
    let (asked, _) = claude(&json!({ "input": "x", "tools": tools, "tool_choice": only }));
    let names: Vec<&str> =
        asked["tools"].as_array().expect("tools").iter().filter_map(|t| t["name"].as_str()).collect();
    assert_eq!(names, ["a"], "only what may be called is offered");
}

#[test]
fn results_come_in_every_form() {
    let call = |id: &str| json!({ "type": "function_call", "call_id": id, "name": "t", "arguments": "{}" });
    let output = |id: &str, output: Value| json!({ "type": "function_call_output", "call_id": id, "output": output });
    let (asked, _) = claude(&json!({ "input": [
        { "role": "user", "content": "x" },
        call("a"), call("b"), call("c"),
        { "type": "shell_call", "call_id": "d", "action": { "commands": ["ls"] } },
        { "type": "apply_patch_call", "call_id": "e", "operation": { "type": "delete_file", "path": "f" }, "status": "completed" },
        output("a", json!("plain")),
        output("b", json!({ "content": "broken", "success": false })),
        output("c", json!([{ "type": "input_text", "text": "one" }])),
        { "type": "shell_call_output", "call_id": "d", "output": [{ "stdout": "f", "stderr": "", "outcome": { "type": "exit", "exit_code": 0 } }] },
        { "type": "apply_patch_call_output", "call_id": "e", "status": "failed", "output": "no such file" },
    ] }));
    let calls = asked["messages"][1]["content"].as_array().expect("calls");
    assert_eq!(calls[3]["input"], json!({ "commands": ["ls"] }));
    assert_eq!(calls[4]["input"], json!({ "type": "delete_file", "path": "f" }));
    let results = asked["messages"][2]["content"].as_array().expect("results");
    let told: Vec<(&str, bool)> = results
        .iter()
        .map(|result| {
            let text = result["content"][0]["text"].as_str().expect("text");
            (text, result["is_error"] == true)
        })
        .collect();
    assert_eq!(told[..3], [("plain", false), ("broken", true), ("one", false)]);
    assert!(told[3].0.contains("\"stdout\":\"f\"") && !told[3].1);
    assert_eq!(told[4], ("no such file", true));
}

#[test]
fn a_provider_of_this_format_is_asked_in_its_words() {
    let (asked, losses) = gpt(
        "gpt-5.2",
        &json!({
            "system": "s", "temperature": 1, "top_k": 4, "stop_sequences": ["END"],
            "thinking": { "type": "enabled", "budget_tokens": 20_000 },
            "tools": [{ "name": "t", "input_schema": { "type": "object" } },
                { "type": "web_search_20250305", "name": "web_search", "max_uses": 3, "allowed_domains": ["a.example"] }],
            "tool_choice": { "type": "tool", "name": "t", "disable_parallel_tool_use": true },
            "messages": [{ "role": "user", "content": [{ "type": "text", "text": "Read" },
                { "type": "document", "source": { "type": "base64", "media_type": "application/pdf", "data": "JVBE" }, "title": "a.pdf" },
                { "type": "document", "source": { "type": "text", "media_type": "text/plain", "data": "words" } }] }],
        }),
    );
    assert_eq!((&asked["store"], &asked["instructions"]), (&json!(false), &json!("s")));
    assert_eq!(asked["reasoning"]["effort"], "high");
    assert_eq!(asked["include"], json!(["reasoning.encrypted_content"]));
    assert_eq!(asked["tools"][0]["strict"], false, "it would be if nothing were said");
    assert_eq!(asked["tools"][1], json!({ "type": "web_search", "filters": { "allowed_domains": ["a.example"] } }));
    assert_eq!((&asked["max_tool_calls"], &asked["parallel_tool_calls"]), (&json!(3), &json!(false)));
    assert_eq!(asked["tool_choice"], json!({ "type": "function", "name": "t" }));
    let content = &asked["input"][0]["content"];
    assert_eq!(
        content[1],
        json!({ "type": "input_file", "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE" })
    );
    assert_eq!(content[2], json!({ "type": "input_text", "text": "words" }));
    assert!(asked.get("temperature").is_none(), "a model that thinks takes none");
    assert_eq!(losses, ["top_k dropped"]);

    let (asked, losses) = gpt("gpt-4o", &json!({ "temperature": 0.5, "max_tokens": 1 }));
    assert_eq!((&asked["temperature"], &asked["max_output_tokens"]), (&json!(0.5), &json!(16)));
    assert!(asked.get("include").is_none() && losses.is_empty(), "{asked}");

    let (asked, losses) = gpt(
        "m",
        &json!({ "messages": [{ "role": "user", "content": "Say" }, { "role": "assistant", "content": "I" }] }),
    );
    assert_eq!(asked["input"].as_array().map(Vec::len), Some(3), "it is asked to go on");
    assert_eq!(losses, ["messages approximated"]);
}

/// An event of a provider.
fn event(kind: &str, more: Value) -> String {
    let mut data = more;
    data["type"] = kind.into();
    format!("event: {kind}\ndata: {data}\n\n")
}

fn streamed(back: &Translation, stream: &str) -> String {
    let mut translation = back.stream();
    let mut out = Vec::new();
    translation.feed(stream.as_bytes(), &mut out);
    translation.finish(&mut out);
    assert!(translation.ended(), "{}", String::from_utf8_lossy(&out));
    String::from_utf8(out).expect("UTF-8")
}

/// What an Anthropic caller is told of a provider's stream.
fn told(stream: &str) -> Value {
    let out = streamed(&back(AnthropicMessages, OpenAiResponses), stream);
    let whole = AnthropicMessages.collect_stream(out.as_bytes()).unwrap_or_else(|| panic!("{out}"));
    serde_json::from_slice(&whole).expect("JSON")
}

fn completed(output: Value) -> String {
    event(
        "response.completed",
        json!({ "response": { "id": "resp_1", "status": "completed", "output": output,
        "usage": { "input_tokens": 3, "output_tokens": 4 } } }),
    )
}

#[test]
fn compatible_servers_are_understood() {
    let message = json!({ "type": "message", "id": "m", "content": [{ "type": "output_text", "text": "Yes" }] });
    let call = json!({ "type": "function_call", "id": "f", "call_id": "c", "name": "t", "arguments": "{\"a\":1}" });
    let both =
        json!([{ "type": "text", "text": "Yes" }, { "type": "tool_use", "id": "c", "name": "t", "input": { "a": 1 } }]);
    let done =
        |index: u64, item: &Value| event("response.output_item.done", json!({ "output_index": index, "item": item }));
    let added =
        |index: u64, item: &Value| event("response.output_item.added", json!({ "output_index": index, "item": item }));
    let delta = |kind: &str, index: u64, delta: &str| {
        event(kind, json!({ "output_index": index, "content_index": 0, "delta": delta }))
    };
    let mut begun = call.clone();
    begun["arguments"] = "".into();
    for (what, stream) in [
        ("all of it at the end", completed(json!([message, call]))),
        ("items whole", done(0, &message) + &done(1, &call) + &completed(json!([]))),
        (
            "in pieces, with a word of another format at the end",
            delta("response.output_text.delta", 0, "Y")
                + &delta("response.output_text.delta", 0, "es")
                + &added(1, &begun)
                + &delta("response.function_call_arguments.delta", 1, "{\"a\"")
                + &delta("response.function_call_arguments.delta", 1, ":1}")
                + &completed(json!([]))
                + "data: [DONE]\n\n",
        ),
        (
            "mixed",
            added(1, &begun)
                + &delta("response.output_text.delta", 0, "Yes")
                + &event(
                    "response.function_call_arguments.done",
                    json!({ "output_index": 1, "arguments": "{\"a\":1}" }),
                )
                + &done(1, &call)
                + &done(0, &message)
                + &completed(json!([])),
        ),
    ] {
        let told = told(&stream);
        let mut content = told["content"].as_array().expect("content").clone();
        content.sort_by_key(|block| block["type"] == "tool_use");
        assert_eq!(Value::from(content), both, "{what}");
        assert_eq!((&told["stop_reason"], &told["usage"]["output_tokens"]), (&json!("tool_use"), &json!(4)), "{what}");
    }
    let thought = told(
        &(delta("response.reasoning_text.delta", 0, "I th")
            + &delta("response.reasoning_text.delta", 0, "ink")
            + &done(
                0,
                &json!({ "type": "reasoning", "id": "r", "summary": [], "content": [{ "type": "reasoning_text", "text": "I think" }] }),
            )
            + &completed(json!([]))),
    );
    assert_eq!(thought["content"][0]["thinking"], "I think");
}

#[test]
fn a_stream_that_fails_or_breaks_off_has_no_clean_end() {
    let begun = event("response.created", json!({ "response": { "id": "resp_1", "status": "in_progress" } }))
        + &event("response.output_text.delta", json!({ "output_index": 0, "content_index": 0, "delta": "half" }));
    for end in [
        event("error", json!({ "code": "server_error", "message": "gone", "param": null })),
        event(
            "response.failed",
            json!({ "response": { "status": "failed", "error": { "code": "server_error", "message": "gone" } } }),
        ),
    ] {
        let out = streamed(&back(AnthropicMessages, OpenAiResponses), &(begun.clone() + &end));
        assert!(out.contains("event: error") && out.contains("gone") && !out.contains("message_stop"), "{out}");
    }
    let mut cut = back(AnthropicMessages, OpenAiResponses).stream();
    let mut out = Vec::new();
    cut.feed(begun.as_bytes(), &mut out);
    cut.finish(&mut out);
    assert!(!cut.ended() && !String::from_utf8_lossy(&out).contains("message_stop"));

    let mut cut = back(OpenAiResponses, OpenAiChat).stream();
    let mut out = Vec::new();
    cut.feed(b"data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"half\"}}]}\n\n", &mut out);
    cut.finish(&mut out);
    cut.fail(&ErrorAnswer::upstream_interrupted("gone"), &mut out);
    let out = String::from_utf8(out).expect("UTF-8");
    assert!(out.contains("event: response.failed") && !out.contains("event: response.completed"), "{out}");
    let numbers: Vec<&str> =
        out.split("\"sequence_number\":").skip(1).filter_map(|rest| rest.split(',').next()).collect();
    let counted: Vec<String> = (0..numbers.len()).map(|number| number.to_string()).collect();
    assert_eq!(numbers, counted);
}

#[test]
fn a_caller_of_this_format_is_told_what_it_knows() {
    let chat = json!({
        "id": "chatcmpl-1", "object": "chat.completion", "model": "m", "service_tier": "flex",
        "choices": [{ "index": 0, "finish_reason": "length", "logprobs": { "content": [
                { "token": "Hé", "logprob": -0.5, "top_logprobs": [{ "token": "Ha", "logprob": -1.5 }] }] },
            "message": { "role": "assistant", "content": "Hé", "annotations": [{ "type": "url_citation",
                "url_citation": { "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2 } }] } }],
        "usage": { "prompt_tokens": 10, "completion_tokens": 4, "total_tokens": 14, "prompt_tokens_details": { "cached_tokens": 6 } },
    });
    let back = back(OpenAiResponses, OpenAiChat);
    let told: Value =
        serde_json::from_slice(&back.whole(chat.to_string().as_bytes()).expect("an answer")).expect("JSON");
    assert_eq!((&told["id"], &told["model"], &told["created_at"]), (&json!("resp_1"), &json!("mine"), &json!(7)));
    assert_eq!(
        (&told["temperature"], &told["metadata"], &told["store"]),
        (&json!(0.25), &json!({ "a": "b" }), &json!(false))
    );
    assert_eq!(
        (&told["status"], &told["incomplete_details"]),
        (&json!("incomplete"), &json!({ "reason": "max_output_tokens" }))
    );
    assert_eq!((&told["service_tier"], &told["output"][0]["status"]), (&json!("flex"), &json!("incomplete")));
    let part = &told["output"][0]["content"][0];
    let citation =
        json!({ "type": "url_citation", "url": "https://a.example", "title": "A", "start_index": 0, "end_index": 2 });
    assert_eq!(part["annotations"], json!([citation]));
    assert_eq!(part["logprobs"][0]["bytes"], json!([72, 195, 169]));
    assert_eq!(part["logprobs"][0]["top_logprobs"][0]["token"], "Ha");
    let usage = json!({ "input_tokens": 10, "input_tokens_details": { "cached_tokens": 6, "cache_write_tokens": 0 },
        "output_tokens": 4, "output_tokens_details": { "reasoning_tokens": 0 }, "total_tokens": 14 });
    assert_eq!(told["usage"], usage);
    let stream = OpenAiChat.whole_as_stream(200, chat.to_string().as_bytes(), true);
    let stream = streamed(&back, std::str::from_utf8(&stream).expect("UTF-8"));
    let collected = OpenAiResponses.collect_stream(stream.as_bytes()).expect("a stream");
    assert_eq!(serde_json::from_slice::<Value>(&collected).expect("JSON"), told, "whole and streamed are the same");
    assert!(stream.contains("response.output_text.annotation.added"));
}

#[test]
fn what_is_told_grows_with_what_was_said() {
    // Twice as many pieces, twice as long: nothing is repeated with each of them.
    let length = |pieces: usize| {
        let piece = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"piece \"}}]}\n\n";
        let end = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DONE]\n\n";
        streamed(&back(OpenAiResponses, OpenAiChat), &(piece.repeat(pieces) + end)).len()
    };
    let (one, two, four) = (length(1000), length(2000), length(4000));
    let (first, second) = (two - one, four - two);
    assert!(second < first * 21 / 10, "{first} and {second}");
}
