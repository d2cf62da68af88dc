//! What providers send, and not what their documentation says they do: the caller gets what was paid for, and the ledger
//! has what could be read of it.

use std::io::Write as _;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestResponse};
use systemprompt_extension::ExtensionContext as _;
use systemprompt_gateway::request::figures::request_stats;
use systemprompt_gateway::request::filter::RequestFilter;
use systemprompt_gateway::request::queries::RequestDetail;
use systemprompt_mock_upstream::{Behaviour, Fault, MockUpstream};

use crate::ended::ended;

struct Fixture {
    mock: MockUpstream,
    context: TestContext,
    ada: TestClient,
}

/// An answer of a provider, and what was asked for.
struct Sent {
    dialect: Dialect,
    stream: bool,
    status: u16,
    content_type: &'static str,
    encoding: &'static str,
    body: Vec<u8>,
    cut: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Anthropic,
    OpenAi,
}

impl Sent {
    /// A good answer to a buffered request.
    fn json(dialect: Dialect, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        Self { dialect, stream: false, status: 200, content_type: "application/json", encoding: "", body, cut: false }
    }

    /// A good answer to a streamed request.
    fn events(dialect: Dialect, body: impl Into<Vec<u8>>) -> Self {
        Self { stream: true, content_type: "text/event-stream", ..Self::json(dialect, body) }
    }
}

impl Fixture {
    async fn new() -> Self {
        let mock = MockUpstream::start().await.expect("a free port");
        let anthropic = json!([{"id": "claude-test", "pricing": {
            "input_per_million": 3.0, "output_per_million": 15.0, "cache_write_per_million": 3.75}}]);
        let openai = json!([{"id": "gpt-test", "pricing": {"input_per_million": 2.0, "output_per_million": 10.0}}]);
        let context = TestContext::builder()
            .profile(
                "providers",
                json!([
                    {"name": "ant", "wire": "anthropic", "surface": "anthropic", "endpoint": mock.endpoint(),
                     "api_key_secret": "upstream", "models": anthropic},
                    {"name": "oai", "wire": "openai-chat", "surface": "openai", "endpoint": mock.endpoint(),
                     "api_key_secret": "upstream", "models": openai},
                ]),
            )
            .profile(
                "gateway",
                json!({"enabled": true, "resilience": {"retry_attempts": 0, "breaker_failure_threshold": 0}}),
            )
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

    /// What the caller gets of such an answer, and what is recorded of it.
    async fn ask(&self, sent: &Sent) -> (TestResponse, RequestDetail) {
        let mut headers = Vec::new();
        for (name, value) in [("content-type", sent.content_type), ("content-encoding", sent.encoding)] {
            if !value.is_empty() {
                headers.push((name.to_owned(), value.to_owned()));
            }
        }
        let fault = Fault::Raw { status: sent.status, headers, body: sent.body.clone(), cut: sent.cut };
        self.mock.behave(Behaviour { fault: Some(fault), ..Behaviour::default() });
        let (path, model) = match sent.dialect {
            Dialect::Anthropic => ("/v1/messages", "claude-test"),
            Dialect::OpenAi => ("/v1/chat/completions", "gpt-test"),
        };
        let body = json!({"model": model, "max_tokens": 50, "stream": sent.stream,
            "messages": [{"role": "user", "content": "a question of some length"}]});
        let request = Request::post(path).body(body.to_string()).expect("a request");
        let response = self.ada.request(request).await;
        let detail = ended(&self.context, &response).await;
        (response, detail)
    }
}

fn text(body: &Bytes) -> String {
    String::from_utf8_lossy(body).into_owned()
}

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-test","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn","usage":{"input_tokens":7,"output_tokens":5}}"#;
const COMPLETION: &str = r#"{"id":"c1","object":"chat.completion","model":"gpt-test","choices":[{"index":0,"message":{"role":"assistant","content":"hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#;
const CHUNKS: &str = "data: {\"id\":\"c1\",\"model\":\"gpt-test\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"hi\"},\"finish_reason\":null}]}\n\n\
    data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
const USAGE: &str = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":5}}\n\n";
const EVENTS: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"claude-test\",\"content\":[],\"usage\":{\"input_tokens\":7,\"output_tokens\":1}}}\n\n\
    event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n\
    event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"hi\"}}\n\n\
    event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
    event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":5}}\n\n";

#[tokio::test]
async fn what_came_decides_and_complete_is_what_is_complete() {
    use Dialect::{Anthropic, OpenAi};
    let fixture = Fixture::new().await;
    let done = format!("{CHUNKS}{USAGE}data: [DONE]\n\n");
    let stop = format!("{EVENTS}event: message_stop\ndata: {{\"type\":\"message_stop\"}}\n\n");
    for sent in [
        // Streams that end after their reason.
        Sent::events(OpenAi, format!("{CHUNKS}{USAGE}")),
        Sent::events(OpenAi, &*done),
        Sent::events(Anthropic, EVENTS),
        Sent::events(Anthropic, &*stop),
        // Names that are written otherwise, are wrong, or are not there.
        Sent { content_type: "Text/Event-Stream; charset=utf-8", ..Sent::events(OpenAi, &*done) },
        Sent { content_type: "text/plain", ..Sent::events(OpenAi, &*done) },
        Sent { content_type: "", ..Sent::events(Anthropic, &*stop) },
        Sent { content_type: "application/json", ..Sent::events(Anthropic, &*stop) },
        // JSON for who asked for a stream.
        Sent { stream: true, ..Sent::json(OpenAi, COMPLETION) },
        Sent { stream: true, ..Sent::json(Anthropic, MESSAGE) },
        Sent { stream: true, content_type: "text/event-stream", ..Sent::json(OpenAi, COMPLETION) },
        Sent { content_type: "", ..Sent::json(Anthropic, MESSAGE) },
        Sent { content_type: "text/html", ..Sent::json(OpenAi, COMPLETION) },
        // Reasons that are not said.
        Sent::json(OpenAi, COMPLETION.replace("\"stop\"", "null")),
        Sent::json(OpenAi, COMPLETION.replace(",\"finish_reason\":\"stop\"", "")),
        Sent::json(Anthropic, MESSAGE.replace("\"end_turn\"", "null")),
    ] {
        let (response, record) = fixture.ask(&sent).await;
        let what = format!("{}: {}", sent.content_type, text(&response.body));
        assert_eq!(response.status, 200, "{what}");
        let is_events = !sent.body.starts_with(b"{");
        let expected = if is_events { "text/event-stream" } else { "application/json" };
        assert_eq!(response.headers["content-type"], expected, "{what}");
        // Without the usage chunk, which the gateway asked for and the caller did not.
        assert_eq!(text(&response.body), String::from_utf8_lossy(&sent.body).replace(USAGE, ""));
        assert_eq!((record.summary.status.as_str(), &record.summary.error_message), ("completed", &None), "{what}");
        assert_eq!((record.summary.input_tokens, record.summary.output_tokens), (Some(7), Some(5)), "{what}");
        assert_eq!((record.usage_source.as_deref(), record.answer_partial), (Some("provider"), Some(false)));
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_an_error() {
    use Dialect::{Anthropic, OpenAi};
    let fixture = Fixture::new().await;
    let half = CHUNKS.split_inclusive("\n\n").next().expect("an event");
    for sent in [
        Sent::events(OpenAi, half),
        Sent { cut: true, ..Sent::events(OpenAi, half) },
        Sent { cut: true, ..Sent::events(OpenAi, CHUNKS) },
        // In the middle of an event.
        Sent::events(Anthropic, &EVENTS[..EVENTS.len() / 2]),
        Sent::events(Anthropic, EVENTS.split("event: message_delta").next().expect("its beginning")),
        Sent { cut: true, ..Sent::events(Anthropic, EVENTS) },
    ] {
        let (response, record) = fixture.ask(&sent).await;
        let body = text(&response.body);
        let added = body.strip_prefix(&*String::from_utf8_lossy(&sent.body)).expect("what came, and more");
        assert!(added.contains("\"error\"") && added.matches("data:").count() == 1, "{body}");
        assert!(body.contains("\n\ndata: {\"error\"") || body.contains("\n\nevent: error\n"), "{body}");
        assert_eq!((response.status.as_u16(), record.summary.status.as_str()), (200, "failed"), "{body}");
        let counted = if body.contains("message_delta") { "provider" } else { "estimated" };
        assert_eq!(record.usage_source.as_deref(), Some(counted), "{body}");
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn who_asked_for_a_whole_answer_gets_one() {
    use Dialect::{Anthropic, OpenAi};
    let fixture = Fixture::new().await;
    for (dialect, events, content) in [
        (OpenAi, format!("{CHUNKS}{USAGE}data: [DONE]\n\n"), "/choices/0/message/content"),
        (Anthropic, EVENTS.to_owned(), "/content/0/text"),
    ] {
        let (response, record) = fixture.ask(&Sent { stream: false, ..Sent::events(dialect, &*events) }).await;
        let answer: Value = serde_json::from_slice(&response.body).expect("JSON");
        assert_eq!((response.status.as_u16(), answer.pointer(content)), (200, Some(&json!("hi"))), "{answer}");
        assert_eq!(response.headers["content-type"], "application/json");
        assert_eq!((record.summary.status.as_str(), record.summary.output_tokens), ("completed", Some(5)));
    }
    // What cannot be put together is given as it came.
    let strange = format!("{EVENTS}data: {{\"type\":\"something_new\"}}\n\n");
    let (response, record) = fixture.ask(&Sent { stream: false, ..Sent::events(Anthropic, &*strange) }).await;
    assert_eq!(text(&response.body), strange);
    assert_eq!(response.headers["content-type"], "text/event-stream");
    assert_eq!(record.summary.status, "completed");
    // An error is told as one.
    let limit = r#"{"error":{"message":"too many","code":429}}"#;
    let refused = Sent { stream: false, ..Sent::events(OpenAi, format!("data: {limit}\n\ndata: [DONE]\n\n")) };
    let (response, record) = fixture.ask(&refused).await;
    assert_eq!((response.status.as_u16(), text(&response.body).as_str()), (429, limit));
    assert_eq!(record.summary.status, "failed");
    let half = Sent { stream: false, ..Sent::events(OpenAi, CHUNKS.split_inclusive("\n\n").next().expect("an event")) };
    let (response, record) = fixture.ask(&half).await;
    assert_eq!((response.status.as_u16(), record.summary.status.as_str()), (502, "failed"));
    fixture.context.stop().await;
}

#[tokio::test]
async fn reading_never_breaks_a_paid_answer() {
    use Dialect::{Anthropic, OpenAi};
    let fixture = Fixture::new().await;
    let with = |body: &str, field: &str| body.replacen('{', &format!("{{{field},"), 1);
    let deep = format!("\"deep\":{}{}", "[".repeat(140), "]".repeat(140));
    for sent in [
        Sent::json(OpenAi, with(COMPLETION, "\"logprobs\":NaN")),
        Sent::json(OpenAi, format!("\u{feff}{COMPLETION}")),
        Sent::json(Anthropic, with(MESSAGE, "\"note\":\"two\nlines\"")),
        Sent::json(Anthropic, with(MESSAGE, &deep)),
        Sent::events(OpenAi, format!("{}{USAGE}", with(CHUNKS, "\"logprobs\":NaN"))),
    ] {
        let (response, record) = fixture.ask(&sent).await;
        let what = text(&response.body);
        assert_eq!((response.status.as_u16(), record.summary.status.as_str()), (200, "completed"), "{what}");
        assert_eq!(what, String::from_utf8_lossy(&sent.body).replace(USAGE, ""));
        assert_eq!((record.summary.output_tokens, record.answer_partial), (Some(5), Some(true)), "{what}");
    }
    let (response, record) = fixture.ask(&Sent::json(OpenAi, r#"{"something":"new"}"#)).await;
    assert_eq!((response.status.as_u16(), record.summary.status.as_str()), (200, "completed"));
    assert_eq!((record.usage_source.as_deref(), record.answer_partial), (Some("estimated"), Some(true)));
    fixture.context.stop().await;
}

#[tokio::test]
async fn errors_are_errors_whatever_their_status_says() {
    use Dialect::{Anthropic, OpenAi};
    let fixture = Fixture::new().await;
    let limit = r#"{"error":{"message":"Worker local total request limit reached (1)","code":429}}"#;
    let vllm = r#"{"object":"error","message":"This model's maximum context length is 8 tokens","type":"BadRequestError","code":400}"#;
    for (sent, status, message) in [
        (Sent::json(OpenAi, limit), 429, "Worker local total request limit reached (1)"),
        (Sent { stream: true, ..Sent::json(OpenAi, limit) }, 429, "Worker local total"),
        (Sent::json(OpenAi, vllm), 400, "maximum context length"),
        (Sent::json(OpenAi, r#"{"error":"model `x` not found"}"#), 502, "model `x` not found"),
        (
            Sent::json(Anthropic, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
            529,
            "Overloaded",
        ),
        (Sent { status: 400, ..Sent::json(OpenAi, r#"{"error":{"message":"no such field"}}"#) }, 400, "no such field"),
        (Sent::json(OpenAi, r#"[{"error":{"code":400,"message":"no such model"}}]"#), 400, "no such model"),
    ] {
        let (response, record) = fixture.ask(&sent).await;
        assert_eq!((response.status.as_u16(), &response.body), (status, &Bytes::from(sent.body)));
        assert_eq!(response.headers["content-type"], "application/json");
        assert_eq!((record.summary.status.as_str(), record.usage_source.as_deref()), ("failed", Some("none")));
        assert!(record.summary.error_message.as_deref().is_some_and(|said| said.contains(message)), "{record:?}");
    }
    for (dialect, beginning, event) in [
        (OpenAi, CHUNKS, format!("data: {vllm}\n\ndata: [DONE]\n\n")),
        (Anthropic, EVENTS, "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"api_error\",\"message\":\"maximum context length\"}}\n\n".to_owned()),
    ] {
        let beginning = beginning.split_inclusive("\n\n").next().expect("an event");
        let (response, record) = fixture.ask(&Sent::events(dialect, format!("{beginning}{event}"))).await;
        assert_eq!(text(&response.body), format!("{beginning}{event}"), "nothing is added");
        assert_eq!(record.summary.status, "failed");
        assert!(record.summary.error_message.is_some_and(|said| said.contains("maximum context length")));
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn our_credential_is_not_the_callers() {
    use Dialect::{Anthropic, OpenAi};
    let fixture = Fixture::new().await;
    let quoting = r#"{"error":{"message":"Incorrect API key provided: sk-upstr**-key","type":"invalid_request_error","code":"invalid_api_key"}}"#;
    for sent in [
        Sent { status: 401, ..Sent::json(OpenAi, quoting) },
        Sent { status: 403, ..Sent::json(OpenAi, "") },
        Sent { status: 401, content_type: "text/html", ..Sent::json(Anthropic, "<html>sk-upstr**-key</html>") },
        Sent {
            status: 403,
            stream: true,
            ..Sent::json(Anthropic, r#"{"type":"error","error":{"type":"permission_error","message":"sk-upstr"}}"#)
        },
        Sent { status: 400, ..Sent::json(OpenAi, quoting) },
        Sent::events(OpenAi, format!("data: {quoting}\n\ndata: [DONE]\n\n")),
        Sent { stream: false, ..Sent::events(OpenAi, format!("data: {quoting}\n\n")) },
        Sent::json(OpenAi, quoting),
    ] {
        let (response, record) = fixture.ask(&sent).await;
        let body = text(&response.body);
        assert_eq!(response.status, 502, "{body}");
        assert!(body.contains("provider_credential_refused") && !body.contains("sk-up"), "{body}");
        let reason = record.summary.error_message.clone().expect("a reason");
        assert!(reason.contains("does not accept the gateway's credential") && !reason.contains("sk-up"), "{reason}");
        assert_eq!(record.summary.status, "failed");
        assert!(!format!("{record:?}").contains("sk-up"), "{record:?}");
    }
    // What was asked may be forbidden too, and that is the caller's business.
    let flagged = r#"{"error":{"code":403,"message":"Input flagged by moderation","metadata":{"reasons":["x"]}}}"#;
    let (response, _) = fixture.ask(&Sent { status: 403, ..Sent::json(OpenAi, flagged) }).await;
    assert_eq!((response.status.as_u16(), text(&response.body).as_str()), (403, flagged));
    fixture.context.stop().await;
}

fn gzip(text: &str) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(text.as_bytes()).expect("memory");
    writer.finish().expect("memory")
}

#[tokio::test]
async fn what_providers_compress_all_the_same_is_readable() {
    use Dialect::{Anthropic, OpenAi};
    let fixture = Fixture::new().await;
    let refusal = r#"{"type":"error","error":{"type":"invalid_request_error","message":"max_tokens: too large"}}"#;
    let events = format!("{CHUNKS}data: [DONE]\n\n");
    for (packed, plain, status) in [
        (Sent::json(Anthropic, gzip(MESSAGE)), MESSAGE, 200),
        (Sent { status: 400, ..Sent::json(Anthropic, gzip(refusal)) }, refusal, 400),
        (Sent::events(OpenAi, gzip(&events)), &*events, 200),
        (Sent::json(Anthropic, MESSAGE), MESSAGE, 200),
    ] {
        let (response, record) = fixture.ask(&Sent { status, encoding: "gzip", ..packed }).await;
        assert_eq!((response.status.as_u16(), text(&response.body).as_str()), (status, plain));
        assert!(!response.headers.contains_key("content-encoding"));
        assert_eq!(record.answer_partial, Some(false));
    }
    let asked = fixture.mock.requests().last().cloned().expect("it was asked");
    assert!(asked.headers.contains(&("accept-encoding".to_owned(), "identity".to_owned())), "{:?}", asked.headers);
    let labelled = Sent { encoding: "aws-chunked", ..Sent::json(OpenAi, COMPLETION) };
    assert_eq!(text(&fixture.ask(&labelled).await.0.body), COMPLETION);
    for bad in [
        Sent { encoding: "compress", ..Sent::json(OpenAi, "x") },
        Sent { encoding: "gzip", ..Sent::json(OpenAi, gzip(COMPLETION)[..40].to_vec()) },
    ] {
        let (response, record) = fixture.ask(&bad).await;
        assert_eq!((response.status.as_u16(), record.summary.status.as_str()), (502, "failed"));
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn what_was_used_is_priced_wherever_it_stands() {
    use Dialect::{Anthropic, OpenAi};
    let fixture = Fixture::new().await;
    let written = r#"{"input_tokens":0,"output_tokens":0,"cache_creation_input_tokens":1000000,"cache_creation":{"ephemeral_5m_input_tokens":400000,"ephemeral_1h_input_tokens":600000}}"#;
    let apart = r#"{"prompt_tokens":10120,"completion_tokens":1499,"total_tokens":14428,"prompt_tokens_details":{"cached_tokens":128},"completion_tokens_details":{"reasoning_tokens":2809}}"#;
    let of = |dialect: Dialect, usage: &str| match dialect {
        Anthropic => MESSAGE.replace(r#"{"input_tokens":7,"output_tokens":5}"#, usage),
        OpenAi => COMPLETION.replace(r#"{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}"#, usage),
    };
    let in_choice = COMPLETION.replace(
        r#""finish_reason":"stop"}],"usage":{"prompt_tokens":7,"completion_tokens":5,"total_tokens":12}}"#,
        r#""finish_reason":"stop","usage":{"prompt_tokens":7,"completion_tokens":5}}]}"#,
    );
    let started = EVENTS
        .replace(r#"{"input_tokens":7,"output_tokens":1}"#, written)
        .replace(r#""usage":{"output_tokens":5}"#, r#""usage":{"output_tokens":0}"#);
    for (sent, output, cost) in [
        (Sent::json(Anthropic, of(Anthropic, written)), 0, 5_100_000),
        (Sent::events(Anthropic, started), 0, 5_100_000),
        (Sent::json(OpenAi, of(OpenAi, apart)), 4308, 2 * (9992 + 128) + 10 * 4308),
        (Sent::json(OpenAi, in_choice), 5, 14 + 50),
        (Sent::json(OpenAi, of(OpenAi, r#"{"prompt_tokens":7.0,"completion_tokens":5.0}"#)), 5, 14 + 50),
    ] {
        let (response, record) = fixture.ask(&sent).await;
        assert_eq!(response.status, 200);
        assert_eq!(record.summary.output_tokens, Some(output), "{record:?}");
        assert_eq!(record.summary.cost.map(|cost| cost.0), Some(cost), "{record:?}");
        assert_eq!(record.usage_source.as_deref(), Some("provider"));
    }
    let (_, record) = fixture.ask(&Sent::json(OpenAi, of(OpenAi, "null"))).await;
    assert_eq!(record.usage_source.as_deref(), Some("estimated"));
    let zeroes = r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#;
    let (_, record) = fixture.ask(&Sent::json(OpenAi, of(OpenAi, zeroes))).await;
    assert_eq!(record.usage_source.as_deref(), Some("estimated"), "who does not count says zero");
    assert!(record.summary.cost.is_some_and(|cost| cost.0 > 0), "{record:?}");

    // No request has so many; sums of what is recorded are still sums.
    let mut last = None;
    for _ in 0..2 {
        let huge = of(OpenAi, r#"{"prompt_tokens":1000000000000000000,"completion_tokens":1000000000000000000}"#);
        let (response, record) = fixture.ask(&Sent::json(OpenAi, huge)).await;
        assert_eq!((response.status.as_u16(), record.answer_partial), (200, Some(true)));
        last = Some(record.summary);
    }
    let many = of(OpenAi, r#"{"prompt_tokens":1000000000000,"completion_tokens":5}"#);
    let (_, record) = fixture.ask(&Sent::json(OpenAi, many)).await;
    assert_eq!(record.usage_source.as_deref(), Some("bounded"), "{record:?}");
    assert_eq!((record.summary.input_tokens, record.summary.output_tokens), (Some(1_000_000_000), Some(5)));
    let stats = request_stats(fixture.context.db().read(), &RequestFilter::default()).await.expect("they add up");
    assert!(stats.input_tokens >= 2 * last.and_then(|last| last.input_tokens).expect("a count"));
    fixture.context.stop().await;
}
