//! What reaches the provider is what the caller sent, but for the listed edits, and what the provider says reaches the
//! caller as it is.

use http::Method;
use serde_json::json;
use systemprompt_mock_upstream::{Behaviour, MockToolCall, MockUsage};

use crate::harness::Instance;

#[tokio::test]
async fn the_callers_bytes_reach_the_provider_but_for_the_edits() {
    let instance = Instance::start().await;
    // Odd spacing, unknown fields, a cache marker, a thinking signature, an escaped slash: all of it must survive.
    let sent = r#"{ "model" : "claude-alias",
  "max_tokens":50000, "future_field": {"a":[1,2.50,-0.0e+1]},  "metadata": {"user_id":"u-17","trace":"t"},
  "messages":[{"role":"user","content":[{"type":"text","text":"caf\u00e9 \/ caf","cache_control":{"type":"ephemeral"}}]},
  {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":"c2ln"},{"type":"text","text":"ok"}]},
  {"role":"user","content":"go on"}] }"#;
    let expected = sent
        .replace("claude-alias", "claude-upstream")
        .replace("50000", "1000")
        .replace(r#"{"user_id":"u-17","trace":"t"}"#, r#"{"trace":"t"}"#);
    let answer = instance
        .send(
            Method::POST,
            "/v1/messages",
            &[
                ("anthropic-version", "2024-10-22"),
                ("anthropic-beta", "some-beta"),
                ("cookie", "c=1"),
                ("x-forwarded-for", "9.9.9.9"),
                ("user-agent", "spy/1"),
                ("x-stainless-lang", "js"),
            ],
            sent,
        )
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let requests = instance.mock.requests();
    let received = &requests[0];
    assert_eq!(String::from_utf8_lossy(&received.body), expected);
    assert_eq!(received.path, "/v1/messages");
    assert_eq!(received.header("x-api-key"), Some("sk-upstream-anthropic"), "the provider's key, not the caller's");
    assert_eq!(received.header("anthropic-version"), Some("2024-10-22"));
    assert_eq!(received.header("anthropic-beta"), Some("some-beta"));
    for name in ["authorization", "cookie", "x-forwarded-for", "x-stainless-lang", "x-session-id"] {
        assert_eq!(received.header(name), None, "{name} identifies the caller");
    }
    assert!(received.header("user-agent").is_some_and(|name| name.starts_with("systemprompt/")), "it says who asks");
    assert!(!received.headers.iter().any(|(_, value)| value.contains(&instance.key)), "the caller's key stays here");
    for name in ["request-id", "x-request-id"] {
        assert_eq!(answer.header(name), Some(answer.request_id()), "{name}");
    }

    let record = instance.record(answer.request_id()).await;
    assert_eq!(record["status"], "completed");
    assert_eq!(record["provider"], "mock-anthropic");
    assert_eq!(record["requested_model"], "claude-alias");
    assert_eq!(record["route_match"], "registry:mock-anthropic");
    assert_eq!(record["content_bytes"], json!(expected.len()));
}

#[tokio::test]
async fn an_untouched_openai_request_is_relayed_untouched() {
    let instance = Instance::start().await;
    let sent = r#"{"messages":[{"role":"user","content":[{"type":"text","text":"what is this?"},{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}],"model":"gpt-test","seed":7,"x":null}"#;
    let answer = instance.send(Method::POST, "/v1/chat/completions", &[], sent).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let requests = instance.mock.requests();
    assert_eq!(String::from_utf8_lossy(&requests[0].body), sent);
    assert_eq!(requests[0].header("authorization"), Some("Bearer sk-upstream-openai"));
}

#[tokio::test]
async fn usage_and_price_are_the_same_buffered_and_streamed_in_both_dialects() {
    let instance = Instance::start().await;
    instance.mock.behave(Behaviour {
        usage: Some(MockUsage {
            input_tokens: 1000,
            output_tokens: 200,
            cache_read_tokens: 0,
            cache_creation_tokens: 0,
        }),
        tool_calls: vec![MockToolCall { name: "look_up".to_owned(), input: json!({"q": "x"}) }],
        ..Behaviour::default()
    });
    for (path, model, cost) in [("/v1/messages", "claude-test", 6000), ("/v1/chat/completions", "gpt-test", 1400)] {
        for stream in [false, true] {
            let body = json!({"model": model, "max_tokens": 100, "stream": stream, "messages": [{"role": "user", "content": format!("{stream}")}],
                "tools": [{"name": "look_up", "input_schema": {"type": "object"}, "type": "function", "function": {"name": "look_up"}}]});
            let answer = instance.send(Method::POST, path, &[], body.to_string()).await;
            assert_eq!(answer.status, 200, "{path} {stream}: {}", answer.text());
            let record = instance.record(answer.request_id()).await;
            let what = format!("{path} {stream}: {record}");
            assert_eq!(record["status"], "completed", "{what}");
            assert_eq!(record["input_tokens"], 1000, "{what}");
            assert_eq!(record["output_tokens"], 200, "{what}");
            assert_eq!(record["cost_microdollars"], cost, "{what}");
            assert_eq!(record["stop_reason"], "tool_use", "{what}");
            assert_eq!(record["tool_calls"][0]["name"], "look_up", "{what}");
            assert_eq!(record["is_streaming"], stream, "{what}");
        }
    }
}

#[tokio::test]
async fn the_usage_chunk_we_ask_for_is_not_shown_to_a_caller_who_did_not() {
    let instance = Instance::start().await;
    let ask = async |options: Option<bool>| {
        let mut body = json!({"model": "gpt-test", "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
        if let Some(include) = options {
            body["stream_options"] = json!({"include_usage": include});
        }
        let answer = instance.chat(&body).await;
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        answer
    };
    for (options, shown) in [(None, false), (Some(false), false), (Some(true), true)] {
        let answer = ask(options).await;
        assert_eq!(answer.text().contains("\"choices\":[]"), shown, "{options:?}: {}", answer.text());
        assert!(answer.text().trim_end().ends_with("data: [DONE]"), "{options:?}");
        let record = instance.record(answer.request_id()).await;
        assert!(record["output_tokens"].as_i64().is_some_and(|count| count > 0), "{options:?}: {record}");
    }
    assert!(
        instance
            .mock
            .requests()
            .iter()
            .all(|request| String::from_utf8_lossy(&request.body).contains("\"include_usage\":true"))
    );
}

#[tokio::test]
async fn models_are_listed_for_both_families() {
    let instance = Instance::start().await;
    let list = async |headers: &[(&str, &str)], query: &str| {
        instance.send(Method::GET, &format!("/v1/models{query}"), headers, "").await
    };
    assert_eq!(list(&[("x-api-key", "")], "").await.status, 401, "the list is not public unless configured");
    let all = list(&[], "").await.json();
    let ids = |value: &serde_json::Value| {
        value["data"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|model| model["id"].as_str().expect("an id").to_owned())
            .collect::<Vec<_>>()
    };
    assert!(ids(&all).contains(&"claude-test".to_owned()) && ids(&all).contains(&"gpt-test".to_owned()), "{all}");
    assert_eq!((all["object"].as_str(), all["has_more"].as_bool()), (Some("list"), Some(false)));
    let openai = list(&[("x-inference-protocol", "openai")], "").await.json();
    assert_eq!(ids(&openai), ["gpt-test"]);
    assert_eq!(openai["data"][0]["object"], "model");
    assert_eq!(list(&[("x-inference-protocol", "smoke-signals")], "").await.status, 400);
    let first = list(&[], "?limit=1").await.json();
    assert_eq!((ids(&first).len(), first["has_more"].as_bool()), (1, Some(true)));
    assert!(first.get("models").is_none(), "{first}");
    let codex = list(&[], "?client_version=0.171.0").await.json();
    let slugs: Vec<_> = codex["models"].as_array().expect("a list").iter().map(|model| &model["slug"]).collect();
    assert!(slugs.contains(&&json!("claude-test")) && !slugs.contains(&&json!("gpt-test")), "{slugs:?}");
    assert_eq!(ids(&codex), ids(&all), "others read the same list");
    let google = list(&[("x-goog-api-key", &instance.key), ("authorization", "")], "").await.json();
    let names: Vec<_> = google["models"].as_array().expect("a list").iter().map(|model| &model["name"]).collect();
    assert!(names.contains(&&json!("models/claude-test")), "{google}");
    for id in ["claude-test", "claude-alias"] {
        let one = instance.send(Method::GET, &format!("/v1/models/{id}"), &[], "").await;
        let one = one.json();
        assert_eq!(
            (&one["id"], &one["type"], &one["object"]),
            (&json!("claude-test"), &json!("model"), &json!("model"))
        );
    }
    for id in ["nothing", "org/nothing", "org%2Fnothing"] {
        let none = instance.send(Method::GET, &format!("/v1/models/{id}"), &[("anthropic-version", "1")], "").await;
        assert_eq!((none.status.as_u16(), &none.json()["error"]["type"]), (404, &json!("not_found_error")));
        assert!(none.text().contains(&id.replace("%2F", "/")), "{}", none.text());
    }
    assert_eq!(instance.send(Method::GET, "/v1/models/claude-test", &[("x-api-key", "")], "").await.status, 401);
    for path in ["/", "/api/hello"] {
        let here = instance.send(Method::HEAD, path, &[("x-api-key", "")], "").await;
        assert_eq!((here.status.as_u16(), here.text()), (200, ""), "{path}");
    }
    let cursor = first["last_id"].as_str().expect("a cursor");
    assert_ne!(ids(&list(&[], &format!("?limit=1&after_id={cursor}")).await.json()), ids(&first));
}
