//! Wires of the clouds: what reaches a provider there, with which credential, and what comes back of it.

use http::{Request, StatusCode};
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_mock_upstream::{Behaviour, CapturedRequest, Fault, MockToolCall, MockUpstream, MockUsage};

struct Fixture {
    mock: MockUpstream,
    context: TestContext,
    ada: TestClient,
}

/// What a provider and its model have in common with all others.
fn provider(name: &str, rest: Value) -> Value {
    let mut provider = json!({"name": name, "surface": "anthropic", "resilience": {"retry_attempts": 0}, "models": [
        {"id": format!("on-{name}"), "upstream_model": "eu.model-1:0",
         "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}]});
    provider.as_object_mut().expect("an object").extend(rest.as_object().expect("an object").clone());
    provider
}

fn builder(providers: Vec<Value>) -> TestContextBuilder {
    let key = json!({"access_key_id": "AKIDTEST", "secret_access_key": "not really one"}).to_string();
    TestContext::builder()
        .profile("providers", Value::from(providers))
        .profile("gateway", json!({"enabled": true}))
        .secret("aws", &key)
        .secret("one", "key-one")
        .secret("two", "key-two")
        .secret("entra", "a client's proof")
}

impl Fixture {
    async fn new() -> Self {
        let mock = MockUpstream::start().await.expect("a free port");
        let (url, endpoint) = (mock.url(), mock.endpoint());
        let google = json!({"source": "metadata", "token_url": url});
        let vertex = |wire: &str| json!({"wire": wire, "endpoint": endpoint, "project": "p-1", "location": "europe-west1", "identity": google});
        let entra = json!({"tenant_id": "t", "client_id": "c", "token_url": format!("{url}/token")});
        let machine = json!({"source": "metadata", "token_url": url});
        let keys = json!(["one", "two"]);
        let context = builder(vec![
            provider("bedrock", json!({"wire": "bedrock-anthropic", "endpoint": url, "region": "eu-central-1", "api_key_secret": "aws"})),
            provider("role", json!({"wire": "bedrock-anthropic", "endpoint": url, "region": "eu-central-1", "identity": machine})),
            provider("converse", json!({"wire": "bedrock-converse", "endpoint": url, "region": "eu-central-1", "api_key_secret": "aws"})),
            provider("vertex", vertex("vertex-anthropic")),
            provider("google", vertex("vertex-gemini")),
            provider("gemini", json!({"wire": "gemini", "endpoint": format!("{url}/v1beta"), "api_key_secret": "one"})),
            provider("foundry", json!({"wire": "anthropic", "endpoint": endpoint, "auth": "entra", "api_key_secret": "entra", "identity": entra})),
            provider("azure", json!({"wire": "openai-chat", "endpoint": format!("{url}/openai/v1"), "auth": "header:api-key", "api_key_secret": "two", "max_tokens_field": "max_tokens"})),
            provider("keys", json!({"wire": "anthropic", "endpoint": endpoint, "api_key_secrets": keys})),
            provider("nobody", json!({"wire": "anthropic", "endpoint": endpoint, "auth": "entra", "api_key_secret": "entra",
                "identity": {"tenant_id": "t", "client_id": "c", "token_url": "http://127.0.0.1:1/token"}})),
        ])
        .start()
        .await;
        let ada = context.user("ada", &["admin"]).await;
        Self { mock, context, ada }
    }

    async fn ask(&self, provider: &str, stream: bool) -> TestResponse {
        let body = format!(
            r#"{{"model":"on-{provider}","max_tokens":9, "stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
        );
        let request = Request::post("/v1/messages").header("anthropic-beta", "a-1, b-2").body(body);
        self.ada.request(request.expect("a request")).await
    }

    /// The last request for an answer.
    fn arrived(&self) -> CapturedRequest {
        let mut requests = self.mock.requests();
        requests.retain(|request| request.header("accept-encoding") == Some("identity"));
        requests.pop().expect("a request")
    }
}

#[tokio::test]
async fn requests_arrive_at_the_address_and_in_the_envelope_of_their_cloud() {
    let fixture = Fixture::new().await;
    let messages = r#""messages":[{"role":"user","content":"hi"}]"#;
    let bedrock = format!(
        r#"{{"anthropic_version":"bedrock-2023-05-31","anthropic_beta":["a-1","b-2"],"max_tokens":9, {messages}}}"#
    );
    let vertex =
        |stream| format!(r#"{{"anthropic_version":"vertex-2023-10-16","max_tokens":9, "stream":{stream},{messages}}}"#);
    let anthropic = |stream| format!(r#"{{"model":"eu.model-1:0","max_tokens":9, "stream":{stream},{messages}}}"#);
    let place = "/v1/projects/p-1/locations/europe-west1/publishers";
    let aws = "AWS4-HMAC-SHA256 Credential=";
    for (provider, stream, path, header, value, body) in [
        ("bedrock", false, "/model/eu.model-1%3A0/invoke".to_owned(), "authorization", aws, Some(bedrock.clone())),
        (
            "bedrock",
            true,
            "/model/eu.model-1%3A0/invoke-with-response-stream".to_owned(),
            "authorization",
            aws,
            Some(bedrock.clone()),
        ),
        (
            "role",
            false,
            "/model/eu.model-1%3A0/invoke".to_owned(),
            "x-amz-security-token",
            "mock-session",
            Some(bedrock),
        ),
        ("converse", false, "/model/eu.model-1%3A0/converse".to_owned(), "authorization", aws, None),
        ("converse", true, "/model/eu.model-1%3A0/converse-stream".to_owned(), "authorization", aws, None),
        (
            "vertex",
            false,
            format!("{place}/anthropic/models/eu.model-1%3A0:rawPredict"),
            "authorization",
            "Bearer mock-token-",
            Some(vertex(false)),
        ),
        (
            "vertex",
            true,
            format!("{place}/anthropic/models/eu.model-1%3A0:streamRawPredict"),
            "authorization",
            "Bearer mock-token-",
            Some(vertex(true)),
        ),
        (
            "google",
            false,
            format!("{place}/google/models/eu.model-1%3A0:generateContent"),
            "authorization",
            "Bearer mock-token-",
            None,
        ),
        (
            "google",
            true,
            format!("{place}/google/models/eu.model-1%3A0:streamGenerateContent?alt=sse"),
            "authorization",
            "Bearer mock-token-",
            None,
        ),
        (
            "gemini",
            true,
            "/v1beta/models/eu.model-1%3A0:streamGenerateContent?alt=sse".to_owned(),
            "x-goog-api-key",
            "key-one",
            None,
        ),
        ("foundry", false, "/v1/messages".to_owned(), "authorization", "Bearer mock-token-", Some(anthropic(false))),
        ("azure", false, "/openai/v1/chat/completions".to_owned(), "api-key", "key-two", None),
        ("keys", true, "/v1/messages".to_owned(), "x-api-key", "key-one", Some(anthropic(true))),
    ] {
        let answer = fixture.ask(provider, stream).await;
        assert_eq!(answer.status, StatusCode::OK, "{provider}: {}", answer.text());
        assert!(answer.text().contains("token "), "{provider}: {}", answer.text());
        let arrived = fixture.arrived();
        assert_eq!(arrived.path, path);
        let shown = arrived.header(header).unwrap_or_default();
        assert!(shown.starts_with(value), "{provider}: {header}: {shown}");
        if let Some(body) = body {
            assert_eq!(String::from_utf8_lossy(&arrived.body), body, "{provider}");
        }
        let beta = (provider != "bedrock" && provider != "role").then_some("a-1, b-2");
        let takes_beta = ["vertex", "foundry", "keys", "bedrock", "role"].contains(&provider);
        assert_eq!(arrived.header("anthropic-beta"), beta.filter(|_| takes_beta), "{provider}");
    }
    fixture.ask("azure", false).await;
    let written: Value = serde_json::from_slice(&fixture.arrived().body).expect("JSON");
    assert_eq!((&written["max_tokens"], &written["max_completion_tokens"]), (&json!(9), &Value::Null));
}

#[tokio::test]
async fn a_stream_of_frames_is_a_stream_of_events_to_the_caller() {
    let fixture = Fixture::new().await;
    let usage = Some(MockUsage { input_tokens: 7, output_tokens: 5, cache_read_tokens: 3, cache_creation_tokens: 2 });
    let tool_calls = vec![MockToolCall { name: "look".to_owned(), input: json!({"at": "it"}) }];
    fixture.mock.behave(Behaviour { usage, tool_calls, thinking: Some("hm".to_owned()), ..Behaviour::default() });
    let [framed, plain] = [fixture.ask("bedrock", true).await, fixture.ask("vertex", true).await];
    assert_eq!(framed.header("content-type"), "text/event-stream");
    assert_eq!(framed.text(), plain.text(), "the same as where there are no frames");
    assert!(framed.text().ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"), "{}", framed.text());

    let chunk = 3;
    for (fault, word) in [
        (Fault::GarbageChunk { after_chunks: chunk }, "damaged"),
        (Fault::CloseMidStream { after_chunks: chunk }, "broke off"),
        (Fault::NoTerminalEvent, "message_delta"),
    ] {
        fixture.mock.behave(Behaviour { fault: Some(fault), ..Behaviour::default() });
        let text = fixture.ask("bedrock", true).await.text();
        assert!(text.contains(word), "{text}");
        if word != "message_delta" {
            assert_eq!(text.matches("text_delta").count(), chunk, "{text}");
            assert!(text.contains("event: error\n") && !text.contains("message_stop"), "{text}");
        }
    }

    // AWS's words for an error are not Anthropic's, which the caller speaks.
    fixture.mock.behave(Behaviour {
        fault: Some(Fault::Status { status: 429, body: None, retry_after: Some("9".to_owned()) }),
        ..Behaviour::default()
    });
    let refused = fixture.ask("bedrock", true).await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::TOO_MANY_REQUESTS, "9"));
    assert_eq!(refused.json()["error"]["type"], "rate_limit_error");
    assert_eq!(refused.json()["error"]["message"], "mock: rate limited");
}

#[tokio::test]
async fn one_token_serves_all_and_without_one_nothing_is_sent() {
    let fixture = Fixture::new().await;
    let answers = futures_util::future::join_all((0..20).map(|_| fixture.ask("foundry", false))).await;
    assert!(answers.iter().all(|answer| answer.status == StatusCode::OK));
    let statistics = fixture.mock.statistics();
    assert_eq!((statistics.token_requests, statistics.requests), (1, 20));

    let refused = fixture.ask("nobody", false).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    let message = refused.json()["error"]["message"].as_str().unwrap_or_default().to_owned();
    assert!(message.contains("no credential") && message.contains("`nobody`"), "{message}");
    assert_eq!(fixture.mock.statistics().requests, 20);
    fixture.context.stop().await;
}

#[tokio::test]
async fn the_next_key_serves_when_one_is_refused_or_used_up() {
    for status in [401, 429] {
        let fixture = Fixture::new().await;
        let refused_keys = [("key-one".to_owned(), status)].into();
        fixture.mock.behave(Behaviour { refused_keys, ..Behaviour::default() });
        for _ in 0..3 {
            let answer = fixture.ask("keys", false).await;
            assert_eq!(answer.status, StatusCode::OK, "{status}: {}", answer.text());
        }
        let keys: Vec<_> = fixture.mock.requests();
        let keys: Vec<&str> = keys.iter().filter_map(|request| request.header("x-api-key")).collect();
        assert_eq!(keys, ["key-one", "key-two", "key-two", "key-two"], "{status}");
    }
}

#[test]
fn what_cannot_be_served_is_told_at_start() {
    let entra = json!({"source": "metadata", "tenant_id": "t", "role_arn": "r"});
    let problems = builder(vec![
        provider("a", json!({"wire": "bedrock-anthropic", "project": "p"})),
        provider("b", json!({"wire": "vertex-gemini", "location": "eu west", "api_key_secret": "missing"})),
        provider("c", json!({"wire": "anthropic", "endpoint": "https://a.example", "auth": "entra", "identity": entra, "max_tokens_field": "max_tokens"})),
        provider("d", json!({"wire": "openai-chat", "endpoint": "https://a.example", "auth": "none", "api_key_secrets": ["one", "one"]})),
        provider("e", json!({"wire": "gemini", "endpoint": "https://a.example", "auth": "header:host", "api_key_secret": "one"})),
        provider("f", json!({"wire": "anthropic", "endpoint": "https://a.example", "auth": "sigv4", "region": "r",
            "identity": {"source": "token_file", "token_url": "http://169.254.169.254"}})),
    ])
    .problems();
    let all = problems.join("\n");
    for field in [
        "providers[0].region",
        "providers[0].project",
        "providers[0].api_key_secret",
        "providers[1].project",
        "providers[1].location",
        "providers[1].api_key_secret",
        "providers[2].identity.tenant_id",
        "providers[2].identity.role_arn",
        "providers[2].max_tokens_field",
        "providers[3].api_key_secrets[0]",
        "providers[3].api_key_secrets[1]",
        "providers[4].auth",
        "providers[5].identity.role_arn",
        "providers[5].identity.token_file",
        "providers[5].identity.token_url",
    ] {
        assert!(all.contains(field), "{field} is not in:\n{all}");
    }
}
