//! The demo model speaks every format so well that our own reader of provider answers cannot tell the difference.

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_llm::demo::{self, DemoAnswer};
use systemprompt_llm::{Address, AnswerSummary, AnswerTap, Format, InferenceRequest, StopReason};

/// Gemini has a test of its own: its requests look like no others. In Bedrock Converse nobody asks.
const FORMATS: [Format; 3] = [Format::AnthropicMessages, Format::OpenAiChat, Format::OpenAiResponses];

fn answer(format: Format, rest: &Value) -> DemoAnswer {
    let mut body = json!({ "model": "demo-1", "max_tokens": 1000 });
    let members = body.as_object_mut().expect("an object");
    members.extend(rest.as_object().expect("an object").clone());
    if format == Format::OpenAiResponses {
        for (name, theirs) in [("messages", "input"), ("max_tokens", "max_output_tokens")] {
            let value = members.remove(name).expect("it is there");
            members.insert(theirs.to_owned(), value);
        }
    }
    demo::answer(&InferenceRequest::parse(format, Bytes::from(body.to_string())).expect("a request"))
}

fn tool(format: Format) -> Value {
    let schema = json!({
        "type": "object",
        "required": ["city", "unit", "days", "tags"],
        "properties": {
            "city": { "type": "string" },
            "unit": { "enum": ["celsius", "fahrenheit"] },
            "days": { "type": "integer", "minimum": 3 },
            "tags": { "type": "array", "items": { "type": "string" } },
            "never": { "type": "string" },
        },
    });
    match format {
        Format::AnthropicMessages => json!({ "name": "weather", "input_schema": schema }),
        Format::OpenAiResponses => json!({ "type": "function", "name": "weather", "parameters": schema }),
        _ => json!({ "type": "function", "function": { "name": "weather", "parameters": schema } }),
    }
}

fn read(format: Format, streamed: bool, bytes: &[u8]) -> AnswerSummary {
    let mut tap = AnswerTap::new(format, streamed, 8192, 8192);
    tap.feed(bytes);
    tap.end_of_stream();
    tap.finish()
}

/// Reads the answer as a provider's, buffered and streamed, and checks that both say what the demo model meant.
#[track_caller]
fn spoken(format: Format, answer: &DemoAnswer) -> AnswerSummary {
    let buffered = read(format, false, &answer.buffered(format, "1", 1_800_000_000));
    let events = answer.events(format, "1", 1_800_000_000);
    let streamed = read(format, true, &events.iter().flat_map(|event| event.bytes.to_vec()).collect::<Vec<_>>());
    assert_eq!(buffered, streamed);
    assert!(streamed.complete && streamed.error.is_none() && streamed.unreadable_events == 0);
    assert_eq!(streamed.text.head, answer.text);
    assert_eq!(streamed.model.as_deref(), Some(answer.model.as_str()));
    assert_eq!(streamed.usage.total(), answer.usage.total());
    assert_eq!(streamed.usage.output_tokens, answer.usage.output_tokens);
    streamed
}

#[test]
fn gemini_is_spoken_too() {
    let ask = |body: Value| {
        let address = Address { model: "demo-1".to_owned(), stream: false };
        let request = InferenceRequest::parse_addressed(Format::Gemini, Bytes::from(body.to_string()), address);
        demo::answer(&request.expect("a request"))
    };
    let user = json!({ "role": "user", "parts": [{ "text": "Hello" }, { "inlineData": { "mimeType": "image/png", "data": "aaaa" } }] });
    let plain = ask(json!({ "contents": [user] }));
    assert!(plain.text.contains("one image") && plain.text.contains("Hello"), "{}", plain.text);
    assert_eq!(spoken(Format::Gemini, &plain).stop_reason, Some(StopReason::EndTurn));

    let schema = json!({ "type": "OBJECT", "required": ["city"], "properties": { "city": { "type": "STRING" } } });
    let tools = json!([{ "functionDeclarations": [{ "name": "weather", "parameters": schema }] }]);
    let named = json!({ "functionCallingConfig": { "mode": "ANY", "allowedFunctionNames": ["weather"] } });
    let called = ask(json!({ "contents": [user], "tools": tools, "toolConfig": named }));
    let said = spoken(Format::Gemini, &called);
    assert_eq!((said.stop_reason, said.tool_calls[0].name.as_str()), (Some(StopReason::ToolUse), "weather"));
    assert_eq!(said.tool_calls[0].input_excerpt, r#"{"city":"Hello"}"#);
    let never = json!({ "functionCallingConfig": { "mode": "NONE" } });
    assert_eq!(ask(json!({ "contents": [user], "tools": tools, "toolConfig": never })).tool_call, None);

    let call = json!({ "role": "model", "parts": [{ "functionCall": { "name": "weather", "args": {} } }] });
    let result = json!({ "role": "user", "parts": [{ "functionResponse": { "name": "weather", "response": { "result": "rain" } } }] });
    let after = ask(json!({ "contents": [user, call, result], "tools": tools }));
    assert!(after.tool_call.is_none() && after.text.contains("rain"), "{}", after.text);
    let limited = ask(json!({ "contents": [user], "generationConfig": { "maxOutputTokens": 2 } }));
    assert_eq!(spoken(Format::Gemini, &limited).stop_reason, Some(StopReason::MaxTokens));
}

#[test]
fn the_same_prompt_has_the_same_answer_and_it_says_it_is_a_demo() {
    for format in FORMATS {
        let ask = |prompt: &str| answer(format, &json!({ "messages": [{ "role": "user", "content": prompt }] }));
        let first = ask("What does the Gate do?");
        assert_eq!(first, ask("What does the Gate do?"));
        assert_ne!(first.text, ask("What else does it do?").text);
        assert!(first.text.starts_with("This is the systemprompt demo model, not an AI"));
        assert!(first.text.contains("5 words (22 characters): “What does the Gate do?”"), "{}", first.text);
        assert_eq!(spoken(format, &first).stop_reason, Some(StopReason::EndTurn));
    }
}

#[test]
fn a_tool_that_the_prompt_names_is_called_once_and_its_result_used() {
    for format in FORMATS {
        let question = json!({ "role": "user", "content": "Weather in Köln?" });
        let call = answer(format, &json!({ "messages": [question], "tools": [tool(format)] }));
        let input = json!({ "city": "Weather in Köln?", "unit": "celsius", "days": 3, "tags": [] });
        assert_eq!(call.tool_call.as_ref().map(|call| &call.input), Some(&input));
        let read = spoken(format, &call);
        assert_eq!(read.stop_reason, Some(StopReason::ToolUse));
        assert_eq!(read.tool_calls[0].name, "weather");
        assert_eq!(serde_json::from_str::<Value>(&read.tool_calls[0].input_excerpt).expect("JSON"), input);

        let result = match format {
            Format::AnthropicMessages => json!({ "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "t", "content": [{ "type": "text", "text": "rain" }] },
            ] }),
            Format::OpenAiResponses => json!({ "type": "function_call_output", "call_id": "t", "output": "rain" }),
            _ => json!({ "role": "tool", "tool_call_id": "t", "content": "rain" }),
        };
        let last = answer(format, &json!({ "messages": [question, result], "tools": [tool(format)] }));
        assert_eq!(last.tool_call, None);
        assert!(last.text.contains("The tool answered: “rain”"));
        spoken(format, &last);
    }
}

/// A request of a coding assistant: many tools, reminders around what was typed, a system message at the end.
fn of_an_assistant(format: Format, said: &Value) -> DemoAnswer {
    let tools: Vec<Value> = ["Agent", "Bash", "Edit", "Read", "Task", "WebFetch", "Write", "mcp__github__create_issue"]
        .into_iter()
        .map(|name| {
            let schema =
                json!({"type": "object", "properties": {"command": {"type": "string"}}, "required": ["command"]});
            match format {
                Format::AnthropicMessages => json!({"name": name, "input_schema": schema}),
                Format::OpenAiResponses => json!({"type": "function", "name": name, "parameters": schema}),
                _ => json!({"type": "function", "function": {"name": name, "parameters": schema}}),
            }
        })
        .collect();
    let mut messages = vec![json!({"role": "user", "content": "an earlier question about Bash"})];
    messages.push(json!({"role": "assistant", "content": "an earlier answer"}));
    messages.extend(said.as_array().expect("messages").iter().cloned());
    messages.push(json!({"role": "system", "content": "Use the Bash tool where it helps."}));
    answer(format, &json!({"messages": messages, "tools": tools}))
}

#[test]
fn a_coding_assistant_comes_to_an_end() {
    let reminder = "<system-reminder>\nCall the Bash tool, use tools, Agent.\n</system-reminder>";
    for format in FORMATS {
        let user = |content: Value| of_an_assistant(format, &json!([{"role": "user", "content": content}]));
        let calls = |content: Value| user(content).tool_call.map(|call| call.name);

        let plain = user(json!([{"type": "text", "text": reminder}, {"type": "text", "text": "hello"}]));
        assert_eq!(plain.tool_call, None);
        assert!(plain.text.contains("You wrote 1 word (5 characters): “hello”"), "{}", plain.text);
        assert_eq!(plain.stop_reason, StopReason::EndTurn);
        spoken(format, &plain);
        assert!(user(json!(format!("{reminder}hello{reminder}"))).text.contains("“hello”"));
        assert!(user(json!("hello <system-reminder> never closed")).text.contains("“hello”"));

        for ordinary in ["write a poem", "Read the file", "edit it", "what is a task?", "fetch me a coffee", "the web"]
        {
            assert_eq!(calls(json!(ordinary)), None, "{ordinary}");
        }
        for (wish, tool) in [
            ("run Bash", "Bash"),
            ("use the write tool", "Write"),
            ("call Read", "Read"),
            ("please web fetch that page", "WebFetch"),
            ("mcp__github__create_issue please", "mcp__github__create_issue"),
            ("call a tool", "Agent"),
            ("use one of your tools", "Agent"),
        ] {
            assert_eq!(calls(json!(wish)).as_deref(), Some(tool), "{wish}");
        }
        let input = user(json!("use Bash to rm -rf /")).tool_call.expect("a call").input;
        assert_eq!(input["command"], "echo 'the systemprompt demo model'");

        let result = match format {
            Format::AnthropicMessages => json!([
                {"role": "user", "content": "use Bash"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "Bash", "input": {}}]},
                {"role": "user", "content": [
                    {"type": "tool_result", "tool_use_id": "t", "content": format!("done{reminder}")},
                    {"type": "text", "text": reminder},
                ]},
            ]),
            Format::OpenAiResponses => json!([
                {"role": "user", "content": [{"type": "input_text", "text": "use Bash"}]},
                {"type": "function_call", "call_id": "t", "name": "Bash", "arguments": "{}"},
                {"type": "function_call_output", "call_id": "t", "output": [
                    {"type": "input_text", "text": format!("done{reminder}")}]},
            ]),
            _ => json!([
                {"role": "user", "content": "use Bash"},
                {"role": "assistant", "content": null, "tool_calls": [
                    {"id": "t", "type": "function", "function": {"name": "Bash", "arguments": "{}"}}]},
                {"role": "tool", "tool_call_id": "t", "content": format!("done{reminder}")},
            ]),
        };
        let mut reminded = result.clone();
        reminded.as_array_mut().expect("messages").push(json!({"role": "user", "content": reminder}));
        for result in [&result, &reminded] {
            let last = of_an_assistant(format, result);
            assert_eq!(last.tool_call, None);
            assert!(last.text.contains("The tool answered: “done”"), "{}", last.text);
            spoken(format, &last);
        }
        // The earlier question has its answer.
        assert_eq!(calls(json!(reminder)), None);
    }
}

#[test]
fn a_long_prompt_with_many_tools_is_answered_at_once() {
    // The words were once looked for tool by tool.
    let tools: Vec<Value> = (0..256).map(|tool| json!({"name": format!("tool_{tool}"), "input_schema": {}})).collect();
    let said = |wish: &str| {
        let content = format!("{} {wish}", "do look at this ".repeat(300_000));
        let messages = json!([{"role": "user", "content": content}]);
        answer(Format::AnthropicMessages, &json!({"messages": messages, "tools": tools})).tool_call
    };
    assert_eq!(said("thanks"), None);
    assert_eq!(said("and use tool 200").expect("a call").name, "tool_200");
}

#[test]
fn tool_choice_is_obeyed() {
    for (format, none, named) in [
        (FORMATS[0], json!({ "type": "none" }), json!({ "type": "tool", "name": "weather" })),
        (FORMATS[1], json!("none"), json!({ "type": "function", "function": { "name": "weather" } })),
        (FORMATS[2], json!("none"), json!({ "type": "function", "name": "weather" })),
    ] {
        let other = match format {
            Format::AnthropicMessages => json!({ "name": "other", "input_schema": {} }),
            Format::OpenAiResponses => json!({ "type": "function", "name": "other" }),
            _ => json!({ "type": "function", "function": { "name": "other" } }),
        };
        let ask = |choice: &Value| {
            let message = json!({ "role": "user", "content": "x" });
            let tools = json!([other, tool(format)]);
            answer(format, &json!({ "messages": [message], "tools": tools, "tool_choice": choice }))
        };
        assert_eq!(ask(&none).tool_call, None);
        assert_eq!(ask(&named).tool_call.expect("a call").name, "weather");
        assert_eq!(ask(&json!("auto")).tool_call, None);
        for any in [json!("required"), json!({ "type": "any" })] {
            assert_eq!(ask(&any).tool_call.expect("a call").name, "other");
        }
    }
    let search = json!({ "type": "web_search_20250305", "name": "web_search" });
    let message = json!({ "role": "user", "content": "x" });
    assert_eq!(answer(FORMATS[0], &json!({ "messages": [message], "tools": [search] })).tool_call, None);
}

#[test]
fn limits_are_respected() {
    for format in FORMATS {
        let ask = |extra: Value| {
            let mut rest = json!({ "messages": [{ "role": "user", "content": "hello" }] });
            rest.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
            answer(format, &rest)
        };
        let short = ask(json!({ "max_tokens": 3 }));
        assert_eq!((short.text.as_str(), short.usage.output_tokens), ("This is the ", Some(3)));
        assert_eq!(spoken(format, &short).stop_reason, Some(StopReason::MaxTokens));

        let field = if format == Format::AnthropicMessages { "stop_sequences" } else { "stop" };
        let stopped = ask(json!({ field: ["nowhere", ", not"] }));
        assert_eq!(stopped.text, "This is the systemprompt demo model");
        assert_eq!(stopped.stop_sequence.as_deref(), Some(", not"));
        spoken(format, &stopped);
    }
}

#[test]
fn streams_have_the_documented_order_and_a_real_pace() {
    let request = json!({ "messages": [{ "role": "user", "content": "weather?" }], "tools": [tool(FORMATS[0])] });
    let events = answer(FORMATS[0], &request).events(FORMATS[0], "1", 0);
    let mut names: Vec<String> = events
        .iter()
        .map(|event| {
            let text = String::from_utf8(event.bytes.to_vec()).expect("UTF-8");
            let (name, data) = text.strip_prefix("event: ").and_then(|text| text.split_once('\n')).expect("an event");
            let data: Value = serde_json::from_str(data.strip_prefix("data: ").expect("data")).expect("JSON");
            assert_eq!(data["type"], name);
            name.to_owned()
        })
        .collect();
    names.dedup();
    assert_eq!(
        names,
        [
            "message_start",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "content_block_start",
            "content_block_delta",
            "content_block_stop",
            "message_delta",
            "message_stop",
        ]
    );
    let waits: Vec<u32> = events.iter().map(|event| event.delay_ms).filter(|delay| *delay > 0).collect();
    assert!(waits[0] >= 100 && waits[1..].iter().all(|wait| (10..50).contains(wait)), "{waits:?}");

    let last = |request: Value| {
        let events = answer(Format::OpenAiChat, &request).events(Format::OpenAiChat, "1", 0);
        let tail: Vec<u8> = events[events.len() - 2..].iter().flat_map(|event| event.bytes.to_vec()).collect();
        String::from_utf8(tail).expect("UTF-8")
    };
    let message = json!([{ "role": "user", "content": "hi" }]);
    let asked = last(json!({ "messages": message, "stream": true, "stream_options": { "include_usage": true } }));
    assert!(asked.contains(r#""choices":[],"#) || asked.contains(r#""choices":[]}"#), "{asked}");
    assert!(asked.ends_with("data: [DONE]\n\n"));
    let not_asked = last(json!({ "messages": message, "stream": true }));
    assert!(not_asked.contains(r#""finish_reason":"stop""#) && not_asked.contains("prompt_tokens"), "{not_asked}");
}

#[test]
fn json_is_answered_when_json_is_asked_for() {
    let request = json!({
        "messages": [{ "role": "user", "content": "hi" }],
        "response_format": { "type": "json_object" },
    });
    let text = answer(Format::OpenAiChat, &request).text;
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["demo"], true);
    let format = json!({ "type": "json_schema", "name": "n", "schema": {} });
    let request = json!({ "messages": "hi", "text": { "format": format } });
    let text = answer(Format::OpenAiResponses, &request).text;
    assert_eq!(serde_json::from_str::<Value>(&text).expect("JSON")["prompt"], "hi");
}

#[test]
fn a_schema_that_repeats_itself_is_answered_at_once() {
    let mut schema = json!({ "type": "string" });
    for _ in 0..7 {
        schema = json!({ "type": "object", "properties": { "a": schema }, "required": vec!["a"; 64] });
    }
    let tools = json!([{ "name": "deep", "input_schema": schema }]);
    let message = json!({ "role": "user", "content": "deep" });
    let call = answer(Format::AnthropicMessages, &json!({ "messages": [message], "tools": tools }));
    let input = call.tool_call.expect("a call").input;
    assert_eq!(input.pointer("/a/a/a/a/a/a/a"), Some(&json!("deep")));
}
