//! The mock does what it is told, in both dialects, and counts and remembers what it received.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use systemprompt_mock_upstream::{Behaviour, Fault, MockToolCall, MockUpstream, MockUsage, Statistics};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

type HttpClient = Client<HttpConnector, Full<Bytes>>;

struct Fixture {
    upstream: MockUpstream,
    client: HttpClient,
}

impl Fixture {
    async fn new() -> Self {
        let upstream = MockUpstream::start().await.expect("a free port");
        Self { upstream, client: Client::builder(TokioExecutor::new()).build_http() }
    }

    async fn send(&self, method: Method, path: &str, body: String) -> Result<(http::response::Parts, Bytes), String> {
        let uri = format!("{}{path}", self.upstream.url());
        let request = Request::builder().method(method).uri(uri).body(Full::from(body)).expect("a request");
        let (head, body) = self.client.request(request).await.map_err(|error| error.to_string())?.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?.to_bytes();
        Ok((head, body))
    }

    async fn ask(&self, path: &str, stream: bool) -> (http::response::Parts, String) {
        let body = json!({
            "model": "m-1",
            "max_tokens": 9,
            "stream": stream,
            "stream_options": { "include_usage": true },
            "messages": [{ "role": "user", "content": "hi" }],
        });
        let (head, body) = self.send(Method::POST, path, body.to_string()).await.expect("an answer");
        (head, String::from_utf8(body.to_vec()).expect("UTF-8"))
    }
}

#[tokio::test]
async fn both_dialects_are_answered_whole_and_streamed_with_and_without_v1() {
    let fixture = Fixture::new().await;
    fixture.upstream.behave(Behaviour {
        chunks: 2,
        tool_calls: vec![MockToolCall { name: "look".into(), input: json!({ "at": "it" }) }],
        usage: Some(MockUsage { input_tokens: 7, output_tokens: 5, cache_read_tokens: 3, cache_creation_tokens: 0 }),
        ..Behaviour::default()
    });
    for prefix in ["", "/v1"] {
        let (head, body) = fixture.ask(&format!("{prefix}/messages"), false).await;
        assert_eq!(head.status, StatusCode::OK);
        assert!(head.headers["request-id"].to_str().expect("ASCII").starts_with("req_mock_"));
        let message: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(message["model"], "m-1");
        assert_eq!(message["content"][0]["text"], "token token ");
        assert_eq!(message["content"][1]["input"], json!({ "at": "it" }));
        assert_eq!((&message["stop_reason"], &message["usage"]["input_tokens"]), (&json!("tool_use"), &json!(7)));

        let (head, body) = fixture.ask(&format!("{prefix}/messages"), true).await;
        assert_eq!(head.headers["content-type"], "text/event-stream");
        assert_eq!(body.matches("text_delta").count(), 2);
        assert!(body.starts_with("event: message_start\n") && body.ends_with("{\"type\":\"message_stop\"}\n\n"));

        let (_, body) = fixture.ask(&format!("{prefix}/chat/completions"), false).await;
        let completion: Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(completion["choices"][0]["message"]["content"], "token token ");
        assert_eq!(completion["choices"][0]["finish_reason"], "tool_calls");
        assert_eq!(completion["usage"]["prompt_tokens"], 10);

        let (_, body) = fixture.ask(&format!("{prefix}/chat/completions"), true).await;
        assert_eq!(body.matches("\"content\":\"token \"").count(), 2);
        assert!(body.contains("\"choices\":[]") && body.ends_with("data: [DONE]\n\n"));
    }
    assert_eq!(fixture.upstream.statistics().requests, 8);
}

#[tokio::test]
async fn thinking_comes_first_and_signed() {
    let fixture = Fixture::new().await;
    fixture.upstream.behave(Behaviour { thinking: Some("hm".into()), ..Behaviour::default() });
    let (_, body) = fixture.ask("/v1/messages", false).await;
    let message: Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((&message["content"][0]["type"], &message["content"][1]["type"]), (&json!("thinking"), &json!("text")));
    let (_, body) = fixture.ask("/v1/messages", true).await;
    let at = |text: &str| body.find(text).unwrap_or_else(|| panic!("{text} is missing: {body}"));
    assert!(at("thinking_delta") < at("signature_delta") && at("signature_delta") < at("text_delta"));
    assert_eq!(body.matches("\"index\":1").count(), 10, "the text is the second block");
    assert!(!fixture.ask("/v1/chat/completions", false).await.1.contains("hm"));
}

#[tokio::test]
async fn faults_before_the_body() {
    let fixture = Fixture::new().await;
    let behave = |fault| fixture.upstream.behave(Behaviour { fault: Some(fault), ..Behaviour::default() });

    behave(Fault::Status { status: 429, body: None, retry_after: Some("7".into()) });
    let (head, body) = fixture.ask("/v1/messages", true).await;
    assert_eq!((head.status.as_u16(), &head.headers["retry-after"]), (429, &http::HeaderValue::from_static("7")));
    assert!(body.contains("rate_limit_error"));

    behave(Fault::Status { status: 503, body: Some(String::new()), retry_after: None });
    let (head, body) = fixture.ask("/v1/chat/completions", false).await;
    assert_eq!((head.status.as_u16(), body.as_str()), (503, ""));
    assert!(!head.headers.contains_key("retry-after"));

    behave(Fault::EmptyBody);
    let (head, body) = fixture.ask("/v1/messages", false).await;
    assert_eq!((head.status.as_u16(), body.as_str()), (200, ""));

    behave(Fault::GarbageJson);
    for stream in [false, true] {
        assert!(fixture.ask("/v1/messages", stream).await.1.contains("<html>"));
    }

    behave(Fault::NoTerminalEvent);
    assert!(!fixture.ask("/v1/messages", true).await.1.contains("message_stop"));
    assert!(!fixture.ask("/v1/chat/completions", true).await.1.contains("[DONE]"));

    behave(Fault::CloseBeforeHeaders);
    assert!(fixture.send(Method::POST, "/v1/messages", "{}".into()).await.is_err());

    fixture.upstream.behave(Behaviour {
        fault: Some(Fault::Status { status: 500, body: None, retry_after: None }),
        fault_times: Some(2),
        ..Behaviour::default()
    });
    let mut statuses = Vec::new();
    for _ in 0..3 {
        statuses.push(fixture.ask("/v1/messages", false).await.0.status.as_u16());
    }
    assert_eq!(statuses, [500, 500, 200]);
    assert_eq!(fixture.upstream.statistics().abandoned_answers, 0);
}

async fn raw_request(upstream: &MockUpstream, stream: bool) -> TcpStream {
    let mut connection = TcpStream::connect(upstream.address()).await.expect("a connection");
    let body = json!({ "model": "m", "stream": stream }).to_string();
    let head = format!("POST /messages HTTP/1.1\r\nhost: mock\r\ncontent-length: {}\r\n\r\n", body.len());
    connection.write_all((head + &body).as_bytes()).await.expect("the request is sent");
    connection
}

#[tokio::test]
async fn an_answer_can_break_off() {
    let fixture = Fixture::new().await;
    fixture
        .upstream
        .behave(Behaviour { fault: Some(Fault::CloseMidStream { after_chunks: 3 }), ..Behaviour::default() });
    let mut received = Vec::new();
    raw_request(&fixture.upstream, true).await.read_to_end(&mut received).await.expect("the connection ends");
    let received = String::from_utf8_lossy(&received);
    assert_eq!(received.matches("text_delta").count(), 3);
    assert!(!received.ends_with("0\r\n\r\n"), "the chunked body must not end properly");

    let mut received = Vec::new();
    raw_request(&fixture.upstream, false).await.read_to_end(&mut received).await.expect("the connection ends");
    assert!(received.len() > 100 && !received.ends_with(b"}"));
}

#[tokio::test]
async fn a_connection_that_was_idle_is_closed_when_the_next_request_comes() {
    let fixture = Fixture::new().await;
    fixture.upstream.behave(Behaviour { fault: Some(Fault::CloseIdle), fault_times: Some(1), ..Behaviour::default() });
    let mut connection = raw_request(&fixture.upstream, false).await;
    let mut received = [0; 4096];
    let length = connection.read(&mut received).await.expect("an answer");
    assert!(received[..length].starts_with(b"HTTP/1.1 200"));
    connection
        .write_all(b"POST /v1/messages HTTP/1.1\r\nhost: mock\r\ncontent-length: 2\r\n\r\n{}")
        .await
        .expect("sent");
    let mut rest = Vec::new();
    // Whether the reset or the end comes first is the kernel's choice.
    let _ = connection.read_to_end(&mut rest).await;
    assert_eq!(rest, b"");
    assert_eq!(fixture.upstream.statistics().requests, 1);
}

#[tokio::test]
async fn pieces_end_inside_characters() {
    let fixture = Fixture::new().await;
    fixture.upstream.behave(Behaviour { fault: Some(Fault::SplitUtf8), chunks: 3, ..Behaviour::default() });
    let request = Request::post(format!("{}/messages", fixture.upstream.endpoint()))
        .body(Full::from(r#"{"model":"m","stream":true}"#))
        .expect("a request");
    let mut body = fixture.client.request(request).await.expect("an answer").into_body();
    let (mut whole, mut split) = (Vec::new(), 0);
    while let Some(frame) = body.frame().await {
        let data = frame.expect("a frame").into_data().expect("data");
        split += usize::from(std::str::from_utf8(&data).is_err());
        whole.extend_from_slice(&data);
    }
    assert_eq!(String::from_utf8(whole).expect("UTF-8 in the end").matches("é€😀").count(), 3);
    assert!(split >= 9, "{split} pieces were not UTF-8 by themselves");
}

/// Waits until the mock has noticed; a client's going away reaches it when its next read returns.
async fn until(upstream: &MockUpstream, reached: impl Fn(&Statistics) -> bool) {
    let wait = async {
        while !reached(&upstream.statistics()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait).await.expect("the mock notices within ten seconds");
}

#[tokio::test]
async fn a_receiver_that_goes_away_is_noticed() {
    let fixture = Fixture::new().await;
    for (number, fault) in [Fault::HangBeforeHeaders, Fault::HangMidStream { after_chunks: 1 }].into_iter().enumerate()
    {
        fixture.upstream.behave(Behaviour { fault: Some(fault), ..Behaviour::default() });
        let connection = raw_request(&fixture.upstream, true).await;
        until(&fixture.upstream, |statistics| statistics.requests == number as u64 + 1).await;
        until(&fixture.upstream, |statistics| statistics.open_answers == 1 && statistics.open_connections == 1).await;
        drop(connection);
        until(&fixture.upstream, |statistics| statistics.open_connections == 0).await;
        assert_eq!(fixture.upstream.statistics().abandoned_answers, number as u64 + 1);
        assert_eq!(fixture.upstream.statistics().open_answers, 0);
    }
}

#[tokio::test]
async fn delays_are_kept() {
    let fixture = Fixture::new().await;
    fixture.upstream.behave(Behaviour { delay_ms: 30, chunks: 3, chunk_delay_ms: 20, ..Behaviour::default() });
    let start = std::time::Instant::now();
    fixture.ask("/v1/messages", true).await;
    // Four pauses between five frames.
    assert!(start.elapsed() >= Duration::from_millis(30 + 4 * 20), "{:?}", start.elapsed());
}

#[tokio::test]
async fn it_is_steered_and_read_over_http() {
    let fixture = Fixture::new().await;
    let put = |path: &'static str, body: &str| fixture.send(Method::PUT, path, body.to_owned());
    let fault = r#"{"fault":{"kind":"status","status":404}}"#;
    assert_eq!(put("/__mock/behaviour?model=m-1", fault).await.expect("done").0.status, 204);
    assert_eq!(fixture.ask("/v1/messages", false).await.0.status, 404);
    let (head, body) = put("/__mock/behaviour", r#"{"chunk":1}"#).await.expect("an answer");
    assert_eq!(head.status, 400);
    assert!(String::from_utf8_lossy(&body).contains("unknown field `chunk`"));
    fixture.send(Method::DELETE, "/__mock/behaviour", String::new()).await.expect("done");
    assert_eq!(fixture.ask("/v1/messages?beta=true", false).await.0.status, 200);
    let odd = "{\"model\":\"\u{e9}\",  \"x\": 1}";
    fixture.send(Method::POST, "/v1/chat/completions", odd.to_owned()).await.expect("an answer");

    let get = |path: &'static str| async {
        let (_, body) = fixture.send(Method::GET, path, String::new()).await.expect("an answer");
        serde_json::from_slice::<Value>(&body).expect("JSON")
    };
    let captured = get("/__mock/requests").await;
    assert_eq!(captured["requests"][1]["path"], "/v1/messages?beta=true");
    assert_eq!(captured["requests"][2]["body"], odd);
    assert_eq!(fixture.upstream.requests()[2].body, odd);
    assert!(fixture.upstream.requests()[2].header("host").is_some());
    let statistics = get("/__mock/statistics").await;
    assert_eq!((&statistics["requests"], &statistics["open_answers"]), (&json!(3), &json!(0)));
    assert_eq!(get("/__mock/behaviour").await["chunks"], 8);
    fixture.send(Method::DELETE, "/__mock/requests", String::new()).await.expect("done");
    assert_eq!(get("/__mock/requests").await["requests"], json!([]));
    drop(fixture.client);
    fixture.upstream.stop().await;
}

#[tokio::test]
async fn what_it_cannot_answer_is_refused_in_the_dialect() {
    let fixture = Fixture::new().await;
    let refused = async |method, path: &str, body: &str| {
        let (head, body) = fixture.send(method, path, body.to_owned()).await.expect("an answer");
        (head.status.as_u16(), serde_json::from_slice::<Value>(&body).expect("JSON")["error"]["type"].clone())
    };
    assert_eq!(refused(Method::POST, "/v1/messages", "{").await, (400, json!("invalid_request_error")));
    assert_eq!(refused(Method::GET, "/v1/messages", "").await, (405, json!("invalid_request_error")));
    assert_eq!(refused(Method::POST, "/v1/nothing", "{}").await, (404, json!("not_found_error")));
    let (_, body) =
        fixture.send(Method::POST, "/v1/messages/count_tokens", "{\"model\":\"m\"}".into()).await.expect("ok");
    assert_eq!(body, "{\"input_tokens\":4}");
}
