//! Callers of one dialect and providers of another: the answer is the caller's, the record is the provider's.

use http::Request;
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestResponse};
use systemprompt_gateway::request::queries::RequestDetail;
use systemprompt_llm::{Format, InferenceRequest, tokens};
use systemprompt_mock_upstream::{Behaviour, Fault, MockUpstream};
use systemprompt_model::Microdollars;

use crate::ended::ended;

/// A provider, and what it answers.
struct Provider {
    wire: &'static str,
    model: &'static str,
    whole: &'static str,
    stream: &'static str,
    error: &'static str,
}

/// A caller, and how it finds its way in an answer.
struct Caller {
    name: &'static str,
    /// Where it asks, and with what.
    asks: fn(&str, bool) -> (String, Value),
    /// The text of a whole answer.
    text: fn(&Value) -> Option<&str>,
    /// The text in an event of a stream.
    piece: fn(&Value) -> Option<&str>,
    /// Whether an event is the end of a stream that is complete.
    ends: fn(&Value) -> bool,
    /// The word for a bad request, in the body of an error and in its event.
    bad_request: &'static str,
    error: fn(&Value) -> Option<&str>,
    message: fn(&Value) -> Option<&str>,
}

const PROVIDERS: &[Provider] = &[
    Provider {
        wire: "anthropic",
        model: "claude-test",
        whole: r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"Grüße aus Köln"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":7,"output_tokens":5,"cache_read_input_tokens":3}}"#,
        stream: concat!(
            "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-test\",\"content\":[],\"stop_reason\":null,\"stop_sequence\":null,\"usage\":{\"input_tokens\":7,\"output_tokens\":1,\"cache_read_input_tokens\":3}}}\n\n",
            "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"Grüße \"}}\n\n",
            "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"aus Köln\"}}\n\n",
            "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
            "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n",
            "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
        ),
        error: r#"{"type":"error","error":{"type":"invalid_request_error","message":"the prompt is too long"}}"#,
    },
    Provider {
        wire: "openai-chat",
        model: "gpt-test",
        whole: r#"{"id":"c1","object":"chat.completion","created":1,"model":"gpt-test","choices":[{"index":0,"message":{"role":"assistant","content":"Grüße aus Köln"},"finish_reason":"stop"}],"usage":{"prompt_tokens":10,"completion_tokens":5,"total_tokens":15,"prompt_tokens_details":{"cached_tokens":3}}}"#,
        stream: concat!(
            "data: {\"id\":\"c1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"gpt-test\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"Grüße \"},\"finish_reason\":null}]}\n\n",
            "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"aus Köln\"},\"finish_reason\":null}]}\n\n",
            "data: {\"id\":\"c1\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
            "data: {\"id\":\"c1\",\"choices\":[],\"usage\":{\"prompt_tokens\":10,\"completion_tokens\":5,\"total_tokens\":15,\"prompt_tokens_details\":{\"cached_tokens\":3}}}\n\n",
            "data: [DONE]\n\n",
        ),
        error: r#"{"error":{"message":"the prompt is too long","type":"invalid_request_error","param":null,"code":"context_length_exceeded"}}"#,
    },
    Provider {
        wire: "openai-responses",
        model: "o-test",
        whole: r#"{"id":"resp_1","object":"response","created_at":1,"status":"completed","model":"o-test","output":[{"id":"msg_1","type":"message","status":"completed","role":"assistant","content":[{"type":"output_text","text":"Grüße aus Köln","annotations":[]}]}],"usage":{"input_tokens":10,"input_tokens_details":{"cached_tokens":3},"output_tokens":5,"output_tokens_details":{"reasoning_tokens":0},"total_tokens":15}}"#,
        stream: concat!(
            "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"in_progress\",\"model\":\"o-test\",\"output\":[]}}\n\n",
            "event: response.output_item.added\ndata: {\"type\":\"response.output_item.added\",\"sequence_number\":1,\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"in_progress\",\"role\":\"assistant\",\"content\":[]}}\n\n",
            "event: response.content_part.added\ndata: {\"type\":\"response.content_part.added\",\"sequence_number\":2,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"part\":{\"type\":\"output_text\",\"text\":\"\",\"annotations\":[]}}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":3,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"Grüße \"}\n\n",
            "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"delta\":\"aus Köln\"}\n\n",
            "event: response.output_text.done\ndata: {\"type\":\"response.output_text.done\",\"sequence_number\":5,\"item_id\":\"msg_1\",\"output_index\":0,\"content_index\":0,\"text\":\"Grüße aus Köln\"}\n\n",
            "event: response.output_item.done\ndata: {\"type\":\"response.output_item.done\",\"sequence_number\":6,\"output_index\":0,\"item\":{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Grüße aus Köln\",\"annotations\":[]}]}}\n\n",
            "event: response.completed\ndata: {\"type\":\"response.completed\",\"sequence_number\":7,\"response\":{\"id\":\"resp_1\",\"object\":\"response\",\"status\":\"completed\",\"model\":\"o-test\",\"output\":[{\"id\":\"msg_1\",\"type\":\"message\",\"status\":\"completed\",\"role\":\"assistant\",\"content\":[{\"type\":\"output_text\",\"text\":\"Grüße aus Köln\",\"annotations\":[]}]}],\"usage\":{\"input_tokens\":10,\"input_tokens_details\":{\"cached_tokens\":3},\"output_tokens\":5,\"output_tokens_details\":{\"reasoning_tokens\":0},\"total_tokens\":15}}}\n\n",
        ),
        error: r#"{"error":{"message":"the prompt is too long","type":"invalid_request_error","param":"input","code":"context_length_exceeded"}}"#,
    },
    Provider {
        wire: "gemini",
        model: "gemini-test",
        whole: r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Grüße aus Köln"}]},"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":10,"cachedContentTokenCount":3,"candidatesTokenCount":5,"totalTokenCount":15},"modelVersion":"gemini-test","responseId":"r1"}"#,
        stream: concat!(
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"Grüße \"}]},\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":10,\"totalTokenCount\":10},\"modelVersion\":\"gemini-test\",\"responseId\":\"r1\"}\n\n",
            "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"aus Köln\"}]},\"finishReason\":\"STOP\",\"index\":0}],\"usageMetadata\":{\"promptTokenCount\":10,\"cachedContentTokenCount\":3,\"candidatesTokenCount\":5,\"totalTokenCount\":15},\"modelVersion\":\"gemini-test\",\"responseId\":\"r1\"}\n\n",
        ),
        error: r#"{"error":{"code":400,"message":"the prompt is too long","status":"INVALID_ARGUMENT"}}"#,
    },
];

const QUESTION: &str = "a question of some length";

fn chat(model: &str, stream: bool) -> Value {
    json!({"model": model, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": QUESTION}]})
}

const CALLERS: [Caller; 4] = [
    Caller {
        name: "anthropic-messages",
        asks: |model, stream| ("/v1/messages".to_owned(), chat(model, stream)),
        text: |answer| answer["content"][0]["text"].as_str(),
        piece: |event| event["delta"]["text"].as_str(),
        ends: |event| event["type"] == "message_stop",
        bad_request: "invalid_request_error",
        error: |body| body["error"]["type"].as_str(),
        message: |body| body["error"]["message"].as_str(),
    },
    Caller {
        name: "openai-chat",
        asks: |model, stream| ("/v1/chat/completions".to_owned(), chat(model, stream)),
        text: |answer| answer["choices"][0]["message"]["content"].as_str(),
        piece: |event| event["choices"][0]["delta"]["content"].as_str(),
        ends: |event| event["choices"][0]["finish_reason"] == "stop",
        bad_request: "invalid_request_error",
        error: |body| body["error"]["type"].as_str(),
        message: |body| body["error"]["message"].as_str(),
    },
    Caller {
        name: "openai-responses",
        asks: |model, stream| {
            let body = json!({"model": model, "max_output_tokens": 50, "stream": stream, "input": QUESTION});
            ("/v1/responses".to_owned(), body)
        },
        text: |answer| answer["output"][0]["content"][0]["text"].as_str(),
        piece: |event| event["delta"].as_str().filter(|_| event["type"] == "response.output_text.delta"),
        ends: |event| event["type"] == "response.completed",
        bad_request: "invalid_request_error",
        error: |body| body["error"]["type"].as_str().or(body["response"]["error"]["code"].as_str()),
        message: |body| body["error"]["message"].as_str(),
    },
    Caller {
        name: "gemini",
        asks: |model, stream| {
            let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
            let body = json!({"contents": [{"role": "user", "parts": [{"text": QUESTION}]}],
                "generationConfig": {"maxOutputTokens": 50}});
            (format!("/v1beta/models/{model}:{method}"), body)
        },
        text: |answer| answer["candidates"][0]["content"]["parts"][0]["text"].as_str(),
        piece: |event| event["candidates"][0]["content"]["parts"][0]["text"].as_str(),
        ends: |event| event["candidates"][0]["finishReason"] == "STOP",
        bad_request: "INVALID_ARGUMENT",
        error: |body| body["error"]["status"].as_str(),
        message: |body| body["error"]["message"].as_str(),
    },
];

struct Fixture {
    mock: MockUpstream,
    context: TestContext,
    ada: TestClient,
}

impl Fixture {
    async fn new() -> Self {
        let mock = MockUpstream::start().await.expect("a free port");
        let providers: Vec<_> = PROVIDERS
            .iter()
            .map(|provider| {
                json!({"name": provider.wire, "wire": provider.wire, "surface": "openai", "endpoint": mock.endpoint(),
                    "api_key_secret": "upstream", "models": [{"id": provider.model,
                    "pricing": {"input_per_million": 3.0, "output_per_million": 15.0, "cache_read_per_million": 0.3}}]})
            })
            .collect();
        let context = TestContext::builder()
            .profile("providers", json!(providers))
            .profile("gateway", json!({"enabled": true}))
            .document(
                "access-control/all.yaml",
                json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["admin"]}]}),
            )
            .secret("upstream", "sk-upstream-key")
            .start()
            .await;
        let ada = context.user("ada", &["admin"]).await;
        Self { mock, context, ada }
    }

    /// What the caller gets of a provider that answers so, and what is recorded of it.
    async fn ask(
        &self,
        caller: &Caller,
        provider: &Provider,
        stream: bool,
        answer: Fault,
    ) -> (TestResponse, RequestDetail) {
        self.mock.behave(Behaviour { fault: Some(answer), ..Behaviour::default() });
        let (path, body) = (caller.asks)(provider.model, stream);
        let request = Request::post(path).body(body.to_string()).expect("a request");
        let response = self.ada.request(request).await;
        let detail = ended(&self.context, &response).await;
        (response, detail)
    }
}

fn sends(kind: &str, status: u16, body: &str, cut: bool) -> Fault {
    let headers = vec![("content-type".to_owned(), kind.to_owned())];
    Fault::Raw { status, headers, body: body.as_bytes().to_vec(), cut }
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

/// The events of a stream.
fn events(stream: &str) -> Vec<Value> {
    let data = stream.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    data.filter_map(|data| serde_json::from_str(data).ok()).collect()
}

/// The text a stream says in pieces.
fn said(caller: &Caller, stream: &str) -> String {
    events(stream).iter().filter_map(caller.piece).collect()
}

/// Every caller gets the same words of every provider, whole and streamed, whichever way the provider sends them; and the
/// record has what that provider counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_dialect_is_answered_by_every_provider() {
    let fixture = Fixture::new().await;
    for caller in &CALLERS {
        for provider in PROVIDERS {
            for (asked_stream, kind, body) in [
                (false, JSON, provider.whole),
                (true, EVENTS, provider.stream),
                (false, EVENTS, provider.stream),
                (true, JSON, provider.whole),
            ] {
                let what = format!("{} of {}, stream {asked_stream}, sent as {kind}", caller.name, provider.wire);
                let (response, record) =
                    fixture.ask(caller, provider, asked_stream, sends(kind, 200, body, false)).await;
                let body = String::from_utf8_lossy(&response.body).into_owned();
                assert_eq!(response.status, 200, "{what}: {body}");
                let is_stream = response.headers["content-type"] == EVENTS;
                if is_stream {
                    assert_eq!(said(caller, &body), "Grüße aus Köln", "{what}: {body}");
                    assert!(events(&body).iter().any(caller.ends), "{what}: {body}");
                } else {
                    let answer: Value = serde_json::from_str(&body).expect("JSON");
                    assert_eq!((caller.text)(&answer), Some("Grüße aus Köln"), "{what}: {body}");
                }
                assert!(is_stream == asked_stream || kind == JSON, "{what}");
                let summary = &record.summary;
                assert_eq!((summary.status.as_str(), &summary.error_message), ("completed", &None), "{what}");
                assert_eq!((summary.input_tokens, summary.output_tokens), (Some(7), Some(5)), "{what}");
                // 7 × 3 + 3 × 0.3 + 5 × 15 microdollars, rounded once.
                assert_eq!(summary.cost, Some(Microdollars(97)), "{what}");
            }
        }
    }
}

/// What a provider does not count itself is estimated; where it counts, its count is what the caller gets. Nothing of it is a
/// request for a model.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_counted_by_who_answers() {
    let fixture = Fixture::new().await;
    let counts = |field: &str| sends(JSON, 200, &format!("{{\"{field}\":1234}}"), false);
    for (path, field, body) in [
        ("/v1/messages/count_tokens", "input_tokens", json!({"messages": [{"role": "user", "content": QUESTION}]})),
        ("/v1beta/models/MODEL:countTokens", "totalTokens", json!({"contents": [{"parts": [{"text": QUESTION}]}]})),
    ] {
        for provider in PROVIDERS {
            let (answer, expected) = match provider.wire {
                "anthropic" => (counts("input_tokens"), 1234),
                "gemini" => (counts("totalTokens"), 1234),
                // Nobody is asked.
                _ => (sends(JSON, 500, "{}", false), 0),
            };
            fixture.mock.behave(Behaviour { fault: Some(answer), ..Behaviour::default() });
            let mut body = body.clone();
            if path.starts_with("/v1/") {
                body["model"] = provider.model.into();
            }
            let request =
                Request::post(path.replace("MODEL", provider.model)).body(body.to_string()).expect("a request");
            let response = fixture.ada.request(request).await;
            let what = format!("{path} of {}", provider.wire);
            let told: Value = serde_json::from_slice(&response.body).expect("JSON");
            let (format, model) = if path.starts_with("/v1/") {
                (Format::AnthropicMessages, None)
            } else {
                (Format::Gemini, Some(provider.model.to_owned()))
            };
            let asked = InferenceRequest::parse_count(format, &body.to_string().into(), model).expect("a request");
            let is_estimate = |told: &Value| told[field] == tokens::count(provider.model, &asked);
            assert_eq!(response.status, 200, "{what}: {told}");
            assert!(if expected == 0 { is_estimate(&told) } else { told[field] == expected }, "{what}: {told}");
            // A provider that fails does not stop anybody.
            fixture.mock.behave(Behaviour { fault: Some(sends(JSON, 500, "{}", false)), ..Behaviour::default() });
            let request =
                Request::post(path.replace("MODEL", provider.model)).body(body.to_string()).expect("a request");
            let response = fixture.ada.request(request).await;
            let told: Value = serde_json::from_slice(&response.body).expect("JSON");
            assert!(is_estimate(&told), "{what}: {told}");
        }
    }
}

/// Embeddings come from those who have them, in OpenAI's form, and are paid for.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn texts_are_embedded_by_who_can() {
    let fixture = Fixture::new().await;
    let openai = r#"{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5,-1.25]}],"model":"m","usage":{"prompt_tokens":1000,"total_tokens":1000}}"#;
    let gemini = r#"{"embeddings":[{"values":[0.5,-1.25]}],"usageMetadata":{"promptTokenCount":1000}}"#;
    let embeddings = Caller {
        asks: |model, _| ("/v1/embeddings".to_owned(), json!({"model": model, "input": QUESTION})),
        ..CALLERS[1]
    };
    for (wire, answer) in [("openai-chat", openai), ("openai-responses", openai), ("gemini", gemini)] {
        let provider = PROVIDERS.iter().find(|provider| provider.wire == wire).expect("one of them");
        let (response, record) = fixture.ask(&embeddings, provider, false, sends(JSON, 200, answer, false)).await;
        let told: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!((response.status.as_u16(), &told["data"][0]["embedding"]), (200, &json!([0.5, -1.25])), "{wire}");
        let summary = &record.summary;
        assert_eq!(
            (summary.status.as_str(), summary.input_tokens, summary.output_tokens),
            ("completed", Some(1000), Some(0))
        );
        assert_eq!(summary.cost, Some(Microdollars(3000)), "{wire}");
    }
    let (response, record) = fixture.ask(&embeddings, &PROVIDERS[0], false, sends(JSON, 200, openai, false)).await;
    assert_eq!((response.status.as_u16(), record.summary.status.as_str()), (400, "rejected"));
}

/// What goes wrong is told in the caller's words too, before a stream and in it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_dialect_is_told_what_goes_wrong() {
    let fixture = Fixture::new().await;
    for caller in &CALLERS {
        for provider in PROVIDERS {
            let what = format!("{} of {}", caller.name, provider.wire);
            for stream in [false, true] {
                let (response, record) =
                    fixture.ask(caller, provider, stream, sends(JSON, 400, provider.error, false)).await;
                let body: Value = serde_json::from_slice(&response.body).expect("JSON");
                let told = (response.status.as_u16(), (caller.error)(&body), (caller.message)(&body));
                assert_eq!(told, (400, Some(caller.bad_request), Some("the prompt is too long")), "{what}: {body}");
                assert_eq!(record.summary.status, "failed", "{what}");
            }
            // A stream that breaks off in the middle never ends like one that is complete.
            let half = &provider.stream[..provider.stream.find("aus").expect("a middle")];
            let (response, record) = fixture.ask(caller, provider, true, sends(EVENTS, 200, half, true)).await;
            let body = String::from_utf8_lossy(&response.body).into_owned();
            assert_eq!(said(caller, &body), "Grüße ", "{what}: {body}");
            let events = events(&body);
            assert!(!events.iter().any(caller.ends), "{what}: {body}");
            assert!(events.last().is_some_and(|last| (caller.error)(last).is_some()), "{what}: {body}");
            assert_eq!(record.summary.status, "failed", "{what}");
            let (response, record) = fixture.ask(caller, provider, false, sends(EVENTS, 200, half, true)).await;
            assert_eq!((response.status.as_u16(), record.summary.status.as_str()), (502, "failed"), "{what}");
        }
    }
}
