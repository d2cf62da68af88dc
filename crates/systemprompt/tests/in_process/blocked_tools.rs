//! What the built-in policies say of tools in traffic with models: those a model is offered, and those it asks for.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use http::Request;
use http::header::CONTENT_TYPE;
use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use systemprompt::axum::Router;
use systemprompt::axum::body::{Body, Bytes};
use systemprompt::axum::response::IntoResponse as _;
use systemprompt::testing::{TestClient, TestContext, TestResponse};
use systemprompt_mock_upstream::{Behaviour, MockToolCall, MockUpstream};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::ended::ended;
use crate::every_wire::{CALLERS, WIRES, ask, every_wire};

const APPROVALS: &str = "/api/public/admin/governance/approvals";

async fn server(mock: &MockUpstream, policies: Value) -> (TestContext, TestClient) {
    let governance = json!({"governance": {"policies": policies}});
    let context = every_wire(mock).document("governance/config.yaml", governance).start().await;
    let ada = context.user("ada", &["user"]).await;
    (context, ada)
}

fn calls(mock: &MockUpstream, tool_calls: impl IntoIterator<Item = (&'static str, Value)>) {
    let tool_calls =
        tool_calls.into_iter().map(|(name, input)| MockToolCall { name: name.to_owned(), input }).collect();
    mock.behave(Behaviour { text: Some("On it.".to_owned()), tool_calls, ..Behaviour::default() });
}

fn offered(names: &[&str]) -> Value {
    let tools = names.iter().map(|name| json!({"name": name, "input_schema": {"type": "object"}}));
    json!({"tools": tools.collect::<Vec<_>>()})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_policy_judges_what_a_model_asks_for_in_each_mode() {
    let mock = MockUpstream::start().await.expect("a free port");
    for (setting, withheld, result) in [
        (json!({"mode": "enforce"}), true, Some("fail")),
        (json!({"mode": "warn"}), false, Some("fail")),
        (json!({"enabled": false}), false, None),
    ] {
        let mut policies = json!([
            {"id": "scope_check"}, {"id": "tool_blocklist"},
            {"id": "require_approval", "rules": [{"tools": ["deploy"]}]},
        ]);
        for policy in policies.as_array_mut().expect("a list") {
            policy.as_object_mut().expect("an object").extend(setting.as_object().expect("an object").clone());
        }
        let (context, ada) = server(&mock, policies).await;
        for (policy, tool) in [
            ("scope_check", "mcp__systemprompt__users"),
            ("tool_blocklist", "dropTable"),
            ("require_approval", "deploy"),
            ("", "read"),
        ] {
            calls(&mock, [(tool, json!({"rows": [1, 2]}))]);
            for (caller, wire) in CALLERS.iter().zip(WIRES).chain([(&CALLERS[0], "gemini")]) {
                for stream in [false, true] {
                    let what = format!("{tool} {setting}: {} to {wire}, stream: {stream}", caller.model);
                    let answer = ask(&ada, caller, wire, stream, &json!({})).await;
                    let is_withheld = withheld && !policy.is_empty();
                    let text = answer.text();
                    assert_eq!(answer.status, if is_withheld && !stream { 451 } else { 200 }, "{what}: {text}");
                    assert_eq!(text.contains("rows"), !is_withheld, "{what}: {text}");
                    assert_eq!(text.contains("the model asks for"), is_withheld, "{what}: {text}");
                    let detail = ended(&context, &answer).await;
                    assert_eq!(detail.summary.status, if is_withheld { "failed" } else { "completed" }, "{what}");
                    let said = detail.inspections.unwrap_or_default();
                    let expected = result.filter(|_| !policy.is_empty());
                    assert_eq!(said[0]["result"].as_str(), expected, "{what}: {said}");
                    assert_eq!(said[0]["policy_id"].as_str(), expected.map(|_| policy), "{what}: {said}");
                    assert_eq!(detail.tool_calls.len(), 1, "{what}: it is known what the model asked for");
                }
            }
        }
        context.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tools_that_are_offered_in_vain_are_noted_or_the_prompt_is_refused() {
    let mock = MockUpstream::start().await.expect("a free port");
    for (setting, asked) in
        [(json!({}), 1), (json!({"offered": "deny"}), 0), (json!({"offered": "deny", "mode": "warn"}), 1)]
    {
        let policies = json!([
            {"id": "scope_check", "admin_only_prefixes": ["ops_"]}, {"id": "tool_blocklist", "patterns": ["drop"]},
        ]);
        for (at, (policy, tool)) in [("scope_check", "ops_restart"), ("tool_blocklist", "dropTable")].iter().enumerate()
        {
            let mut policies = policies.clone();
            policies[at].as_object_mut().expect("an object").extend(setting.as_object().expect("an object").clone());
            let (context, ada) = server(&mock, policies).await;
            let before = mock.requests().len();
            let answer = ask(&ada, &CALLERS[0], "anthropic", false, &offered(&["Read", tool])).await;
            assert_eq!(answer.status, if asked == 0 { 403 } else { 200 }, "{setting}: {}", answer.text());
            assert_eq!(mock.requests().len() - before, asked, "{setting}");
            let detail = ended(&context, &answer).await;
            let rules = detail.decision.evaluated_rules.as_array().expect("a list").clone();
            let rule = rules.iter().find(|rule| rule["policy_id"] == *policy).expect("it is listed");
            let detail = rule["detail"].as_str().unwrap_or_default();
            assert!(detail.contains(&format!("`{tool}`")) && !detail.contains("Read"), "{setting}: {rule}");
            assert_eq!(rule["result"], if setting["offered"] == "deny" { "fail" } else { "pass" }, "{setting}");
            // Nobody but the caller counts: an administrator may have them called.
            let root = context.user("root2", &["admin", "user"]).await;
            assert_eq!(ask(&root, &CALLERS[0], "anthropic", false, &offered(&[tool])).await.status, 200, "{setting}");
            context.stop().await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_asked_for_behind_the_back_of_policies_and_what_is_long_is_judged_as_it_is() {
    let mock = MockUpstream::start().await.expect("a free port");
    let rule = json!({"tools": ["Write"], "when": [{"path": "file_path", "glob": "/etc/*"}]});
    let (context, ada) = server(&mock, json!([{"id": "tool_blocklist", "patterns": ["drop"], "rules": [rule]}])).await;
    let write = |path: &str, length: usize| json!({"content": "x".repeat(length), "file_path": path});
    let many = || std::iter::repeat_n(("Read", json!({"path": "a"})), 130).chain([("dropTable", json!({}))]);
    for (asked, names, status) in [
        (vec![("Write", write("/home/ada/a", 200_000))], &["Write"][..], 200),
        (vec![("Write", write("/etc/passwd", 200_000))], &["Write"], 451),
        // Of what is too long nobody knows.
        (vec![("Write", write("/home/ada/a", 1_100_000))], &["Write"], 451),
        (many().collect(), &["Read", "dropTable"], 451),
        (many().take(130).collect(), &["Read"], 200),
    ] {
        let what = format!("{} of {}", asked.len(), asked[0].0);
        calls(&mock, asked);
        for stream in [false, true] {
            let answer = ask(&ada, &CALLERS[0], "anthropic", stream, &offered(names)).await;
            let is_given = status == 200;
            assert_eq!(answer.status, if is_given || stream { 200 } else { status }, "{what}");
            assert_eq!(!answer.text().contains("[tool_blocklist]"), is_given, "{what}, stream: {stream}");
            assert_eq!(ended(&context, &answer).await.summary.status, if is_given { "completed" } else { "failed" });
        }
    }
    context.stop().await;
}

/// What comes of asking by a hook whether a tool may be used.
async fn hook(client: &TestClient, tool: &str, input: &str) -> String {
    let input: Value = serde_json::from_str(input).expect("JSON");
    let body = json!({"hook_event_name": "PreToolUse", "session_id": "s", "tool_name": tool, "tool_input": input});
    let answer = client.post("/api/public/hooks/govern", &body).await.json();
    answer["hookSpecificOutput"]["permissionDecision"].as_str().expect("a text").to_owned()
}

async fn approve(admin: &TestClient) {
    let listed = admin.get(&format!("{APPROVALS}?state=pending")).await.json();
    let [waiting] = &listed["approvals"].as_array().expect("a list")[..] else { panic!("one waits: {listed}") };
    let id = waiting["id"].as_str().expect("an id");
    assert_eq!(admin.post(&format!("{APPROVALS}/{id}/approve"), &json!({})).await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_is_good_for_an_answer_with_the_call_and_for_making_it() {
    let mock = MockUpstream::start().await.expect("a free port");
    let rules = json!([{"tools": ["deploy"], "reason": "four eyes"}]);
    let (context, ada) = server(&mock, json!([{"id": "require_approval", "rules": rules}])).await;
    let admin = context.admin().await;
    calls(&mock, [("deploy", json!({"to": "prod", "replicas": 3}))]);
    let asks = async || ask(&ada, &CALLERS[0], "anthropic", false, &json!({})).await;
    let first = asks().await;
    assert_eq!(first.status, 451, "{}", first.text());
    assert!(first.text().contains("four eyes") && first.text().contains("have the model ask for it again"));
    assert_eq!(hook(&ada, "deploy", r#"{"to": "prod", "replicas": 3}"#).await, "deny", "it is the same that waits");
    approve(&admin).await;
    assert_eq!(asks().await.status, 200, "the answer is given");
    assert_eq!(hook(&ada, "deploy", r#"{"to": "prod", "replicas": 4}"#).await, "deny", "another input");
    assert_eq!(hook(&ada, "deploy", r#"{"replicas": 3.0, "to": "\u0070rod"}"#).await, "allow", "the same call is made");
    assert_eq!(hook(&ada, "deploy", r#"{"to": "prod", "replicas": 3}"#).await, "deny", "once");
    assert_eq!(asks().await.status, 451, "what was made is another call when it is asked for again");
    context.stop().await;

    // Where nobody asks by a hook, an approval is good for one answer.
    let (context, ada) = server(&mock, json!([{"id": "require_approval", "rules": [{"tools": ["deploy"]}]}])).await;
    let admin = context.admin().await;
    let asks = async || ask(&ada, &CALLERS[0], "anthropic", true, &json!({})).await.text().contains("replicas");
    assert!(!asks().await);
    approve(&admin).await;
    assert!(asks().await && !asks().await);
    approve(&admin).await;
    assert!(asks().await);
    context.stop().await;

    // Where everybody asks by a hook, an operator may leave it to that.
    let policy = json!({"id": "require_approval", "proposals": "note", "rules": [{"tools": ["deploy"]}]});
    let (context, ada) = server(&mock, json!([policy])).await;
    let answer = ask(&ada, &CALLERS[0], "anthropic", false, &offered(&["deploy"])).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let detail = ended(&context, &answer).await;
    let said = detail.inspections.unwrap_or_default();
    assert!(said[0]["result"] == "pass" && said[0]["detail"].to_string().contains("needs an approval"), "{said}");
    assert!(detail.decision.evaluated_rules.to_string().contains("calls wait for an approval: `deploy`"));
    assert_eq!(hook(&ada, "deploy", r#"{"to": "prod", "replicas": 3}"#).await, "deny");
    context.stop().await;
}

/// The answer to a message, of which it is said that some has been read as soon as that is so.
async fn reads_as_it_comes(
    context: &TestContext,
    who: &TestClient,
    message: &Value,
    has_read: &Notify,
) -> TestResponse {
    let key = who.credential().expect("a key").expose();
    let request = Request::post(format!("http://{}/v1/messages", context.address())).header("x-api-key", key);
    let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http::<Full<Bytes>>();
    let request = request.body(Full::new(message.to_string().into())).expect("a request");
    let (head, mut body) = client.request(request).await.expect("an answer").into_parts();
    let mut read = Vec::new();
    while let Some(frame) = timeout(Duration::from_mins(1), body.frame()).await.expect("it goes on") {
        read.extend_from_slice(frame.expect("a piece").data_ref().expect("data"));
        if String::from_utf8_lossy(&read).contains("Read") {
            has_read.notify_one();
        }
    }
    TestResponse { status: head.status, headers: head.headers, body: read.into() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_begins_in_the_place_of_another_is_judged_as_well() {
    let start = |name: &str| {
        json!({"type": "content_block_start", "index": 0,
            "content_block": {"type": "tool_use", "id": format!("toolu_{name}"), "name": name, "input": {}}})
    };
    let input = |part: &str| json!({"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": part}});
    let usage = json!({"input_tokens": 3, "output_tokens": 1});
    let message = json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-test", "content": [],
        "usage": usage});
    let pieces = [
        vec![json!({"type": "message_start", "message": message}), start("Read"), input("{}")],
        vec![
            start("dropTable"),
            input(r#"{"rows": [1, 2]}"#),
            json!({"type": "content_block_stop", "index": 0}),
            json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": usage}),
            json!({"type": "message_stop"}),
        ],
    ];
    let pieces = pieces.map(|events| -> String {
        let framed = |event: &Value| format!("event: {}\ndata: {event}\n\n", event["type"].as_str().expect("a text"));
        events.iter().map(framed).collect()
    });
    let has_read = Arc::new(Notify::new());
    let caller_has_read = Arc::clone(&has_read);
    let provider = Router::new().fallback(async move || {
        let [first, second] = pieces.map(Ok::<_, std::io::Error>);
        // The second comes when the first has been looked at and given.
        let second = async move {
            caller_has_read.notified().await;
            second
        };
        let pieces = stream::iter([first]).chain(stream::once(second));
        ([(CONTENT_TYPE, "text/event-stream")], Body::from_stream(pieces)).into_response()
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move { systemprompt::axum::serve(listener, provider).await });

    let context = TestContext::builder()
        .profile(
            "providers",
            json!([{"name": "odd", "wire": "anthropic", "surface": "anthropic", "endpoint": endpoint,
                "api_key_secret": "upstream", "models": [{"id": "claude-test",
                "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}}]}]),
        )
        .profile("gateway", json!({"enabled": true}))
        .document(
            "access-control/all.yaml",
            json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["user"]}]}),
        )
        .document(
            "governance/config.yaml",
            json!({"governance": {"policies": [{"id": "tool_blocklist", "patterns": ["drop"]}]}}),
        )
        .secret("upstream", "sk-upstream-key")
        .start()
        .await;
    let ada = context.user("ada", &["user"]).await;
    let body = json!({"model": "claude-test", "max_tokens": 50, "stream": true,
        "messages": [{"role": "user", "content": "Hello"}]});
    let answer = reads_as_it_comes(&context, &ada, &body, &has_read).await;
    let text = answer.text();
    assert!(text.contains("Read") && text.contains("[tool_blocklist]") && !text.contains("rows"), "{text}");
    let detail = ended(&context, &answer).await;
    assert_eq!(detail.summary.status, "failed");
    let names = ["Read", "dropTable"];
    assert_eq!(detail.tool_calls.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), names);
    context.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_destroys_is_refused_or_waits_by_how_it_was_offered_by_its_name_and_by_what_it_runs() {
    let mock = MockUpstream::start().await.expect("a free port");
    for (policy, words) in [("tool_blocklist", "blocked by rule 1"), ("require_approval", "waits for the approval")] {
        let rule = json!([{"destructive": true}]);
        let policies = json!([{"id": policy, "patterns": [], "rules": rule}]);
        let policies = if policy == "require_approval" { json!([{"id": policy, "rules": rule}]) } else { policies };
        let (context, ada) = server(&mock, policies).await;
        let tools = json!({"tools": [
            {"name": "merge", "input_schema": {"type": "object"}, "annotations": {"destructiveHint": true}},
            {"name": "look", "input_schema": {"type": "object"}, "annotations": {"readOnlyHint": true}},
        ]});
        for (tool, input, destroys) in [
            ("merge", json!({"cells": 1}), Some("offered as destructive")),
            ("purge_rows", json!({"cells": 1}), Some("has the word `purge`")),
            ("Bash", json!({"command": "cd cells && rm -rf ."}), Some("it deletes files")),
            ("Bash", json!({"command": "ls cells"}), None),
            ("look", json!({"cells": 1}), None),
        ] {
            calls(&mock, [(tool, input)]);
            for stream in [false, true] {
                let answer = ask(&ada, &CALLERS[0], "anthropic", stream, &tools).await;
                let (text, what) = (answer.text(), format!("{policy} {tool} {stream}"));
                assert_eq!(answer.status == 451, destroys.is_some() && !stream, "{what}: {text}");
                assert_eq!(text.contains("tool_use"), destroys.is_none(), "{what}: {text}");
                if let Some(destroys) = destroys {
                    assert!(text.contains(words) && text.contains(destroys), "{what}: {text}");
                }
            }
        }
        context.stop().await;
    }
}
