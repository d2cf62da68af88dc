//! Providers that misbehave: what the caller gets, what is recorded, and that we go on.

use http::Method;
use serde_json::{Value, json};
use systemprompt_mock_upstream::{Behaviour, Fault};

use crate::harness::{Instance, Setup, hello, mock_providers};

/// Short limits, so that waiting for them does not take long.
const HASTY: &str =
    "resilience: { first_byte_timeout_ms: 300, stream_idle_timeout_ms: 300, request_timeout_ms: 3000 }\n";

fn faulty(fault: Fault) -> Behaviour {
    Behaviour { fault: Some(fault), ..Behaviour::default() }
}

#[tokio::test]
async fn buffered_answers_that_go_wrong() {
    let hasty = "resilience: { request_timeout_ms: 400 }\n";
    let instance = Instance::with(Setup { gateway: hasty.to_owned(), ..Setup::default() }).await;
    let status = |status, body: Option<&str>, retry_after: Option<&str>| Fault::Status {
        status,
        body: body.map(str::to_owned),
        retry_after: retry_after.map(str::to_owned),
    };
    let explained = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    for (fault, expected, message) in [
        (status(529, Some(explained), None), 529, "Overloaded"),
        (status(429, Some(explained), Some("7")), 429, "Overloaded"),
        (status(400, Some(explained), None), 400, "Overloaded"),
        (status(500, Some(""), None), 502, "500"),
        (status(429, Some(""), Some("7")), 429, "429"),
        (status(408, Some(""), None), 504, "408"),
        (status(302, Some(""), None), 502, "302"),
        (Fault::EmptyBody, 502, "not a message"),
        (Fault::GarbageJson, 502, "not a message"),
        (Fault::CloseBeforeHeaders, 502, "closed"),
        (Fault::CloseMidStream { after_chunks: 1 }, 502, "broke off"),
        (Fault::HangBeforeHeaders, 504, "did not answer"),
        (Fault::HangMidStream { after_chunks: 1 }, 504, "did not answer"),
    ] {
        instance.mock.behave(faulty(fault.clone()));
        let answer = instance.messages(&hello("claude-test")).await;
        let what = format!("{fault:?}: {}", answer.text());
        assert_eq!(answer.status.as_u16(), expected, "{what}");
        assert_eq!(answer.json()["type"], "error", "{what}");
        assert!(answer.json()["error"]["message"].as_str().unwrap_or_default().contains(message), "{what}");
        if matches!(fault, Fault::Status { retry_after: Some(_), .. }) {
            assert_eq!(answer.header("retry-after"), Some("7"), "{what}");
        }
        let record = instance.record(answer.request_id()).await;
        assert_eq!(record["status"], "failed", "{what}");
    }
    instance.mock.behave(Behaviour::default());
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200, "and all is well again");
}

#[tokio::test]
async fn streams_that_go_wrong_end_with_an_error_in_the_callers_dialect() {
    let instance = Instance::with(Setup { gateway: HASTY.to_owned(), ..Setup::default() }).await;
    for (fault, message) in
        [(Fault::CloseMidStream { after_chunks: 2 }, "broke off"), (Fault::HangMidStream { after_chunks: 2 }, "silent")]
    {
        for (path, model) in [("/v1/messages", "claude-test"), ("/v1/chat/completions", "gpt-test")] {
            instance.mock.behave(faulty(fault.clone()));
            let body = json!({"model": model, "max_tokens": 10, "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
            let answer = instance.send(Method::POST, path, &[], body.to_string()).await;
            let what = format!("{path} {fault:?}: {}", answer.text());
            assert_eq!(answer.status, 200, "{what}");
            let last = answer.text().trim_end().rsplit("\n\n").next().unwrap_or_default();
            let data = last.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or_default();
            let error: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {what}"));
            assert!(error["error"]["message"].as_str().unwrap_or_default().contains(message), "{what}");
            if path == "/v1/messages" {
                assert!(last.starts_with("event: error"), "{what}");
            }
            let record = instance.record(answer.request_id()).await;
            assert_eq!(record["status"], "failed", "{what}");
        }
    }
}

#[tokio::test]
async fn half_a_character_per_piece_arrives_whole() {
    let instance = Instance::start().await;
    instance.mock.behave(Behaviour { chunk_text: "grüße, 世界 🙂 ".to_owned(), ..faulty(Fault::SplitUtf8) });
    for stream in [false, true] {
        let body = json!({"model": "claude-test", "max_tokens": 10, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]});
        let answer = instance.messages(&body).await;
        assert!(answer.text().contains("世界 🙂"), "{}", answer.text());
        assert_eq!(instance.record(answer.request_id()).await["status"], "completed");
    }
}

#[tokio::test]
async fn a_provider_that_is_not_there() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let providers = mock_providers(&format!("http://{free}/v1"));
    let instance = Instance::with(Setup { providers: Some(providers), ..Setup::default() }).await;
    let answer = instance.messages(&hello("claude-test")).await;
    assert_eq!(answer.status, 502);
    assert_eq!(answer.json()["error"]["message"], "upstream provider unreachable");
    assert_eq!(instance.record(answer.request_id()).await["status"], "failed");
}

#[tokio::test]
async fn a_caller_that_goes_away_cancels_the_call_and_is_recorded() {
    let instance = Instance::start().await;
    instance.mock.behave(Behaviour { chunks: 10_000, chunk_delay_ms: 20, ..Behaviour::default() });
    let body = json!({"model": "claude-test", "max_tokens": 10, "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
    let mut open = instance.open(Method::POST, "/v1/messages", &[], body.to_string()).await;
    let id = open.headers["x-systemprompt-request-id"].to_str().expect("an id").to_owned();
    assert!(open.chunk().await.is_some());
    drop(open);
    let record = instance.record(&id).await;
    assert_eq!(
        (record["status"].as_str(), record["error_message"].as_str()),
        (Some("failed"), Some("client_disconnected"))
    );
    assert!(record["output_tokens"].as_i64().is_some_and(|tokens| tokens > 0), "what was seen is not free: {record}");
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while instance.mock.statistics().open_answers > 0 {
        assert!(std::time::Instant::now() < deadline, "the provider is still answering");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn hanging_up_before_the_usage_comes_does_not_make_an_answer_free() {
    let instance = Instance::start().await;
    instance.mock.behave(Behaviour { chunks: 10_000, chunk_delay_ms: 5, ..Behaviour::default() });
    let body =
        json!({"model": "gpt-test", "stream": true, "messages": [{"role": "user", "content": "Hello, how are you?"}]});
    let mut open = instance.open(Method::POST, "/v1/chat/completions", &[], body.to_string()).await;
    let id = open.headers["x-systemprompt-request-id"].to_str().expect("an id").to_owned();
    let mut seen = 0;
    while seen < 4000 {
        seen += open.chunk().await.expect("the stream goes on").len();
    }
    drop(open);
    let record = instance.record(&id).await;
    assert_eq!(record["error_message"], "client_disconnected", "{record}");
    for counted in ["input_tokens", "output_tokens", "cost_microdollars"] {
        assert!(record[counted].as_i64().is_some_and(|count| count > 0), "{counted}: {record}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_provider_closed_costs_the_caller_nothing() {
    let instance = Instance::start().await;
    for stream in [false, true] {
        let body = json!({"model": "claude-test", "max_tokens": 10, "stream": stream, "messages": [{"role": "user", "content": "Hello"}]});
        instance.mock.behave(Behaviour { fault_times: Some(1), ..faulty(Fault::CloseIdle) });
        assert_eq!(instance.messages(&body).await.status, 200, "the connection is open now");
        let before = instance.mock.statistics();
        let answer = instance.messages(&body).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let after = instance.mock.statistics();
        assert_eq!(after.requests - before.requests, 1, "the provider read one request");
        assert_eq!(after.connections - before.connections, 1, "the second attempt had a connection of its own");
        let record = instance.record(answer.request_id()).await;
        assert_eq!((record["status"].as_str(), record["attempts"].as_i64()), (Some("completed"), Some(2)), "{record}");
    }
}

#[tokio::test]
async fn a_request_that_the_provider_read_is_sent_once() {
    let instance = Instance::start().await;
    // The connection has served before, so only the provider's goodbye tells that it read the request.
    assert_eq!(instance.messages(&hello("claude-test")).await.status, 200);
    instance.mock.behave(Behaviour { fault_times: Some(1), ..faulty(Fault::CloseBeforeHeaders) });
    let before = instance.mock.statistics().requests;
    let answer = instance.messages(&hello("claude-test")).await;
    assert_eq!(answer.status, 502, "{}", answer.text());
    assert_eq!(instance.mock.statistics().requests - before, 1);
    let record = instance.record(answer.request_id()).await;
    assert_eq!((record["status"].as_str(), record["attempts"].as_i64()), (Some("failed"), Some(1)), "{record}");
}
