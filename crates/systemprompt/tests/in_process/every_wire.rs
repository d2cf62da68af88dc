//! Callers of every dialect, and a server with a provider of every wire, all of which are one mock: `<wire>-test` is the
//! model of each.

use http::Request;
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_mock_upstream::MockUpstream;

pub(crate) const WIRES: [&str; 4] = ["anthropic", "openai-chat", "openai-responses", "gemini"];

/// A caller of one dialect, and a model of a provider that speaks the same.
pub(crate) struct Caller {
    pub(crate) model: &'static str,
    pub(crate) asks: fn(&str, &[&str], bool) -> (String, Value),
    /// The code of an error, in its body and in its event.
    pub(crate) code: fn(&Value) -> Option<&str>,
    pub(crate) message: fn(&Value) -> Option<&str>,
    /// Whether an event ends a stream that is complete.
    pub(crate) ends: fn(&Value) -> bool,
}

/// Turns of user and assistant, in turns, as messages.
fn messages(turns: &[&str]) -> Vec<Value> {
    let role = |at: usize| if at.is_multiple_of(2) { "user" } else { "assistant" };
    turns.iter().enumerate().map(|(at, turn)| json!({"role": role(at), "content": turn})).collect()
}

fn error_text(body: &Value) -> Option<&str> {
    let error = if body["error"].is_object() { &body["error"] } else { &body["response"]["error"] };
    error["message"].as_str().or(body["message"].as_str())
}

pub(crate) const CALLERS: [Caller; 4] = [
    Caller {
        model: "anthropic-test",
        asks: |model, turns, stream| {
            let body = json!({"model": model, "max_tokens": 50, "stream": stream, "messages": messages(turns)});
            ("/v1/messages".to_owned(), body)
        },
        code: |body| body["error"]["type"].as_str(),
        message: error_text,
        ends: |event| event["type"] == "message_stop",
    },
    Caller {
        model: "openai-chat-test",
        asks: |model, turns, stream| {
            let body = json!({"model": model, "max_tokens": 50, "stream": stream, "messages": messages(turns)});
            ("/v1/chat/completions".to_owned(), body)
        },
        code: |body| body["error"]["code"].as_str(),
        message: error_text,
        ends: |event| event["choices"][0]["finish_reason"] == "stop",
    },
    Caller {
        model: "openai-responses-test",
        asks: |model, turns, stream| {
            let body = json!({"model": model, "max_output_tokens": 50, "stream": stream, "input": messages(turns)});
            ("/v1/responses".to_owned(), body)
        },
        code: |body| {
            body["error"]["code"].as_str().or(body["code"].as_str()).or(body["response"]["error"]["code"].as_str())
        },
        message: error_text,
        ends: |event| event["type"] == "response.completed",
    },
    Caller {
        model: "gemini-test",
        asks: |model, turns, stream| {
            let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            let role = |at: usize| if at.is_multiple_of(2) { "user" } else { "model" };
            let contents: Vec<Value> = turns
                .iter()
                .enumerate()
                .map(|(at, turn)| json!({"role": role(at), "parts": [{"text": turn}]}))
                .collect();
            (format!("/v1beta/models/{model}:{method}"), json!({"contents": contents}))
        },
        code: |body| body["error"]["status"].as_str(),
        message: error_text,
        ends: |event| event["candidates"][0]["finishReason"] == "STOP",
    },
];

/// The server, before it is started. Every model may be used by users and administrators.
pub(crate) fn every_wire(mock: &MockUpstream) -> TestContextBuilder {
    let providers = WIRES.map(|wire| {
        json!({"name": wire, "wire": wire, "surface": "openai", "endpoint": mock.endpoint(),
            "api_key_secret": "upstream", "resilience": {"retry_attempts": 0}, "models": [{"id": format!("{wire}-test"),
            "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}}]})
    });
    TestContext::builder()
        .profile("providers", json!(providers))
        .profile("gateway", json!({"enabled": true}))
        .document(
            "access-control/all.yaml",
            json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["user", "admin"]}]}),
        )
        .secret("upstream", "sk-upstream-key")
}

/// What a client is answered whose body has these members besides, always in the same session of its own.
pub(crate) async fn ask(client: &TestClient, caller: &Caller, wire: &str, stream: bool, extra: &Value) -> TestResponse {
    let (path, mut body) = (caller.asks)(&format!("{wire}-test"), &["Hello"], stream);
    for (key, value) in extra.as_object().expect("an object") {
        body[key] = value.clone();
    }
    let request = Request::post(path).header("x-claude-code-session-id", "s");
    client.request(request.body(body.to_string()).expect("a request")).await
}
