//! A session of Codex CLI with providers that speak another format: what it sends, what it is told, and what it sends back.
//!
//! It asks for nothing to be kept, so it sends everything again with each request, items without their ids.

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_llm::neutral::Encoding;
use systemprompt_llm::{AnswerTap, Format, InferenceRequest, StopReason, Translated};

/// The settings of each of its requests, with one tool of every kind.
fn request(input: &[Value]) -> InferenceRequest {
    let body = json!({
        "model": "codex-model",
        "instructions": "You are Codex.",
        "input": input,
        "tools": [
            { "type": "function", "name": "exec_command", "description": "Runs a command.", "strict": false,
                "parameters": { "type": "object", "properties": { "cmd": { "type": "string" } }, "required": ["cmd"] } },
            { "type": "custom", "name": "apply_patch", "description": "Patches files.",
                "format": { "type": "grammar", "syntax": "lark", "definition": "start: begin" } },
            { "type": "local_shell" },
            { "type": "tool_search", "execution": "client", "description": "Finds tools.",
                "parameters": { "type": "object", "properties": { "query": { "type": "string" } } } },
            { "type": "namespace", "name": "mcp__docs", "description": "Docs.", "tools": [
                { "type": "function", "name": "search", "parameters": { "type": "object" } }] },
            { "type": "web_search", "external_web_access": false },
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": true,
        "reasoning": { "effort": "medium", "summary": "auto" },
        "store": false,
        "stream": true,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "thread-1",
        "text": { "verbosity": "low" },
        "client_metadata": { "x": "y" },
    });
    let body = serde_json::to_string_pretty(&body).expect("JSON");
    InferenceRequest::parse(Format::OpenAiResponses, Bytes::from(body)).expect("a request")
}

fn translated(request: &InferenceRequest, to: Format) -> (Value, Translated) {
    let model = if to == Format::AnthropicMessages { "claude-sonnet-4-5" } else { "some-model" };
    let encoding = Encoding { max_output_tokens: Some(64_000), ..Encoding::of(model) };
    let translated = request.translate(to, &encoding, "req", 7).unwrap_or_else(|error| panic!("{to}: {error}"));
    (serde_json::from_slice(&translated.bytes).expect("JSON"), translated)
}

/// The items that Codex takes from a stream: whole, without their ids. What is no event of its own is nothing to it.
fn items(stream: &[u8]) -> Vec<Value> {
    let stream = std::str::from_utf8(stream).expect("UTF-8");
    let mut items = Vec::new();
    let mut last = String::new();
    for (number, event) in stream.split_terminator("\n\n").enumerate() {
        let (kind, data) = event.strip_prefix("event: ").and_then(|event| event.split_once('\n')).expect("an event");
        assert!(!data.contains('\n'), "the data is one line");
        let mut data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
        assert_eq!((&data["type"], &data["sequence_number"]), (&json!(kind), &json!(number)));
        if kind == "response.output_item.done" {
            let item = data["item"].as_object_mut().expect("an item");
            assert!(item.remove("id").is_some());
            items.push(data["item"].take());
        }
        kind.clone_into(&mut last);
    }
    assert_eq!(last, "response.completed");
    items
}

/// What a provider answers: a thought, a word, and a call of every kind of tool.
fn answer(format: Format) -> Value {
    let calls = [
        ("call_1", "exec_command", json!({ "cmd": "ls" })),
        ("call_2", "apply_patch", json!({ "input": "*** Begin Patch\n+ü \"x\"\n*** End Patch" })),
        ("call_3", "mcp__docs__search", json!({ "q": 1 })),
        ("call_4", "local_shell", json!({ "command": ["ls", "-l"], "timeout_ms": 5 })),
        ("call_5", "tool_search", json!({ "query": "calendar" })),
    ];
    if format == Format::AnthropicMessages {
        let mut content = vec![
            json!({ "type": "thinking", "thinking": "I plan.", "signature": "EqQB==" }),
            json!({ "type": "redacted_thinking", "data": "secret" }),
            json!({ "type": "text", "text": "I look." }),
        ];
        let calls =
            calls.map(|(id, name, input)| json!({ "type": "tool_use", "id": id, "name": name, "input": input }));
        content.extend(calls);
        json!({
            "id": "msg_1", "type": "message", "role": "assistant", "model": "claude", "content": content,
            "stop_reason": "tool_use", "stop_sequence": null, "usage": { "input_tokens": 9, "output_tokens": 4 },
        })
    } else {
        let calls = calls.map(|(id, name, input)| {
            let function = json!({ "name": name, "arguments": input.to_string() });
            json!({ "id": id, "type": "function", "function": function })
        });
        let message = json!({
            "role": "assistant", "content": "I look.", "reasoning_content": "I plan.", "tool_calls": calls,
        });
        json!({
            "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [{ "index": 0, "message": message, "finish_reason": "tool_calls" }],
            "usage": { "prompt_tokens": 9, "completion_tokens": 4, "total_tokens": 13 },
        })
    }
}

#[test]
fn a_session_with_tools_of_every_kind_goes_on() {
    for provider in [Format::AnthropicMessages, Format::OpenAiChat] {
        let mut input = vec![
            json!({ "type": "message", "role": "developer", "content": [{ "type": "input_text", "text": "Sandbox." }] }),
            json!({ "type": "message", "role": "user", "content": [{ "type": "input_text", "text": "Go" }] }),
        ];
        let (asked, Translated { losses, back, .. }) = translated(&request(&input), provider);
        let names: Vec<&str> = asked["tools"]
            .as_array()
            .expect("tools")
            .iter()
            .map(|tool| tool["name"].as_str().or(tool["function"]["name"].as_str()).or(tool["custom"]["name"].as_str()))
            .map(|name| name.expect("a name"))
            .collect();
        assert_eq!(names, ["exec_command", "apply_patch", "local_shell", "tool_search", "mcp__docs__search"]);
        // A search of what OpenAI has kept is not a search of the web.
        assert!(losses.iter().any(|loss| loss.field == "tools[5].external_web_access"), "{losses:?}");

        let answer = answer(provider).to_string();
        let stream = provider.whole_as_stream(200, answer.as_bytes(), true);
        let mut told = Vec::new();
        let mut translation = back.stream();
        for piece in stream.chunks(11) {
            translation.feed(piece, &mut told);
        }
        translation.finish(&mut told);
        assert!(translation.ended());
        let items = items(&told);
        let calls: Vec<&Value> = items.iter().filter(|item| item["call_id"].is_string()).collect();
        let kinds: Vec<&str> = calls.iter().map(|call| call["type"].as_str().expect("a type")).collect();
        assert_eq!(
            kinds,
            ["function_call", "custom_tool_call", "function_call", "local_shell_call", "tool_search_call"],
            "{provider}"
        );
        assert_eq!(calls[0]["arguments"], json!({ "cmd": "ls" }).to_string());
        assert_eq!(calls[1]["input"], "*** Begin Patch\n+ü \"x\"\n*** End Patch");
        assert_eq!((&calls[2]["namespace"], &calls[2]["name"]), (&json!("mcp__docs"), &json!("search")));
        let action = json!({ "type": "exec", "command": ["ls", "-l"], "timeout_ms": 5, "env": {} });
        assert_eq!(calls[3]["action"], action);
        let (arguments, execution) = (&calls[4]["arguments"], &calls[4]["execution"]);
        assert_eq!((arguments, execution), (&json!({ "query": "calendar" }), &json!("client")));
        let mut tap = AnswerTap::new(Format::OpenAiResponses, true, 100, 100);
        tap.feed(&told);
        let summary = tap.finish();
        assert_eq!((summary.complete, summary.stop_reason), (true, Some(StopReason::ToolUse)));
        assert_eq!((summary.tool_calls.len(), summary.usage.total()), (5, 13));
        let whole = back.whole(answer.as_bytes()).expect("an answer");
        let whole: Value = serde_json::from_slice(&whole).expect("JSON");
        assert_eq!(whole["output"].as_array().map(Vec::len), Some(items.len()));

        let output =
            |id: &str| json!({ "type": "function_call_output", "call_id": id, "output": format!("result of {id}") });
        input.extend(items);
        input.push(output("call_1"));
        input.push(json!({ "type": "custom_tool_call_output", "call_id": "call_2", "output": "Done!" }));
        input.push(output("call_4"));
        input.push(output("call_3"));
        input.push(json!({ "type": "tool_search_output", "call_id": "call_5", "execution": "client", "status": "completed",
            "tools": [{ "type": "namespace", "name": "mcp__calendar__", "description": "d", "tools": [
                { "type": "function", "name": "create", "defer_loading": true, "parameters": { "type": "object" } }] }] }));
        let (asked, Translated { back, .. }) = translated(&request(&input), provider);
        let asked_text = asked.to_string();
        assert!(asked_text.contains("mcp__calendar__create"), "what was found can be called: {asked_text}");
        for id in ["call_1", "call_3", "call_4"] {
            assert!(asked_text.contains(&format!("result of {id}")), "{asked_text}");
        }
        if provider == Format::AnthropicMessages {
            let said = &asked["messages"][1]["content"];
            assert_eq!(said[0], json!({ "type": "thinking", "thinking": "I plan.", "signature": "EqQB==" }));
            assert_eq!(said[1], json!({ "type": "redacted_thinking", "data": "secret" }));
            assert_eq!(said[4]["input"], json!({ "input": "*** Begin Patch\n+ü \"x\"\n*** End Patch" }));
            let results = asked["messages"][2]["content"].as_array().expect("results");
            let ids: Vec<&str> = results.iter().filter_map(|result| result["tool_use_id"].as_str()).collect();
            assert_eq!(ids, ["call_1", "call_2", "call_3", "call_4", "call_5"]);
        }
        // The tool that was found is called by its own name.
        let flat = "mcp__calendar__create";
        let answer = answer_with(provider, flat).to_string();
        let whole: Value = serde_json::from_slice(&back.whole(answer.as_bytes()).expect("an answer")).expect("JSON");
        let call = &whole["output"][0];
        assert_eq!((&call["namespace"], &call["name"]), (&json!("mcp__calendar__"), &json!("create")));
    }
}

fn answer_with(format: Format, name: &str) -> Value {
    match format {
        Format::AnthropicMessages => json!({
            "id": "msg_2", "type": "message", "role": "assistant", "model": "claude",
            "content": [{ "type": "tool_use", "id": "call_9", "name": name, "input": {} }],
            "stop_reason": "tool_use", "usage": { "input_tokens": 1, "output_tokens": 1 },
        }),
        _ => json!({
            "id": "chatcmpl-2", "object": "chat.completion", "model": "m",
            "choices": [{ "index": 0, "finish_reason": "tool_calls", "message": { "role": "assistant", "content": null,
                "tool_calls": [{ "id": "call_9", "type": "function", "function": { "name": name, "arguments": "{}" } }] } }],
        }),
    }
}
