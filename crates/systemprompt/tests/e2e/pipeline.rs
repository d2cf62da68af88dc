//! Each step of a request fails in its own way: the status, a body in the caller's dialect, a record if there is to be
//! one, and never a connection to the provider.

use http::Method;
use serde_json::{Value, json};

use crate::harness::{Instance, Setup, hello};

const FAKE_AWS_KEY: &str = concat!("AKIA", "IOSFODNN7", "EXAMPLQ");

/// What a refusal must look like.
struct Refusal {
    status: u16,
    anthropic_type: &'static str,
    openai_type: &'static str,
    message: &'static str,
    recorded: bool,
}

/// Sends the same wrong request in both dialects and compares the answers.
async fn refused(instance: &Instance, headers: &[(&str, &str)], anthropic: &str, openai: &str, expected: &Refusal) {
    for (path, body, is_anthropic) in [("/v1/messages", anthropic, true), ("/v1/chat/completions", openai, false)] {
        let answer = instance.send(Method::POST, path, headers, body.to_owned()).await;
        let what = format!("{path} {}: {}", expected.message, answer.text());
        assert_eq!(answer.status.as_u16(), expected.status, "{what}");
        let error = answer.json();
        if is_anthropic {
            assert_eq!(error["type"], "error", "{what}");
            assert_eq!(error["error"]["type"], expected.anthropic_type, "{what}");
        } else {
            assert_eq!(error["error"]["type"], expected.openai_type, "{what}");
            assert!(error["error"].get("param").is_some(), "{what}");
        }
        let message = error["error"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(expected.message), "{what}");
        assert!(answer.header("x-trace-id").is_some(), "{what}");
        assert_eq!(answer.header("x-should-retry"), Some("false"), "it will be refused again: {what}");
        assert_eq!(answer.header("x-systemprompt-request-id").is_some(), expected.recorded, "{what}");
        if expected.recorded {
            let record = instance.record(answer.request_id()).await;
            assert_eq!(record["status"], "rejected", "{what}");
            assert_eq!(record["decision"]["decision"], "deny", "{what}");
            if is_anthropic {
                assert_eq!(error["request_id"], answer.request_id(), "{what}");
            }
        }
    }
}

fn bodies(anthropic_model: &str, openai_model: &str, prompt: &str) -> (String, String) {
    let of = |model: &str| {
        json!({"model": model, "max_tokens": 10, "messages": [{"role": "user", "content": prompt}]}).to_string()
    };
    (of(anthropic_model), of(openai_model))
}

#[tokio::test]
async fn every_step_refuses_in_its_own_way_and_nothing_reaches_the_provider() {
    let governance = "governance:\n  policies:\n  - { id: secret_scan, action: deny }\n".to_owned();
    let instance = Instance::with(Setup { governance: Some(governance), ..Setup::default() }).await;
    let (anthropic, openai) = bodies("claude-test", "gpt-test", "Hello");
    let unauthenticated = Refusal {
        status: 401,
        anthropic_type: "authentication_error",
        openai_type: "authentication_error",
        message: "",
        recorded: false,
    };

    // 3. No credential; 5. one that is wrong in various ways.
    refused(&instance, &[("x-api-key", "")], &anthropic, &openai, &unauthenticated).await;
    let other = format!("{}{}", &instance.key[..instance.key.len() - 4], "0000");
    let unknown = format!("sp-live-000000000000.{}", "0".repeat(52));
    for wrong in ["nonsense", "sp-live-short", other.as_str(), unknown.as_str(), "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ4In0."]
    {
        refused(&instance, &[("x-api-key", wrong)], &anthropic, &openai, &unauthenticated).await;
        refused(&instance, &[("authorization", &format!("Bearer {wrong}"))], &anthropic, &openai, &unauthenticated)
            .await;
    }

    // 6. A session that is nobody's.
    refused(
        &instance,
        &[("x-session-id", "sess_00000000-0000-7000-8000-000000000000")],
        &anthropic,
        &openai,
        &unauthenticated,
    )
    .await;

    // 7. Bodies that are no requests. The message names the field.
    let malformed = Refusal {
        status: 400,
        anthropic_type: "invalid_request_error",
        openai_type: "invalid_request_error",
        message: "",
        recorded: false,
    };
    for (anthropic, openai, message) in [
        ("", "", "JSON"),
        ("[]", "[]", "object"),
        ("{\"model\":", "{\"model\":", "JSON"),
        (
            r#"{"max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#,
            r#"{"messages":[{"role":"user","content":"x"}]}"#,
            "model",
        ),
        (r#"{"model":"claude-test","max_tokens":1}"#, r#"{"model":"gpt-test"}"#, "messages"),
        (
            r#"{"model":"claude-test","max_tokens":1,"messages":[]}"#,
            r#"{"model":"gpt-test","messages":[]}"#,
            "messages",
        ),
        (
            r#"{"model":"claude-test","model":"x","max_tokens":1,"messages":[{"role":"user","content":"x"}]}"#,
            r#"{"model":"gpt-test","mod\u0065l":"x","messages":[{"role":"user","content":"x"}]}"#,
            "model",
        ),
    ] {
        refused(&instance, &[], anthropic, openai, &Refusal { message, ..malformed }).await;
    }

    // 9. No route.
    let (anthropic, openai) = bodies("nobody-knows", "nobody-knows", "Hello");
    let expected = Refusal {
        status: 404,
        anthropic_type: "not_found_error",
        openai_type: "not_found_error",
        message: "No gateway route matches model `nobody-knows`",
        recorded: true,
    };
    refused(&instance, &[], &anthropic, &openai, &expected).await;

    // What the provider has no words for. No policy says so.
    let body = json!({"model": "claude-test", "n": 2, "messages": [{"role": "user", "content": "Hello"}]}).to_string();
    let response = instance.send(Method::POST, "/v1/chat/completions", &[], body).await;
    assert_eq!(response.status, 400);
    assert!(response.text().contains("`n` cannot be sent"), "{}", response.text());
    assert!(!response.text().contains("governance"));

    // 20. The governance chain, over the exact bytes.
    let prompt = format!("my key is {FAKE_AWS_KEY}");
    let (anthropic, openai) = bodies("claude-test", "gpt-test", &prompt);
    let expected = Refusal {
        status: 451,
        anthropic_type: "invalid_request_error",
        openai_type: "invalid_request_error",
        message: "blocked by systemprompt governance: ",
        recorded: true,
    };
    refused(&instance, &[], &anthropic, &openai, &expected).await;

    assert_eq!(instance.mock.statistics().connections, 0, "nothing reached the provider");
}

#[tokio::test]
async fn a_leaked_secret_is_nowhere_stored() {
    let instance = Instance::start().await;
    let body = json!({"model": "claude-test", "max_tokens": 10, "system": format!("use {FAKE_AWS_KEY}"), "messages": [{"role": "user", "content": "Hello"}]});
    let answer = instance.messages(&body).await;
    assert_eq!(answer.status, 200);
    let sent = String::from_utf8_lossy(&instance.mock.requests()[0].body).into_owned();
    assert!(sent.contains("use SECRET_aws_access_key_") && !sent.contains(FAKE_AWS_KEY), "{sent}");
    let record = instance.cli(&["infra", "logs", "audit", answer.request_id(), "--full"]);
    assert_eq!(record["items"][0]["decision"]["policy"], "secret_scan");
    assert!(record["items"][0]["decision"]["evaluated_rules"].to_string().contains("aws-access-key"));
    assert!(!record.to_string().contains(FAKE_AWS_KEY));
    for table in ["ledger", "ledger_content", "ai_requests", "governance_decisions", "logs"] {
        let found = instance.cli(&[
            "infra",
            "db",
            "query",
            &format!("SELECT COUNT(*) FROM {table} AS t WHERE t::text LIKE '%{FAKE_AWS_KEY}%'"),
        ]);
        assert_eq!(found["rows"][0][0], json!(0), "{table}");
    }
}

#[tokio::test]
async fn the_gateway_can_be_off_and_sessions_can_be_required() {
    let off = Instance::with(Setup { gateway: "enabled: false\n".to_owned(), ..Setup::default() }).await;
    let answer = off.messages(&hello("claude-test")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.json()["error"]["message"].as_str()),
        (404, Some("Gateway not enabled"))
    );

    let strict = Instance::with(Setup { gateway: "require_session_id: true\n".to_owned(), ..Setup::default() }).await;
    let answer = strict.messages(&hello("claude-test")).await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"]["message"], "missing required x-session-id header");
    let answer = strict
        .send(Method::POST, "/v1/messages", &[("x-session-id", "issue-61")], hello("claude-test").to_string())
        .await;
    assert_eq!(answer.status, 400);
    let message = answer.json()["error"]["message"].as_str().expect("a text").to_owned();
    assert!(message.contains("sess_<uuid>"), "{message}");
    assert_eq!(strict.mock.statistics().connections, 0);
}

#[tokio::test]
async fn access_rules_decide_who_may_use_a_route() {
    let instance = Instance::start().await;
    let user = instance.cli(&["admin", "users", "create", "--name", "eve", "--email", "eve@example.com"]);
    let key = instance.cli(&["admin", "users", "api-key", "issue", "eve", "--name", "test"]);
    let secret = key["api_key"].as_str().expect("a key").to_owned();
    let ask = async || {
        instance.send(Method::POST, "/v1/messages", &[("x-api-key", &secret)], hello("claude-test").to_string()).await
    };
    assert_eq!(ask().await.status, 200, "users have a seeded grant");
    let id = user["id"].as_str().expect("an id");
    let rule = format!(
        "INSERT INTO access_control_rules (id, entity_type, entity_id, rule_type, rule_value, access, source, created_at, updated_at) \
         VALUES (gen_random_uuid(), 'gateway_route', 'mock-anthropic', 'user', '{id}', 'deny', 'api', now(), now())"
    );
    instance.cli(&["infra", "db", "execute", "--yes", &rule]);
    let before = instance.mock.statistics().requests;
    // The rule is in force with the notification, which is a moment after the commit.
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let refused = loop {
        let answer = ask().await;
        if answer.status != 200 || std::time::Instant::now() > deadline {
            break answer;
        }
    };
    assert_eq!(refused.status, 403, "{}", refused.text());
    assert_eq!(refused.json()["error"]["type"], "permission_error");
    let record = instance.record(refused.request_id()).await;
    assert_eq!((record["status"].as_str(), record["decision"]["decision"].as_str()), (Some("rejected"), Some("deny")));
    let after = instance.mock.statistics().requests;
    assert_eq!(ask().await.status, 403);
    assert_eq!(instance.mock.statistics().requests, after, "nothing reaches the provider once the rule is in force");
    assert!(after >= before);
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200, "others are not affected");
    let models = instance.send(Method::GET, "/v1/models", &[("x-api-key", &secret)], "").await.json();
    assert!(!models.to_string().contains("claude-test"), "{models}");
}

#[tokio::test]
async fn a_revoked_key_is_refused_on_the_next_request() {
    let instance = Instance::start().await;
    let key = instance.cli(&["admin", "users", "api-key", "issue", "admin", "--name", "second"]);
    let (id, secret) = (key["id"].as_str().expect("an id"), key["api_key"].as_str().expect("a secret"));
    let ask = async || {
        instance
            .send(Method::POST, "/v1/messages", &[("x-api-key", secret)], hello("claude-test").to_string())
            .await
            .status
    };
    assert_eq!(ask().await, 200);
    instance.cli(&["admin", "users", "api-key", "revoke", id, "--yes"]);
    assert_eq!(ask().await, 401);
}

#[tokio::test]
async fn the_rate_limit_counts_per_session_and_says_when_to_come_back() {
    let governance = "governance:\n  policies:\n  - { id: secret_scan }\n  - { id: rate_limit, requests_per_window: 3, window_secs: 60 }\n";
    let instance = Instance::with(Setup { governance: Some(governance.to_owned()), ..Setup::default() }).await;
    for _ in 0..3 {
        assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);
    }
    let refused = instance.messages(&hello("claude-test")).await;
    assert_eq!(refused.status, 429, "{}", refused.text());
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    let wait: u64 = refused.header("retry-after").and_then(|value| value.parse().ok()).expect("seconds to wait");
    assert!((1..=60).contains(&wait), "{wait}");
    assert!(refused.text().contains("of one session"), "{}", refused.text());
    assert_eq!(refused.header("x-should-retry"), None);
    let other = json!({"model": "claude-test", "max_tokens": 10, "messages": [{"role": "user", "content": "another conversation"}]});
    assert_eq!(instance.messages(&other).await.status, 200, "another conversation is another session");
    assert_eq!(instance.mock.statistics().requests, 4);
}

#[tokio::test]
async fn sessions_follow_the_conversation_and_clients_may_name_their_own() {
    let instance = Instance::start().await;
    let session = async |headers: &[(&str, &str)], prompt: &str| {
        let body = json!({"model": "claude-test", "max_tokens": 10, "messages": [{"role": "user", "content": prompt}]})
            .to_string();
        let answer = instance.send(Method::POST, "/v1/messages", headers, body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        instance.record(answer.request_id()).await["session_id"].as_str().expect("a session").to_owned()
    };
    let first = session(&[], "one").await;
    assert!(first.starts_with("sess_"));
    assert_eq!(session(&[], "one").await, first);
    assert_ne!(session(&[], "two").await, first);
    assert_ne!(session(&[("user-agent", "another-client/1")], "one").await, first);
    let named = session(&[("x-claude-code-session-id", "abc")], "three").await;
    assert_eq!(
        session(&[("x-claude-code-session-id", "abc")], "four").await,
        named,
        "the client's id wins over the conversation"
    );
    assert_eq!(session(&[("x-session-id", &first)], "five").await, first, "a live session of the caller may be named");
    let foreign = session(&[("x-session-id", "ses_f84c6ba38ffe6UeTRaX25G3KTr")], "six").await;
    assert_eq!(session(&[("x-session-id", "ses_f84c6ba38ffe6UeTRaX25G3KTr")], "seven").await, foreign);
    assert_ne!(session(&[("x-session-id", "issue-61")], "seven").await, foreign);
    assert_eq!(session(&[("x-session-id", "")], "one").await, first, "an empty one says nothing");
    let stored: Value = instance.cli(&[
        "infra",
        "db",
        "query",
        "SELECT client_session_id FROM user_sessions WHERE client_session_id IS NOT NULL ORDER BY started_at",
    ]);
    assert_eq!(stored["rows"], json!([["abc"], ["ses_f84c6ba38ffe6UeTRaX25G3KTr"], ["issue-61"]]));
}
