//! The demo provider: offline, deterministic, in both dialects, at the pace of a real one.

use http::Method;
use serde_json::json;

use crate::harness::{Instance, hello};

#[tokio::test]
async fn it_answers_both_dialects_the_same_way_twice() {
    let instance = Instance::start().await;
    for path in ["/v1/messages", "/v1/chat/completions"] {
        let ask = async || instance.send(Method::POST, path, &[], hello("demo-1").to_string()).await;
        let text = |value: serde_json::Value| {
            value
                .pointer("/content/0/text")
                .or_else(|| value.pointer("/choices/0/message/content"))
                .cloned()
                .expect("a text")
        };
        let (first, second) = (ask().await, ask().await);
        assert_eq!(first.status, 200, "{}", first.text());
        assert_eq!(text(first.json()), text(second.json()));
        assert!(first.text().to_lowercase().contains("demo"), "it says what it is");
        let record = instance.record(first.request_id()).await;
        assert_eq!((record["status"].as_str(), record["provider"].as_str()), (Some("completed"), Some("demo")));
        assert!(record["cost_microdollars"].as_i64().is_some_and(|cost| cost > 0), "{record}");
    }
}

#[tokio::test]
async fn it_calls_a_tool_that_the_prompt_names() {
    let instance = Instance::start().await;
    let asking = |prompt: &str| {
        json!({"model": "demo-1", "max_tokens": 100, "stream": true, "messages": [{"role": "user", "content": prompt}],
        "tools": [{"name": "get_weather", "description": "d", "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}}}]})
    };
    let answer = instance.messages(&asking("What is it like outside?")).await;
    assert!(!answer.text().contains("get_weather"), "{}", answer.text());
    let answer = instance.messages(&asking("What does get_weather say?")).await;
    assert!(answer.text().contains("\"name\":\"get_weather\""), "{}", answer.text());
    assert_eq!(instance.record(answer.request_id()).await["tool_calls"][0]["name"], "get_weather");
}

#[tokio::test]
async fn production_refuses_it() {
    let home = tempfile::TempDir::new().expect("a directory");
    let run = |arguments: &[&str]| crate::harness::run(home.path(), arguments);
    let written = run(&["admin", "setup", "-e", "production", "--anthropic-key", "k"]);
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let profile = home.path().join("home/profiles/production/profile.yaml");
    let text = std::fs::read_to_string(&profile).expect("a profile");
    assert!(!text.contains("wire: demo"), "{text}");
    std::fs::write(
        &profile,
        text.replace("providers:\n", "providers:\n  - { name: demo, wire: demo, surface: anthropic }\n"),
    )
    .expect("writable");
    let checked = run(&["admin", "config", "validate"]);
    assert_eq!(checked.status.code(), Some(78));
    let report = String::from_utf8_lossy(&checked.stderr).into_owned();
    assert!(report.contains("production") && report.contains("profile.yaml:"), "{report}");
}
