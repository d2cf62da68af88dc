//! A caller inside the server and one that comes by HTTP are the same to the provider and to the ledger.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder};
use systemprompt_extension::policy::{
    DenialKind, Phase, Policy, PolicyDef, PolicyInput, Subject, Verdict, Violation, async_trait,
};
use systemprompt_extension::prelude::*;
use systemprompt_gateway::inference::{Ask, Failure, FailureKind, Forwarded, Inference};
use systemprompt_gateway::request::queries;
use systemprompt_governance::Ledger;
use systemprompt_identity::{Authenticator, SessionHint, Sessions};
use systemprompt_llm::{Format, InferenceRequest};
use systemprompt_mock_upstream::{Behaviour, Fault, MockToolCall, MockUpstream};
use systemprompt_model::{ActionId, ActorChain, Attribution, Client, SessionId, TraceId};
use uuid::Uuid;

struct Fixture {
    mock: MockUpstream,
    context: TestContext,
    ada: TestClient,
    session: SessionId,
}

/// What is known of a request afterwards.
#[derive(Debug, PartialEq)]
struct Trail {
    status: u16,
    answer: Value,
    path: String,
    headers: Vec<(String, String)>,
    sent: Bytes,
    entries: Vec<Value>,
}

/// Answers that hold this word are not for the caller.
const WORD: &str = "forbidden";

/// An extension with a policy that wants to see answers.
struct Probe;

impl Extension for Probe {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "probe", name: "Probe", version: "1.0.0" }
    }

    fn governance_policies(&self) -> Vec<PolicyDef> {
        vec![PolicyDef::new("probe.word", "A word may not be said", |_| Ok(Arc::new(NoWord)))]
    }
}

struct NoWord;

#[async_trait]
impl Policy for NoWord {
    fn id(&self) -> &'static str {
        "probe.word"
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        (phase, subject) == (Phase::After, Subject::Answer)
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        if String::from_utf8_lossy(input.content).contains(WORD) {
            return Verdict::Fail(Violation::new(DenialKind::Content, "probe_word", "it says what may not be said"));
        }
        Verdict::Pass
    }
}

impl Fixture {
    async fn new() -> Self {
        Self::of(TestContext::builder()).await
    }

    async fn of(builder: TestContextBuilder) -> Self {
        let mock = MockUpstream::start().await.expect("a free port");
        let model = |id: &str| json!([{"id": id, "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}}]);
        let context = builder
            .profile(
                "providers",
                json!([
                    {"name": "ant", "wire": "anthropic", "surface": "anthropic", "endpoint": mock.endpoint(),
                     "api_key_secret": "upstream", "models": model("claude-test")},
                    {"name": "oai", "wire": "openai-chat", "surface": "openai", "endpoint": mock.endpoint(),
                     "api_key_secret": "upstream", "models": model("gpt-test")},
                ]),
            )
            .document(
                "access-control/all.yaml",
                json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["admin"]}]}),
            )
            .secret("upstream", "sk-upstream")
            .start()
            .await;
        let ada = context.user("ada", &["admin"]).await;
        let mut fixture = Self { mock, context, ada, session: SessionId::from_uuid(Uuid::nil()) };
        let hint = SessionHint { explicit: None, client_session: None, client: None, conversation: 1, required: false };
        let principal = fixture.principal().await;
        let sessions = fixture.context.service::<Sessions>().expect("a service");
        fixture.session = sessions.bind(&principal, hint).await.expect("a session");
        fixture
    }

    async fn principal(&self) -> std::sync::Arc<systemprompt_model::Principal> {
        let key = self.ada.credential().expect("users have keys");
        let mut headers = HeaderMap::new();
        headers.insert("x-api-key", HeaderValue::from_str(key.expose()).expect("ASCII"));
        self.context.service::<Authenticator>().expect("a service").authenticate(&headers).await.expect("known")
    }

    /// Asks with the headers and the body a client would send.
    async fn by_http(&self, path: &str, body: &str) -> Trail {
        let (id, status, answer) = self.send(path, body).await;
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
        self.trail(id, status, &answer).await
    }

    async fn send(&self, path: &str, body: &str) -> (ActionId, u16, Bytes) {
        let request = Request::post(path)
            .header("x-session-id", self.session.to_string())
            .header("user-agent", "probe/1")
            .header("anthropic-beta", "some-beta")
            .header("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
            .header("x-gateway-conversation-id", "talk-1")
            .body(body.to_owned())
            .expect("a request");
        let response = self.ada.request(request).await;
        let (id, status) = (response.headers.get("x-systemprompt-request-id").cloned(), response.status.as_u16());
        let id = id.expect("it is recorded").to_str().expect("text").parse().expect("an id");
        (id, status, response.body)
    }

    /// Asks for the same as somebody inside the server.
    async fn in_process(&self, format: Format, body: &str) -> Result<Trail, Failure> {
        let inference = self.context.service::<Inference>().expect("a service");
        let principal = self.principal().await;
        let by = Attribution {
            actors: ActorChain::user(principal.user_id),
            principal,
            session: Some(self.session),
            context: None,
            task: None,
            trace: TraceId::generate(self.context.ambient()),
            client: Some(Client {
                name: Some("probe/1".to_owned()),
                trace: Some("4bf92f3577b34da6a3ce929d0e0e4736".to_owned()),
            }),
        };
        let mut headers = HeaderMap::new();
        headers.insert("anthropic-beta", HeaderValue::from_static("some-beta"));
        let forwarded = Forwarded { headers, conversation: Some("talk-1".to_owned()), received: None };
        let request = InferenceRequest::parse(format, Bytes::from(body.to_owned())).expect("a request");
        let reply = inference.ask(Ask { by, request, forwarded }).await?;
        let (id, status) = (reply.request, reply.status.as_u16());
        let answer = reply.whole().await;
        Ok(self.trail(id, status, &answer).await)
    }

    async fn trail(&self, id: ActionId, status: u16, answer: &[u8]) -> Trail {
        let received = self.mock.requests().last().cloned().expect("the provider was asked");
        Trail {
            status,
            answer: serde_json::from_slice(answer).unwrap_or_else(|_| String::from_utf8_lossy(answer).into()),
            path: received.path.clone(),
            headers: received.headers.clone(),
            sent: received.body.clone(),
            entries: self.entries(id).await,
        }
    }

    /// What the ledger says of an action, once it has ended, without ids and times.
    async fn entries(&self, id: ActionId) -> Vec<Value> {
        for _ in 0..500 {
            let bodies: Vec<String> =
                sqlx::query_scalar("SELECT body FROM ledger WHERE action_id = $1 ORDER BY chain_id, seq")
                    .bind(id.as_uuid())
                    .fetch_all(self.context.db().read())
                    .await
                    .expect("the ledger");
            let entries: Vec<Value> =
                bodies.iter().map(|body| without_ids(serde_json::from_str(body).expect("JSON"))).collect();
            if entries.last().is_some_and(|last| last["kind"] == "ended" || last["decision"]["verdict"] == "deny") {
                return entries;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the request {id} never ended");
    }
}

/// An entry with what differs from one request to the next put out of sight.
fn without_ids(mut entry: Value) -> Value {
    match &mut entry {
        Value::Object(fields) => {
            for (name, value) in fields.iter_mut() {
                let differs = [
                    "action",
                    "at",
                    "received_at",
                    "id",
                    "trace",
                    "latency_ms",
                    "ttft_ms",
                    "duration_ms",
                    "provider_request_id",
                ]
                .contains(&name.as_str());
                // The ids of actors and resources are not those of the request.
                *value = if differs && !value.is_object() && !is_lasting(name, value) {
                    json!("…")
                } else {
                    without_ids(value.take())
                };
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| *item = without_ids(item.take())),
        _ => {}
    }
    entry
}

/// Whether an `id` names something that outlives the request.
fn is_lasting(name: &str, value: &Value) -> bool {
    name == "id" && value.as_str().is_some_and(|id| Uuid::try_parse(id).is_err() && !id.starts_with("toolu_"))
}

#[tokio::test]
async fn both_ways_of_asking_send_the_same_bytes_and_leave_the_same_entries() {
    let fixture = Fixture::new().await;
    let tool_call = Some(MockToolCall { name: "look_up".to_owned(), input: json!({"q": "x"}) });
    fixture.mock.behave(Behaviour { tool_call, ..Behaviour::default() });
    for (format, path, model) in [
        (Format::AnthropicMessages, "/v1/messages", "claude-test"),
        (Format::OpenAiChat, "/v1/chat/completions", "gpt-test"),
    ] {
        for stream in [false, true] {
            let body = format!(
                r#"{{ "model": "{model}", "max_tokens":50, "stream": {stream}, "stop_sequences": ["END"], "temperature": 0.5, "x": [1.50],
                "messages":[{{"role":"user","content":"Hello"}}]}}"#
            );
            let by_http = fixture.by_http(path, &body).await;
            let in_process = fixture.in_process(format, &body).await.expect("an answer");
            assert_eq!(by_http, in_process, "{path}, streamed: {stream}");
            let kinds: Vec<_> = by_http.entries.iter().map(|entry| entry["kind"].as_str().expect("text")).collect();
            assert_eq!(kinds, ["decided", "ended"]);
            let facts = &by_http.entries[0]["effect"]["facts"];
            assert_eq!((facts["conversation"].as_str(), facts["stream"].as_bool()), (Some("talk-1"), Some(stream)));
            assert_eq!(by_http.entries[1]["facts"]["tool_calls"][0]["name"], "look_up");
        }
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_refusal_is_the_same_both_ways() {
    let fixture = Fixture::new().await;
    let body = r#"{"model":"nobody-has-it","max_tokens":5,"messages":[{"role":"user","content":"Hello"}]}"#;
    let (by_http, status, _) = fixture.send("/v1/messages", body).await;
    assert_eq!(status, 404);
    let failure = fixture.in_process(Format::AnthropicMessages, body).await.expect_err("no such model");
    assert!(matches!(failure.kind, FailureKind::Refused(_)), "{failure}");
    let in_process = failure.request.expect("it is recorded");
    assert_eq!(fixture.entries(by_http).await, fixture.entries(in_process).await);
    assert!(fixture.mock.requests().is_empty(), "nothing was sent");
    fixture.context.stop().await;
}

#[tokio::test]
async fn an_answer_that_policies_want_to_see_is_held_back_until_they_have() {
    let fixture = Fixture::of(TestContext::builder().extension(Probe)).await;
    for (path, model) in [("/v1/messages", "claude-test"), ("/v1/chat/completions", "gpt-test")] {
        for stream in [false, true] {
            let body = format!(
                r#"{{"model":"{model}","max_tokens":50,"stream":{stream},"messages":[{{"role":"user","content":"Hello"}}]}}"#
            );
            let what = format!("{path}, streamed: {stream}");
            fixture.mock.behave(Behaviour { chunk_text: "hello ".to_owned(), ..Behaviour::default() });
            let (id, status, answer) = fixture.send(path, &body).await;
            let text = String::from_utf8_lossy(&answer);
            assert_eq!(status, 200, "{what}: {text}");
            assert_eq!(text.matches("hello ").count(), 8, "{what}: {text}");
            assert!(!stream || text.contains("[DONE]") || text.contains("message_stop"), "{what}: {text}");
            let entries = fixture.entries(id).await;
            assert_eq!(entries[1]["status"], "completed", "{what}");
            assert_eq!(entries[1]["inspections"][0]["policy_id"], "probe.word", "{what}: {}", entries[1]);

            // No piece of the stream has the word, the answer has it.
            fixture.mock.behave(Behaviour { chunk_text: "dden forbi".to_owned(), ..Behaviour::default() });
            let (id, status, answer) = fixture.send(path, &body).await;
            let text = String::from_utf8_lossy(&answer);
            assert_eq!(status, if stream { 200 } else { 403 }, "{what}: {text}");
            assert!(!text.contains("dden forbi"), "{what}: {text}");
            assert!(text.contains("it says what may not be said"), "{what}: {text}");
            let end = &fixture.entries(id).await[1];
            assert_eq!(end["status"], "failed", "{what}: {end}");
            assert!(end["reason"].as_str().is_some_and(|reason| reason.contains("withheld")), "{what}: {end}");
            assert!(end["usage"]["tokens"].as_i64().is_some_and(|tokens| tokens > 0), "it was billed: {what}: {end}");
        }
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn the_tables_come_out_the_same_when_they_are_filled_anew() {
    let fixture = Fixture::new().await;
    let tool_call = Some(MockToolCall { name: "look_up".to_owned(), input: json!({"q": "x"}) });
    let ledger = fixture.context.service::<Ledger>().expect("a service");
    let mut seen = Vec::new();
    for (model, fault) in [
        ("claude-test", None),
        ("nobody-has-it", None),
        ("claude-test", Some(Fault::CloseIdle)),
        ("claude-test", None),
        ("claude-test", Some(Fault::GarbageJson)),
    ] {
        let tool_call = tool_call.clone();
        fixture.mock.behave(Behaviour { fault, fault_times: Some(1), tool_call, ..Behaviour::default() });
        let body = format!(r#"{{"model":"{model}","max_tokens":5,"messages":[{{"role":"user","content":"Hello"}}]}}"#);
        let (id, _, _) = fixture.send("/v1/messages", &body).await;
        // The decision is applied by itself at times, and the end later: both ways must come to the same.
        ledger.catch_up().await.expect("applies");
        fixture.entries(id).await;
        ledger.catch_up().await.expect("applies");
        let detail = queries::show_request(fixture.context.db().read(), id).await.expect("reads").expect("a row");
        seen.push((detail.summary.status, detail.attempts));
    }
    let expected = [("completed", 1), ("rejected", 1), ("completed", 1), ("completed", 2), ("failed", 1)];
    assert_eq!(seen, expected.map(|(status, attempts)| (status.to_owned(), attempts)));

    let rows = async || -> Vec<Value> {
        sqlx::query_scalar(
            "SELECT to_jsonb(r) FROM ai_requests AS r UNION ALL SELECT to_jsonb(c) FROM ai_request_tool_calls AS c",
        )
        .fetch_all(fixture.context.db().read())
        .await
        .expect("the tables")
    };
    let sorted = |mut rows: Vec<Value>| {
        rows.sort_by_key(Value::to_string);
        rows
    };
    let before = sorted(rows().await);
    ledger.projector().rebuild("ai_requests").await.expect("rebuilds");
    assert_eq!(sorted(rows().await), before);
    fixture.context.stop().await;
}
