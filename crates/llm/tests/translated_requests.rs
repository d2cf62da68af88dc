//! What becomes of the details of a request on the way to a provider of another format.

use bytes::Bytes;
use serde_json::{Value, json};
use systemprompt_llm::neutral::{Compatibility, Encoding};
use systemprompt_llm::{Format, InferenceRequest, TranslationError};

use Format::{AnthropicMessages, OpenAiChat};

fn translate(
    caller: Format,
    provider: Format,
    encoding: &Encoding,
    body: &Value,
) -> Result<(Value, Vec<String>), TranslationError> {
    let request = InferenceRequest::parse(caller, Bytes::from(body.to_string())).expect("a request");
    let translated = request.translate(provider, encoding, "req1", 1_700_000_000)?;
    let losses = translated.losses.iter();
    let losses = losses.map(|loss| format!("{}: {} {}", loss.field, loss.feature.as_str(), loss.treatment.as_str()));
    Ok((serde_json::from_slice(&translated.bytes).expect("JSON"), losses.collect()))
}

/// What a Claude is asked by a caller of Chat Completions, and what is lost.
fn claude(model: &str, body: Value) -> (Value, Vec<String>) {
    let mut asked = json!({ "model": "m", "messages": [{ "role": "user", "content": "Hi" }] });
    asked.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
    translate(OpenAiChat, AnthropicMessages, &Encoding::of(model), &asked).expect("a request")
}

/// What a provider of Chat Completions is asked by a caller of Anthropic's, and what is lost.
fn gpt(model: &str, body: Value) -> (Value, Vec<String>) {
    let mut asked = json!({ "model": "m", "max_tokens": 4096, "messages": [{ "role": "user", "content": "Hi" }] });
    asked.as_object_mut().expect("an object").extend(body.as_object().expect("an object").clone());
    translate(AnthropicMessages, OpenAiChat, &Encoding::of(model), &asked).expect("a request")
}

#[track_caller]
fn refused(caller: Format, provider: Format, body: Value) -> String {
    let error = translate(caller, provider, &Encoding::of("m"), &body).expect_err("refused");
    error.to_string()
}

fn tools() -> Value {
    json!([{ "type": "function", "function": { "name": "look", "parameters": { "type": "object", "properties": {} } } }])
}

#[test]
fn thinking_is_asked_for_as_each_generation_takes_it() {
    let high = json!({ "reasoning_effort": "high", "max_completion_tokens": 32000 });
    let (asked, lost) = claude("claude-sonnet-4-5", high.clone());
    assert_eq!(asked["thinking"], json!({ "type": "enabled", "budget_tokens": 16384 }));
    assert!(asked["output_config"].is_null() && lost.is_empty(), "{lost:?}");

    let (asked, _) = claude("claude-opus-4-5", high.clone());
    assert_eq!(asked["output_config"], json!({ "effort": "high" }));
    assert_eq!(asked["thinking"]["type"], "enabled");

    for model in ["claude-sonnet-4-6", "claude-opus-4-7", "anthropic.claude-sonnet-5-v1:0"] {
        let (asked, lost) = claude(model, high.clone());
        assert_eq!(asked["thinking"], json!({ "type": "adaptive" }), "{model}");
        assert_eq!(asked["output_config"], json!({ "effort": "high" }), "{model}");
        assert!(lost.is_empty(), "{lost:?}");
    }

    // A budget stays one as long as the model takes one.
    let budget = json!({ "thinking": { "type": "enabled", "budget_tokens": 5000 }, "max_completion_tokens": 32000 });
    let (asked, _) = claude("claude-opus-4-6", budget.clone());
    assert_eq!(asked["thinking"], json!({ "type": "enabled", "budget_tokens": 5000 }));
    let (asked, _) = claude("claude-opus-5", budget);
    assert_eq!(asked["thinking"], json!({ "type": "adaptive" }));
    assert_eq!(asked["output_config"], json!({ "effort": "medium" }));

    // It leaves room for the answer, and is no less than what is taken.
    for (limit, budget) in [(16_000, Some(12_800)), (1500, Some(1200)), (1100, Some(1024)), (1024, None)] {
        let (asked, lost) = claude("claude-sonnet-4-5", json!({ "reasoning_effort": "high", "max_tokens": limit }));
        assert_eq!(asked["thinking"]["budget_tokens"].as_u64(), budget, "{limit}");
        assert_eq!(lost.len(), usize::from(budget.is_none()), "{lost:?}");
    }

    let none = json!({ "reasoning_effort": "none" });
    assert!(claude("claude-opus-4-7", none.clone()).0["thinking"].is_null());
    assert_eq!(claude("claude-sonnet-5", none.clone()).0["thinking"], json!({ "type": "disabled" }));
    let (asked, lost) = claude("claude-fable-5-1", none);
    assert_eq!(asked["output_config"], json!({ "effort": "low" }));
    assert!(asked["thinking"].is_null());
    assert_eq!(lost, ["reasoning: thinking approximated"]);
}

#[test]
fn a_model_is_not_made_to_call_a_tool_and_to_think() {
    let forced = json!({ "tools": tools(), "tool_choice": "required", "reasoning_effort": "high" });
    let (asked, lost) = claude("claude-sonnet-4-5", forced.clone());
    assert_eq!(asked["tool_choice"], json!({ "type": "any" }));
    assert!(asked["thinking"].is_null());
    assert_eq!(lost, ["reasoning: thinking approximated"]);

    let (asked, _) = claude("claude-sonnet-5", json!({ "tools": tools(), "tool_choice": "required" }));
    assert_eq!(asked["thinking"], json!({ "type": "disabled" }));

    // These cannot be made to.
    let (asked, lost) = claude("claude-opus-5-5", forced);
    assert_eq!(asked["tool_choice"], json!({ "type": "auto" }));
    assert_eq!(asked["thinking"], json!({ "type": "adaptive" }));
    assert_eq!(lost, ["tool_choice: tool choice approximated"]);
}

#[test]
fn a_budget_is_not_given_where_the_thoughts_before_a_call_are_missing() {
    let body = json!({
        "reasoning_effort": "medium",
        "tools": tools(),
        "messages": [
            { "role": "user", "content": "Look" },
            { "role": "assistant", "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "look", "arguments": "{}" } }] },
            { "role": "tool", "tool_call_id": "c", "content": "a tree" },
        ],
    });
    let (asked, lost) = claude("claude-sonnet-4-5", body.clone());
    assert!(asked["thinking"].is_null());
    assert_eq!(lost, ["reasoning: thinking approximated"]);
    assert_eq!(claude("claude-sonnet-4-6", body).0["thinking"], json!({ "type": "adaptive" }));
}

#[test]
fn sampling_is_what_the_model_takes() {
    let both = json!({ "temperature": 1.5, "top_p": 0.9, "top_k": 40, "presence_penalty": 0.5 });
    let (asked, lost) = claude("claude-sonnet-4-5", both.clone());
    assert_eq!((&asked["temperature"], &asked["top_p"], &asked["top_k"]), (&json!(1.0), &Value::Null, &json!(40)));
    assert_eq!(
        lost,
        [
            "temperature: temperature approximated",
            "top_p: top_p approximated",
            "presence_penalty: presence and frequency penalties dropped"
        ]
    );
    let (asked, lost) = claude("claude-opus-4-7", both);
    assert!(asked["temperature"].is_null() && asked["top_p"].is_null() && asked["top_k"].is_null());
    assert_eq!(lost.len(), 4);
    let usual = json!({ "temperature": 1, "top_p": 1.0, "presence_penalty": 0, "frequency_penalty": 0 });
    assert!(claude("claude-opus-4-7", usual).1.is_empty(), "what is the default is not lost");

    let (asked, lost) = claude(
        "claude-sonnet-4-5",
        json!({ "temperature": 0.2, "top_p": 0.97, "top_k": 5, "reasoning_effort": "low", "max_tokens": 8000 }),
    );
    assert_eq!((&asked["temperature"], &asked["top_p"]), (&Value::Null, &json!(0.97)));
    assert_eq!(lost.len(), 2);
}

#[test]
fn answers_are_held_to_a_schema_where_the_model_can_be() {
    let schema = json!({ "type": "object", "properties": { "n": { "type": "integer", "minimum": 1 } } });
    let body =
        json!({ "response_format": { "type": "json_schema", "json_schema": { "name": "a", "schema": schema } } });
    let (asked, lost) = claude("claude-haiku-4-5", body.clone());
    let format = &asked["output_config"]["format"];
    assert_eq!(format["type"], "json_schema");
    assert_eq!(format["schema"]["additionalProperties"], false);
    assert!(lost.is_empty());

    let (asked, lost) = claude("kimi-k2", body);
    assert!(asked["output_config"].is_null());
    assert!(asked["system"][0]["text"].as_str().expect("a text").contains(r#""minimum":1"#));
    assert_eq!(lost, ["response_format: answers by a JSON schema approximated"]);

    let (asked, lost) = claude("claude-haiku-4-5", json!({ "response_format": { "type": "json_object" } }));
    assert!(asked["system"][0]["text"].as_str().expect("a text").contains("JSON object"));
    assert_eq!(lost, ["response_format: answers as a JSON object approximated"]);
}

#[test]
fn a_conversation_becomes_one_that_anthropic_takes() {
    let call = |id: &str| json!({ "id": id, "type": "function", "function": { "name": "look", "arguments": "{}" } });
    let (asked, lost) = claude(
        "claude-sonnet-4-5",
        json!({ "messages": [
            { "role": "developer", "content": [{ "type": "text", "text": "Be kind." }] },
            { "role": "system", "content": "Be brief." },
            { "role": "assistant", "content": "Hello!" },
            { "role": "user", "content": "" },
            { "role": "user", "content": ["Look", { "type": "text", "text": "now" }] },
            { "role": "assistant", "content": null, "tool_calls": [call("1"), call("1"), call("")] },
            { "role": "system", "content": "Hurry." },
            { "role": "tool", "tool_call_id": "1", "content": "a tree" },
            { "role": "tool", "tool_call_id": "9", "content": "a ghost" },
            { "role": "assistant", "content": [] },
            { "role": "assistant", "content": "I saw it.  " },
        ] }),
    );
    assert_eq!(
        asked["system"],
        json!([{ "type": "text", "text": "Be kind." }, { "type": "text", "text": "Be brief." }])
    );
    let text = |text: &str| json!({ "type": "text", "text": text });
    let used = |id: &str| json!({ "type": "tool_use", "id": id, "name": "look", "input": {} });
    let none = "The call was interrupted: there is no result.";
    let missing =
        |id: &str| json!({ "type": "tool_result", "tool_use_id": id, "content": [text(none)], "is_error": true });
    let messages = asked["messages"].as_array().expect("an array");
    let empty_id = messages[3]["content"][2]["id"].as_str().expect("an id").to_owned();
    assert!(empty_id.starts_with("call_"));
    assert_eq!(
        asked["messages"],
        json!([
            { "role": "user", "content": [text("Continue.")] },
            { "role": "assistant", "content": [text("Hello!")] },
            { "role": "user", "content": [text("Look"), text("now")] },
            { "role": "assistant", "content": [used("1"), used("1_2"), used(&empty_id)] },
            { "role": "user", "content": [
                { "type": "tool_result", "tool_use_id": "1", "content": [text("a tree")] },
                missing("1_2"),
                missing(&empty_id),
                text("<system>\nHurry.\n</system>"),
                text("Result of a tool:"),
                text("a ghost"),
            ] },
            { "role": "assistant", "content": [text("I saw it.")] },
        ])
    );
    // The conversation names a tool, so it has to be there.
    assert_eq!(asked["tools"][0]["name"], "look");
    assert_eq!(asked["tool_choice"], json!({ "type": "none" }));
    assert_eq!(lost, ["messages: system turns in the conversation approximated"]);

    let prefill =
        json!({ "messages": [{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": "Well" }] });
    let (asked, lost) = claude("claude-opus-4-6", prefill);
    assert_eq!(asked["messages"][2]["role"], "user");
    assert_eq!(lost, ["messages: prefilled answers approximated"]);
}

#[test]
fn no_more_than_four_places_are_marked_for_the_cache() {
    let part = |n: usize, ttl: &str| json!({ "type": "text", "text": format!("{n}"), "cache_control": { "type": "ephemeral", "ttl": ttl } });
    let parts: Vec<Value> = (0..6).map(|n| part(n, if n == 4 { "1h" } else { "5m" })).collect();
    let (asked, lost) = claude("claude-opus-5", json!({ "messages": [{ "role": "user", "content": parts }] }));
    let marks: Vec<&Value> = asked["messages"][0]["content"]
        .as_array()
        .expect("blocks")
        .iter()
        .map(|block| &block["cache_control"])
        .collect();
    let short = json!({ "type": "ephemeral" });
    assert_eq!(
        marks,
        [&Value::Null, &Value::Null, &short, &short, &short, &short],
        "an hour after five minutes is none"
    );
    assert_eq!(lost, ["cache_control: cache control approximated"]);
}

#[test]
fn who_names_a_cache_gets_one() {
    let messages = json!([
        { "role": "system", "content": "Be brief." },
        { "role": "user", "content": "Look" },
        { "role": "assistant", "content": "Yes." },
        { "role": "user", "content": [{ "type": "text", "text": "a" }, { "type": "text", "text": "b" }] },
    ]);
    let (asked, lost) = claude("claude-opus-5", json!({ "prompt_cache_key": "s1", "messages": messages }));
    let short = json!({ "type": "ephemeral" });
    assert_eq!(asked["system"][0]["cache_control"], short);
    assert_eq!(asked["messages"][2]["content"][1]["cache_control"], short);
    assert_eq!(asked.to_string().matches("cache_control").count(), 2);
    assert_eq!(lost, ["prompt_cache_key: prompt cache key approximated"]);
    let (asked, _) = claude("claude-opus-5", json!({ "messages": messages }));
    assert!(!asked.to_string().contains("cache_control"));
}

#[test]
fn tools_are_offered_as_anthropic_takes_them() {
    let long = format!("mcp__{}", "server".repeat(20));
    let (asked, lost) = claude(
        "claude-opus-4-5",
        json!({
            "tools": [
                { "type": "function", "function": { "name": long, "strict": true, "parameters": { "type": "object", "properties": {} } } },
                { "type": "function", "function": { "name": "b", "parameters": { "anyOf": [{ "type": "object", "properties": { "x": {} } }] } } },
                { "type": "custom", "custom": { "name": "patch", "format": { "type": "grammar", "grammar": { "syntax": "lark", "definition": "start: A" } } } },
            ],
            "tool_choice": { "type": "function", "function": { "name": long } },
            "parallel_tool_calls": false,
        }),
    );
    let name = asked["tools"][0]["name"].as_str().expect("a name");
    assert_eq!(name.len(), 63);
    assert_eq!(asked["tool_choice"], json!({ "type": "tool", "name": name, "disable_parallel_tool_use": true }));
    assert_eq!(asked["tools"][0]["strict"], true);
    assert_eq!(asked["tools"][0]["input_schema"]["additionalProperties"], false);
    assert_eq!(asked["tools"][1]["input_schema"], json!({ "type": "object", "properties": { "x": {} } }));
    let input = &asked["tools"][2]["input_schema"]["properties"]["input"];
    assert!(input["description"].as_str().expect("a text").contains("start: A"));
    assert_eq!(lost, ["tools[2]: custom tools approximated"]);

    let among = json!({ "type": "allowed_tools", "allowed_tools": { "mode": "auto", "tools": [{ "type": "function", "function": { "name": "b" } }] } });
    let offered = |name: &str| json!({ "type": "function", "function": { "name": name } });
    let (asked, _) = claude("claude-opus-4-5", json!({ "tools": [offered("a"), offered("b")], "tool_choice": among }));
    assert_eq!(asked["tools"].as_array().map(Vec::len), Some(1));
    assert_eq!(asked["tool_choice"], json!({ "type": "auto" }));
}

#[test]
fn what_no_other_format_can_say_is_refused_or_told() {
    let user = json!([{ "role": "user", "content": "Hi" }]);
    for (field, value) in [("n", json!(2)), ("logprobs", json!(true)), ("modalities", json!(["text", "audio"]))] {
        let error = refused(OpenAiChat, AnthropicMessages, json!({ "model": "m", "messages": user, field: value }));
        assert!(
            error.starts_with(&format!("`{field}` cannot be sent to a provider of the anthropic-messages")),
            "{error}"
        );
    }
    let (_, lost) = claude(
        "claude-opus-4-5",
        json!({
            "seed": 1, "logit_bias": { "1": 2 }, "metadata": { "a": "b" }, "store": true, "verbosity": "low", "user": "u",
            "prediction": { "type": "content" }, "something_new": 1, "service_tier": "flex", "n": 1, "logprobs": false,
            "messages": [{ "role": "user", "name": "Ada", "content": [{ "type": "new_part", "x": 1 }, { "type": "text", "text": "a", "odd": 1 }] }],
        }),
    );
    let mut lost: Vec<&str> = lost.iter().map(|loss| loss.split(' ').next().expect("a field")).collect();
    lost.sort_unstable();
    assert_eq!(
        lost,
        [
            "logit_bias:",
            "messages[0].content[0]:",
            "messages[0].content[1].odd:",
            "messages[0].name:",
            "metadata:",
            "prediction:",
            "seed:",
            "service_tier:",
            "something_new:",
            "store:",
            "verbosity:"
        ]
    );

    let base = |extra: Value| {
        let mut body = json!({ "model": "m", "max_tokens": 9, "messages": user });
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        body
    };
    for (extra, field) in [
        (json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search" }] }), "tools[0]"),
        (json!({ "tools": [{ "type": "computer_20251124", "name": "computer" }] }), "tools[0]"),
        (json!({ "mcp_servers": [{ "type": "url" }] }), "mcp_servers"),
        (json!({ "container": "c" }), "container"),
    ] {
        let error = refused(AnthropicMessages, OpenAiChat, base(extra));
        assert!(error.starts_with(&format!("`{field}` cannot be sent to a provider of the openai-chat")), "{error}");
    }
    let (_, lost) = gpt(
        "gpt-4o",
        json!({
            "context_management": { "edits": [] }, "top_k": 4, "speed": "fast", "metadata": { "user_id": "u" },
            "thinking": { "type": "enabled", "budget_tokens": 2000 },
            "messages": [{ "role": "user", "content": [
                { "type": "server_tool_use", "id": "s", "name": "web_search", "input": {} },
                { "type": "text", "text": "Hi", "citations": null, "odd": true },
            ] }],
        }),
    );
    assert_eq!(
        lost,
        [
            "messages[0].content[0]: blocks of the vendor dropped",
            "messages[0].content[1].odd: fields nobody here knows dropped",
            "context_management: context management dropped",
            "speed: fields nobody here knows dropped",
            "reasoning: thinking approximated",
            "top_k: top_k dropped",
        ]
    );
}

#[test]
fn errors_name_the_field_by_its_path() {
    let anthropic = |messages: Value| json!({ "model": "m", "max_tokens": 9, "messages": messages });
    for (content, error) in [
        (json!([{ "type": "image" }]), "`messages[0].content[0].source` is missing: say where its bytes are"),
        (json!([{ "type": "text", "text": 7 }]), "`messages[0].content[0].text` must be a string"),
        (
            json!([{ "type": "tool_result", "tool_use_id": "a", "content": [{ "type": "image", "source": { "type": "base64" } }] }]),
            "`messages[0].content[0].content[0].source.data` is missing: send the bytes in Base64",
        ),
        (json!(7), "`messages[0].content` must be a string or an array of content blocks"),
        (json!([7]), "`messages[0].content[0]` must be a content block"),
    ] {
        let body = anthropic(json!([{ "role": "user", "content": content }]));
        assert_eq!(refused(AnthropicMessages, OpenAiChat, body), error);
    }
    assert_eq!(
        refused(AnthropicMessages, OpenAiChat, anthropic(json!([{ "role": "wizard", "content": "" }]))),
        "`messages[0].role` must be `user`, `assistant` or `system`"
    );
    let body =
        json!({ "model": "m", "messages": [{ "role": "assistant", "tool_calls": [{ "id": "1", "function": {} }] }] });
    assert_eq!(
        refused(OpenAiChat, AnthropicMessages, body),
        "`messages[0].tool_calls[0].function.name` is missing: name the function"
    );
}

#[test]
fn schemas_and_inputs_keep_their_order_and_their_numbers() {
    let schema = r#"{"type":"object","properties":{"z":{"default":1.0},"a":{"enum":[1e3,12345678901234567890123]}}}"#;
    let input = r#"{"z":1.50,"a":1E2}"#;
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"tools":[{{"name":"t","input_schema":{schema}}}],"messages":[
            {{"role":"assistant","content":[{{"type":"tool_use","id":"1","name":"t","input":{input}}}]}}]}}"#
    );
    let request = InferenceRequest::parse(AnthropicMessages, Bytes::from(body)).expect("a request");
    let asked = request.translate(OpenAiChat, &Encoding::of("m"), "r", 0).expect("translated").bytes;
    let asked = std::str::from_utf8(&asked).expect("UTF-8");
    assert!(asked.contains(&format!(r#""parameters":{schema}"#)), "{asked}");
    assert!(asked.contains(&input.replace('"', "\\\"")), "{asked}");

    let body = format!(
        r#"{{"model":"m","tools":[{{"type":"function","function":{{"name":"t","parameters":{schema}}}}}],"messages":[
            {{"role":"assistant","tool_calls":[{{"id":"1","function":{{"name":"t","arguments":{}}}}}]}}]}}"#,
        serde_json::to_string(input).expect("JSON")
    );
    let request = InferenceRequest::parse(OpenAiChat, Bytes::from(body)).expect("a request");
    let asked = request.translate(AnthropicMessages, &Encoding::of("m"), "r", 0).expect("translated").bytes;
    let asked = std::str::from_utf8(&asked).expect("UTF-8");
    assert!(asked.contains(&format!(r#""input_schema":{schema}"#)), "{asked}");
    assert!(asked.contains(&format!(r#""input":{input}"#)), "{asked}");
}

#[test]
fn compatible_servers_are_asked_in_their_words() {
    let body = json!({ "model": "m", "max_tokens": 9, "stream": true, "system": "S", "messages": [{ "role": "user", "content": "Hi" }] });
    let compatible = Encoding {
        compatibility: Compatibility { max_tokens_field: true, developer_role: false, stream_usage: false },
        max_output_tokens: Some(5),
        ..Encoding::of("llama")
    };
    let (asked, _) = translate(AnthropicMessages, OpenAiChat, &compatible, &body).expect("translated");
    assert_eq!(
        asked,
        json!({ "model": "llama", "max_tokens": 5, "stream": true, "messages": [
            { "role": "system", "content": "S" }, { "role": "user", "content": "Hi" }] })
    );
    let own = Encoding {
        compatibility: Compatibility { max_tokens_field: false, developer_role: true, stream_usage: true },
        ..Encoding::of("gpt-5.2")
    };
    let (asked, _) = translate(AnthropicMessages, OpenAiChat, &own, &body).expect("translated");
    assert_eq!(asked["messages"][0]["role"], "developer");
    assert_eq!(asked["max_completion_tokens"], 9);
    assert_eq!(asked["stream_options"], json!({ "include_usage": true }));
}

#[test]
fn thoughts_go_back_to_the_server_that_had_them_only() {
    let sealed = |field: &str| {
        let body = json!({ "id": "c", "choices": [{ "index": 0, "message": { field: "Hm.", "content": "Yes." } }] });
        let request = json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "Hi" }] });
        let request = InferenceRequest::parse(AnthropicMessages, Bytes::from(request.to_string())).expect("a request");
        let back = request.translate(OpenAiChat, &Encoding::of("m"), "r", 0).expect("translated").back;
        let told: Value =
            serde_json::from_slice(&back.whole(body.to_string().as_bytes()).expect("an answer")).expect("JSON");
        told["content"].clone()
    };
    for field in ["reasoning_content", "reasoning"] {
        let messages = json!([{ "role": "user", "content": "Hi" }, { "role": "assistant", "content": sealed(field) }, { "role": "user", "content": "And?" }]);
        let (asked, lost) = gpt("deepseek-reasoner", json!({ "messages": messages }));
        assert_eq!(asked["messages"][1], json!({ "role": "assistant", "content": "Yes.", field: "Hm." }));
        assert!(lost.is_empty());
        let own = Encoding {
            compatibility: Compatibility { developer_role: true, ..Compatibility::default() },
            ..Encoding::of("gpt-5.2")
        };
        let body = json!({ "model": "m", "max_tokens": 9, "messages": messages });
        let (asked, lost) = translate(AnthropicMessages, OpenAiChat, &own, &body).expect("translated");
        assert_eq!(asked["messages"][1], json!({ "role": "assistant", "content": "Yes." }));
        assert_eq!(lost, ["messages: thinking of earlier turns dropped"]);
    }
}

#[test]
fn documents_and_sounds_travel() {
    let (asked, lost) = gpt(
        "gpt-4o",
        json!({ "messages": [{ "role": "user", "content": [
            { "type": "document", "title": "a.pdf", "source": { "type": "base64", "media_type": "application/pdf", "data": "JVBE" } },
            { "type": "document", "title": "n", "context": "Notes.", "source": { "type": "text", "media_type": "text/plain", "data": "words" } },
            { "type": "document", "source": { "type": "content", "content": [{ "type": "text", "text": "inside" }] } },
            { "type": "search_result", "title": "T", "source": "https://s", "content": [{ "type": "text", "text": "found" }] },
        ] }] }),
    );
    assert_eq!(
        asked["messages"][0]["content"],
        json!([
            { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE" } },
            { "type": "text", "text": "Notes." },
            { "type": "text", "text": "<document title=\"n\">\nwords\n</document>" },
            { "type": "text", "text": "inside" },
            { "type": "text", "text": "T\nhttps://s\nfound" },
        ])
    );
    assert!(lost.is_empty(), "{lost:?}");

    let (asked, _) = claude(
        "claude-opus-5",
        json!({ "messages": [{ "role": "user", "content": [
            { "type": "file", "file": { "filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE" } },
            { "type": "file", "file": { "filename": "a.txt", "file_data": "data:text/plain;base64,aGk=" } },
            { "type": "image_url", "image_url": "https://e/x.png" },
        ] }] }),
    );
    assert_eq!(
        asked["messages"][0]["content"],
        json!([
            { "type": "document", "title": "a.pdf", "source": { "type": "base64", "media_type": "application/pdf", "data": "JVBE" } },
            { "type": "document", "title": "a.txt", "source": { "type": "text", "media_type": "text/plain", "data": "hi" } },
            { "type": "image", "source": { "type": "url", "url": "https://e/x.png" } },
        ])
    );
    let audio = json!({ "type": "input_audio", "input_audio": { "data": "UklG", "format": "wav" } });
    let body = json!({ "model": "m", "messages": [{ "role": "user", "content": [audio] }] });
    assert!(refused(OpenAiChat, AnthropicMessages, body).contains("audio"));
}

#[test]
fn a_search_among_other_tools_is_left_out_where_there_is_none() {
    let search = json!({ "type": "web_search_20250305", "name": "web_search" });
    let tool = json!({ "name": "read", "input_schema": { "type": "object" } });
    let (asked, lost) = gpt(
        "gpt-5.5",
        json!({ "model": "m", "max_tokens": 9, "messages": [{ "role": "user", "content": "Hi" }], "tools": [tool, search] }),
    );
    assert_eq!(asked["tools"].as_array().map(Vec::len), Some(1), "{asked}");
    assert!(lost.iter().any(|loss| loss.starts_with("tools[1]")), "{lost:?}");
}

#[test]
fn web_search_is_asked_for_where_a_model_has_it() {
    let location = json!({ "type": "approximate", "city": "Köln", "country": "DE" });
    let search = json!({ "tools": [{ "type": "web_search_20250305", "name": "web_search", "max_uses": 3, "user_location": location }] });
    let (asked, lost) = gpt("gpt-5-search-api", search);
    assert_eq!(
        asked["web_search_options"],
        json!({ "user_location": { "type": "approximate", "approximate": { "city": "Köln", "country": "DE" } } })
    );
    assert!(asked["tools"].is_null() && lost.is_empty());

    let options = json!({ "web_search_options": { "user_location": { "type": "approximate", "approximate": { "city": "Köln" } } } });
    let (asked, _) = claude("claude-opus-5", options);
    assert_eq!(
        asked["tools"],
        json!([{ "type": "web_search_20250305", "name": "web_search", "user_location": { "type": "approximate", "city": "Köln" } }])
    );
}

#[test]
fn old_forms_of_functions_are_read() {
    let (asked, lost) = claude(
        "claude-opus-4-5",
        json!({
            "functions": [{ "name": "look", "parameters": { "type": "object", "properties": {} } }],
            "function_call": "auto",
            "messages": [
                { "role": "user", "content": "Look" },
                { "role": "assistant", "content": null, "function_call": { "name": "look", "arguments": "{\"at\":1}" } },
                { "role": "function", "name": "look", "content": "a tree" },
            ],
        }),
    );
    assert_eq!(asked["messages"][1]["content"][0]["input"], json!({ "at": 1 }));
    assert_eq!(asked["messages"][2]["content"][0]["tool_use_id"], asked["messages"][1]["content"][0]["id"]);
    assert_eq!(asked["tool_choice"], json!({ "type": "auto" }));
    assert!(lost.is_empty(), "{lost:?}");
}
