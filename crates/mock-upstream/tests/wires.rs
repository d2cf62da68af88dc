//! Every wire says the same, each in its own words, and the token services hand out tokens.

use bytes::Bytes;
use http::{Method, Request};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use systemprompt_mock_upstream::{Behaviour, Fault, MockStop, MockToolCall, MockUpstream};

struct Fixture {
    upstream: MockUpstream,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Fixture {
    async fn new() -> Self {
        let upstream = MockUpstream::start().await.expect("a free port");
        Self { upstream, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn send(&self, request: http::request::Builder, body: &str) -> (http::response::Parts, Bytes) {
        let request = request.body(Full::from(body.to_owned())).expect("a request");
        let (head, body) = self.client.request(request).await.expect("an answer").into_parts();
        (head, body.collect().await.expect("a body").to_bytes())
    }

    async fn post(&self, path: &str, body: &str) -> (http::response::Parts, Bytes) {
        self.send(Request::post(format!("{}{path}", self.upstream.url())), body).await
    }

    async fn json(&self, path: &str, body: &Value) -> Value {
        let (head, answer) = self.post(path, &body.to_string()).await;
        serde_json::from_slice(&answer).unwrap_or_else(|_| panic!("{path}: {} {answer:?}", head.status))
    }

    async fn text(&self, path: &str, body: &Value) -> String {
        String::from_utf8_lossy(&self.post(path, &body.to_string()).await.1).into_owned()
    }
}

fn everything() -> Behaviour {
    let call = |at: &str| MockToolCall { name: "look".into(), input: json!({ "at": at }) };
    Behaviour {
        chunks: 2,
        text: Some("some text".into()),
        thinking: Some("hm".into()),
        tool_calls: vec![call("one"), call("two")],
        ..Behaviour::default()
    }
}

const WHOLE: [(&str, &str); 6] = [
    ("/v1/messages", "toolu_mock_2"),
    ("/openai/v1/chat/completions", "call_mock_2"),
    ("/v1/responses", "fc_mock_2"),
    ("/v1beta/models/m:generateContent", "functionCall"),
    ("/model/eu.m%3A0/invoke", "toolu_mock_2"),
    ("/model/eu.m%3A0/converse", "tooluse_mock_2"),
];

#[tokio::test]
async fn every_wire_says_the_same() {
    let fixture = Fixture::new().await;
    fixture.upstream.behave(everything());
    for (path, last_call) in WHOLE {
        let body = json!({ "model": "m", "messages": [], "input": "x" });
        let whole = fixture.json(path, &body).await.to_string();
        assert!(whole.contains("some text") && whole.contains(last_call), "{path}: {whole}");
        assert_eq!(whole.contains("hm"), !path.ends_with("/completions"), "{path}: {whole}");
    }
    let stream = json!({ "model": "m", "stream": true });
    for (path, begin, end) in [
        ("/v1/messages", "event: message_start\n", "{\"type\":\"message_stop\"}\n\n"),
        ("/v1/chat/completions", "data: {", "data: [DONE]\n\n"),
        ("/v1/responses", "event: response.created\n", "}\n\n"),
        ("/v1beta/models/m:streamGenerateContent?alt=sse", "data: {", "}\n\n"),
        ("/v1beta/models/m:streamGenerateContent", "[{", "}]"),
        ("/v1/projects/p/locations/l/publishers/anthropic/models/m:streamRawPredict", "event: message_start", "\n\n"),
        ("/v1/projects/p/locations/l/publishers/google/models/m:streamGenerateContent?alt=sse", "data: {", "\n\n"),
    ] {
        let text = fixture.text(path, &stream).await;
        assert!(text.starts_with(begin) && text.ends_with(end), "{path}: {text}");
        assert!(text.contains("some ") && !text.contains("some text\"}}\n"), "{path}: {text}");
    }
    for (path, kind) in [("invoke-with-response-stream", "chunk"), ("converse-stream", "contentBlockDelta")] {
        let (head, body) = fixture.post(&format!("/model/m/{path}"), "{}").await;
        assert_eq!(head.headers["content-type"], "application/vnd.amazon.eventstream");
        assert!(String::from_utf8_lossy(&body).contains(kind));
        let length = u32::from_be_bytes(body[..4].try_into().expect("four bytes")) as usize;
        assert_eq!(crc32fast::hash(&body[..length - 4]).to_be_bytes(), body[length - 4..length]);
    }
}

#[tokio::test]
async fn answers_end_for_every_reason_in_the_words_of_the_wire() {
    let fixture = Fixture::new().await;
    for (stop, words) in [
        (MockStop::Length, ["max_tokens", "length", "max_output_tokens", "MAX_TOKENS", "max_tokens", "max_tokens"]),
        (MockStop::Refusal, ["\"refusal\"", "\"refusal\":\"", "\"refusal\":", "SAFETY", "refusal", "content_filtered"]),
        (
            MockStop::StopSequence("END".into()),
            ["stop_sequence\":\"END", "stop", "completed", "STOP", "stop_sequence\":\"END", "stop_sequence"],
        ),
    ] {
        fixture.upstream.behave(Behaviour { stop: Some(stop), ..Behaviour::default() });
        for ((path, _), word) in WHOLE.into_iter().zip(words) {
            let whole = fixture.json(path, &json!({ "model": "m" })).await.to_string();
            assert!(whole.contains(word), "{path}: {whole}");
        }
    }
}

#[tokio::test]
async fn tools_are_called_until_there_is_a_result() {
    let fixture = Fixture::new().await;
    fixture.upstream.behave(Behaviour { tool_calls_once: true, ..everything() });
    let ask = async |content: Value| {
        let body = json!({ "model": "m", "messages": [{ "role": "user", "content": content }] });
        fixture.json("/v1/messages", &body).await["stop_reason"].clone()
    };
    assert_eq!(ask(json!("hi")).await, "tool_use");
    assert_eq!(ask(json!([{ "type": "tool_result", "tool_use_id": "toolu_mock", "content": "x" }])).await, "end_turn");
}

#[tokio::test]
async fn keys_can_be_refused_and_chunks_be_garbage() {
    let fixture = Fixture::new().await;
    let refused_keys = [("old".to_owned(), 401), ("busy".to_owned(), 429)].into();
    fixture.upstream.behave(Behaviour { refused_keys, ..Behaviour::default() });
    for (header, value, status) in
        [("x-api-key", "old", 401), ("authorization", "Bearer busy", 429), ("api-key", "good", 200)]
    {
        let request = Request::post(format!("{}/v1/messages", fixture.upstream.url())).header(header, value);
        assert_eq!(fixture.send(request, "{}").await.0.status, status, "{value}");
    }
    fixture.upstream.behave(Behaviour { fault: Some(Fault::GarbageChunk { after_chunks: 1 }), ..Behaviour::default() });
    let text = fixture.text("/v1/messages", &json!({ "stream": true })).await;
    assert_eq!(text.matches("<html>").count(), 1, "{text}");
    assert_eq!(text.split("<html>").next().unwrap_or_default().matches("text_delta").count(), 1, "{text}");
    fixture.upstream.behave(Behaviour {
        fault: Some(Fault::Status { status: 429, body: None, retry_after: Some("7".into()) }),
        ..Behaviour::default()
    });
    let (head, body) = fixture.post("/model/m/converse", "{}").await;
    assert_eq!((head.status.as_u16(), &head.headers["retry-after"]), (429, &"7".parse().expect("a value")));
    assert_eq!(head.headers["x-amzn-errortype"], "ThrottlingException");
    assert_eq!(body, r#"{"message":"mock: rate limited"}"#);
}

#[tokio::test]
async fn prompts_are_counted_and_texts_become_vectors() {
    let fixture = Fixture::new().await;
    let body = json!({ "model": "m", "input": ["a", "b"] });
    assert!(fixture.json("/v1/messages/count_tokens", &body).await["input_tokens"].is_u64());
    assert!(fixture.json("/v1beta/models/m:countTokens", &body).await["totalTokens"].is_u64());
    let vertex = "/v1/projects/p/locations/l/publishers/anthropic/models/count-tokens:rawPredict";
    assert!(fixture.json(vertex, &body).await["input_tokens"].is_u64());
    let vectors = fixture.json("/v1/embeddings", &body).await;
    assert_eq!((vectors["data"].as_array().map(Vec::len), &vectors["data"][1]["index"]), (Some(2), &json!(1)));
    let packed = fixture.json("/v1/embeddings", &json!({ "input": "a", "encoding_format": "base64" })).await;
    assert_eq!(packed["data"][0]["embedding"], "AACAPgAAAL8AAIA/");
    assert!(fixture.json("/v1beta/models/m:embedContent", &body).await["embedding"]["values"].is_array());
}

#[tokio::test]
async fn clouds_hand_out_tokens() {
    let fixture = Fixture::new().await;
    let request =
        |method: Method, path: &str| Request::builder().method(method).uri(format!("{}{path}", fixture.upstream.url()));
    let (_, token) = fixture.send(request(Method::POST, "/token"), "grant_type=client_credentials").await;
    assert!(String::from_utf8_lossy(&token).contains("\"mock-token-1\""));
    let machine = request(Method::GET, "/computeMetadata/v1/instance/service-accounts/default/token?scopes=x");
    assert_eq!(fixture.send(machine, "").await.0.status, 400, "without the header that proves no form was tricked");
    let path = "/latest/meta-data/iam/security-credentials/mock-role";
    assert_eq!(fixture.send(request(Method::GET, path), "").await.0.status, 401);
    let with_session = request(Method::GET, path).header("x-aws-ec2-metadata-token", "mock-metadata-session");
    assert_eq!(fixture.send(with_session, "").await.0.status, 200);
    let (_, key) = fixture.send(request(Method::POST, "/sts"), "Action=AssumeRoleWithWebIdentity").await;
    assert!(String::from_utf8_lossy(&key).contains("<AccessKeyId>ASIAMOCK3</AccessKeyId>"));
    let statistics = fixture.upstream.statistics();
    assert_eq!((statistics.token_requests, statistics.requests), (3, 0));
}
