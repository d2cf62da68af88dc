//! A caller inside the server and one that comes by HTTP are the same to the provider and to the ledger.

use std::sync::Mutex;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder};
use systemprompt_extension::policy::{
    DenialKind, Hold, Phase, Policy, PolicyDef, PolicyInput, Subject, Usage, Verdict, Violation, async_trait,
};
use systemprompt_extension::prelude::*;
use systemprompt_gateway::inference::{Ask, Failure, FailureKind, Forwarded, Inference, Reply};
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

/// A policy looks at an answer that holds this word without ever coming to an end.
const RIDDLE: &str = "riddle";

/// An extension with a policy that wants to see answers.
struct Probe;

impl Extension for Probe {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "probe", name: "Probe", version: "1.0.0" }
    }

    fn governance_policies(&self) -> Vec<PolicyDef> {
        vec![
            PolicyDef::new("probe.word", "A word may not be said", |_| Ok(Arc::new(NoWord))),
            PolicyDef::new("probe.later", "It needs a moment", |_| Ok(Arc::new(Later))),
        ]
    }
}

/// An extension with a budget: what was settled, action by action.
#[derive(Clone, Default)]
struct Budget(Arc<Mutex<Vec<u64>>>);

impl Extension for Budget {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "budget", name: "Budget", version: "1.0.0" }
    }

    fn governance_policies(&self) -> Vec<PolicyDef> {
        let budget = self.clone();
        vec![PolicyDef::new("budget.tokens", "Tokens are counted", move |_| Ok(Arc::new(budget.clone())))]
    }
}

#[async_trait]
impl Policy for Budget {
    fn id(&self) -> &'static str {
        "budget.tokens"
    }

    async fn judge(&self, _: &PolicyInput<'_>) -> Verdict {
        Verdict::Hold(Box::new(self.clone()))
    }
}

impl Hold for Budget {
    fn settle(self: Box<Self>, used: &Usage) {
        self.0.lock().expect("nobody panicked").push(used.tokens());
    }
}

struct NoWord;

/// Passes every answer, and not at once.
struct Later;

#[async_trait]
impl Policy for Later {
    fn id(&self) -> &'static str {
        "probe.later"
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        (phase, subject) == (Phase::After, Subject::Answer)
    }

    async fn judge(&self, _: &PolicyInput<'_>) -> Verdict {
        tokio::task::yield_now().await;
        Verdict::Pass
    }
}

#[async_trait]
impl Policy for NoWord {
    fn id(&self) -> &'static str {
        "probe.word"
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        (phase, subject) == (Phase::After, Subject::Answer)
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        if input.texts.iter().any(|text| text.contains(RIDDLE)) {
            std::future::pending::<()>().await;
        }
        if input.texts.iter().any(|text| text.contains(WORD)) {
            return Verdict::Fail(Violation::new(DenialKind::Content, "probe_word", "it says what may not be said"));
        }
        Verdict::Pass
    }
}

const HELLO: &str = r#"{"model":"claude-test","max_tokens":5,"messages":[{"role":"user","content":"Hello"}]}"#;

impl Fixture {
    async fn new() -> Self {
        Self::of(TestContext::builder(), json!({})).await
    }

    /// With these time limits.
    async fn of(builder: TestContextBuilder, resilience: Value) -> Self {
        let mock = MockUpstream::start().await.expect("a free port");
        // One request is one attempt, and one failure is no reason to leave a provider alone; `failover` is about that.
        let once = json!({"retry_attempts": 0, "breaker_failure_threshold": 0});
        let model = |id: &str| json!([{"id": id, "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}}]);
        let context = builder
            .profile(
                "providers",
                json!([
                    {"name": "ant", "wire": "anthropic", "surface": "anthropic", "endpoint": mock.endpoint(),
                     "api_key_secret": "upstream", "resilience": once, "models": model("claude-test")},
                    {"name": "oai", "wire": "openai-chat", "surface": "openai", "endpoint": mock.endpoint(),
                     "api_key_secret": "upstream", "resilience": once, "models": model("gpt-test")},
                    {"name": "none", "wire": "anthropic", "surface": "anthropic", "endpoint": "http://127.0.0.1:1",
                     "api_key_secret": "upstream", "resilience": once, "models": model("nobody-there")},
                ]),
            )
            .profile("gateway", json!({"enabled": true, "resilience": resilience}))
            .document(
                "access-control/all.yaml",
                json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["admin"]}]}),
            )
            .secret("upstream", "sk-upstream")
            .start()
            .await;
        let ada = context.user("ada", &["admin"]).await;
        let mut fixture = Self { mock, context, ada, session: SessionId::from_uuid(Uuid::nil()) };
        let hint = SessionHint { conversation: 1, ..SessionHint::default() };
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
            .header("x-claude-code-agent-id", "agent-7")
            .body(body.to_owned())
            .expect("a request");
        let response = self.ada.request(request).await;
        let (id, status) = (response.headers.get("x-systemprompt-request-id").cloned(), response.status.as_u16());
        let id = id.expect("it is recorded").to_str().expect("text").parse().expect("an id");
        (id, status, response.body)
    }

    /// Asks for the same as somebody inside the server.
    async fn in_process(&self, format: Format, body: &str) -> Result<Trail, Failure> {
        let reply = self.ask(format, body).await?;
        let (id, status) = (reply.request, reply.status.as_u16());
        let answer = reply.whole().await;
        Ok(self.trail(id, status, &answer).await)
    }

    /// Asks from inside the server, and gives what is answered as it begins.
    async fn ask(&self, format: Format, body: &str) -> Result<Reply, Failure> {
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
        let forwarded = Forwarded {
            headers,
            conversation: Some("talk-1".to_owned()),
            agent: Some("agent-7".to_owned()),
            received: None,
        };
        let request = InferenceRequest::parse(format, Bytes::from(body.to_owned())).expect("a request");
        inference.ask(Ask { by, request, forwarded }).await
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

/// Tokens an end was billed for.
fn tokens(end: &Value) -> u64 {
    let count = |kind: &str| end["usage"][kind].as_u64().expect("a count");
    count("input_tokens") + count("output_tokens")
}

#[tokio::test]
async fn both_ways_of_asking_send_the_same_bytes_and_leave_the_same_entries() {
    let fixture = Fixture::new().await;
    let tool_calls = vec![MockToolCall { name: "look_up".to_owned(), input: json!({"q": "x"}) }];
    fixture.mock.behave(Behaviour { tool_calls, ..Behaviour::default() });
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
    let fixture = Fixture::of(TestContext::builder().extension(Probe), json!({})).await;
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
            assert_eq!(status, if stream { 200 } else { 451 }, "{what}: {text}");
            assert!(!text.contains("dden forbi"), "{what}: {text}");
            assert!(text.contains("it says what may not be said"), "{what}: {text}");
            let end = &fixture.entries(id).await[1];
            assert_eq!(end["status"], "failed", "{what}: {end}");
            assert!(end["reason"].as_str().is_some_and(|reason| reason.contains("withheld")), "{what}: {end}");
            assert!(tokens(end) > 0, "it was billed: {what}: {end}");
        }
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_word_in_an_answer_is_seen_however_it_is_written() {
    let fixture = Fixture::of(TestContext::builder().extension(Probe), json!({})).await;
    let escaped = Fault::Status {
        status: 200,
        body: Some(r#"{"type":"message","content":[{"type":"text","text":"for\u0062idden"}],"usage":{}}"#.to_owned()),
        retry_after: None,
    };
    // A stream has it in pieces, in whatever the model says, thinks or wants done.
    let said = Behaviour { chunk_text: "dden\tforbi".to_owned(), ..Behaviour::default() };
    let thought = Behaviour { thinking: Some("it is forbidden to think".to_owned()), ..Behaviour::default() };
    let input = json!({"q": "it is forbidden to ask"});
    let wanted =
        Behaviour { tool_calls: vec![MockToolCall { name: "look_up".to_owned(), input }], ..Behaviour::default() };
    let faulty = Behaviour { fault: Some(escaped), ..Behaviour::default() };
    for (behaviour, stream) in [
        (faulty, false),
        (thought.clone(), false),
        (thought, true),
        (wanted.clone(), false),
        (wanted, true),
        (Behaviour { chunks: 2, chunk_text: "forbidden".to_owned(), ..said }, true),
    ] {
        fixture.mock.behave(behaviour.clone());
        let body = format!(
            r#"{{"model":"claude-test","max_tokens":50,"stream":{stream},"messages":[{{"role":"user","content":"Hello"}}]}}"#
        );
        let (id, _, answer) = fixture.send("/v1/messages", &body).await;
        let text = String::from_utf8_lossy(&answer);
        assert!(text.contains("it says what may not be said"), "streamed: {stream}, {behaviour:?}: {text}");
        let end = &fixture.entries(id).await[1];
        assert!(end["reason"].as_str().is_some_and(|reason| reason.contains("withheld")), "{end}");
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn an_error_of_the_provider_is_looked_at_like_any_other_answer() {
    let fixture = Fixture::of(TestContext::builder().extension(Probe), json!({})).await;
    for (message, expected) in [("overloaded", 529), ("you said forb\\u0069dden", 451)] {
        let body = format!(r#"{{"type":"error","error":{{"type":"overloaded_error","message":"{message}"}}}}"#);
        let fault = Some(Fault::Status { status: 529, body: Some(body), retry_after: None });
        fixture.mock.behave(Behaviour { fault, ..Behaviour::default() });
        let (id, status, answer) = fixture.send("/v1/messages", HELLO).await;
        let text = String::from_utf8_lossy(&answer);
        assert_eq!(status, expected, "{text}");
        assert_eq!(text.contains(message), expected == 529, "{text}");
        let end = &fixture.entries(id).await[1];
        assert_eq!(end["status"], "failed", "{end}");
        assert_eq!(tokens(end), 0, "a refusal is free: {end}");
        assert_eq!(end["inspections"][0]["policy_id"], "probe.word", "{end}");
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn nobody_waits_for_a_policy_forever() {
    let resilience = json!({"inspection_timeout_ms": 200});
    let fixture = Fixture::of(TestContext::builder().extension(Probe), resilience).await;
    fixture.mock.behave(Behaviour { chunk_text: "riddle ".to_owned(), ..Behaviour::default() });
    for (path, model) in [("/v1/messages", "claude-test"), ("/v1/chat/completions", "gpt-test")] {
        for stream in [false, true] {
            let body = format!(
                r#"{{"model":"{model}","max_tokens":50,"stream":{stream},"messages":[{{"role":"user","content":"Hello"}}]}}"#
            );
            let what = format!("{path}, streamed: {stream}");
            let (id, status, answer) = fixture.send(path, &body).await;
            let text = String::from_utf8_lossy(&answer);
            assert_eq!(status, if stream { 200 } else { 503 }, "{what}: {text}");
            assert!(!text.contains("riddle"), "{what}: {text}");
            let data = text.lines().find_map(|line| line.strip_prefix("data: ")).unwrap_or(&text);
            let error: Value = serde_json::from_str(data).unwrap_or_else(|error| panic!("{error}: {what}: {text}"));
            let message = error["error"]["message"].as_str().unwrap_or_default();
            assert!(message.contains("did not answer in time"), "{what}: {text}");
            let end = &fixture.entries(id).await[1];
            assert_eq!((&end["status"], &end["inspections"][0]["result"]), (&json!("failed"), &json!("fail")), "{end}");
            assert!(tokens(end) > 0, "it was billed: {end}");
        }
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_policy_that_only_warns_leaves_time_for_the_others() {
    let policies = json!({"governance": {"policies": [{"id": "probe.word", "mode": "warn"}, {"id": "probe.later"}]}});
    let builder = TestContext::builder().extension(Probe).document("governance/config.yaml", policies);
    let fixture = Fixture::of(builder, json!({"inspection_timeout_ms": 1000})).await;
    fixture.mock.behave(Behaviour { chunk_text: "riddle ".to_owned(), ..Behaviour::default() });
    let (id, status, answer) = fixture.send("/v1/messages", HELLO).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    let end = &fixture.entries(id).await[1];
    let said =
        |number: usize| (end["inspections"][number]["policy_id"].clone(), end["inspections"][number]["result"].clone());
    assert_eq!([said(0), said(1)], [(json!("probe.word"), json!("fail")), (json!("probe.later"), json!("pass"))]);
    fixture.context.stop().await;
}

#[tokio::test]
async fn what_was_sent_is_counted_however_the_answer_ends() {
    const WORDS: usize = 1000;
    let budget = Budget::default();
    let resilience = json!({"first_byte_timeout_ms": 400, "stream_idle_timeout_ms": 400, "request_timeout_ms": 800});
    let fixture = Fixture::of(TestContext::builder().extension(budget.clone()), resilience).await;
    let prompt = "four".repeat(WORDS);
    let body = |model: &str, stream: bool| {
        json!({"model": model, "max_tokens": 50, "stream": stream, "messages": [{"role": "user", "content": prompt}]})
            .to_string()
    };
    let refused = |status, body: &str| Fault::Status { status, body: Some(body.to_owned()), retry_after: None };
    let long = || Behaviour { chunk_text: "some words ".repeat(100), ..Behaviour::default() };
    let faulty = |fault| Behaviour { fault: Some(fault), ..long() };
    // What is read before an answer breaks off is about half of it.
    let half = WORDS + 800;
    for (model, stream, behaviour, least, most) in [
        ("claude-test", false, faulty(Fault::HangBeforeHeaders), WORDS, half),
        ("claude-test", false, faulty(Fault::CloseBeforeHeaders), WORDS, half),
        ("claude-test", false, faulty(Fault::EmptyBody), WORDS, half),
        ("claude-test", false, faulty(Fault::HangMidStream { after_chunks: 1 }), half, 2 * half),
        ("claude-test", false, faulty(Fault::CloseMidStream { after_chunks: 1 }), half, 2 * half),
        ("claude-test", false, Behaviour { usage: None, ..long() }, half, 2 * half),
        // A stream says at its beginning what the prompt was.
        ("claude-test", true, faulty(Fault::HangMidStream { after_chunks: 4 }), 1110, 1110),
        ("claude-test", true, faulty(Fault::HangMidStream { after_chunks: 0 }), 11, 11),
        // Free: refused, or never sent.
        ("claude-test", false, faulty(refused(529, "{}")), 0, 0),
        ("claude-test", true, faulty(refused(400, "")), 0, 0),
        ("nobody-there", false, long(), 0, 0),
        // What the provider counts is what counts.
        ("claude-test", false, long(), 18, 18),
    ] {
        fixture.mock.behave(behaviour.clone());
        let (id, _, answer) = fixture.send("/v1/messages", &body(model, stream)).await;
        let end = &fixture.entries(id).await[1];
        let what = format!("{model}, streamed: {stream}, {:?}: {end} {}", behaviour.fault, answer.len());
        let tokens = tokens(end) as usize;
        assert!((least..=most).contains(&tokens), "{least}..={most}: {what}");
        assert_eq!(end["usage"]["cost_microdollars"].as_u64().is_some_and(|cost| cost > 0), least > 0, "{what}");
        let settled = budget.0.lock().expect("nobody panicked").pop().expect("settled");
        assert_eq!(settled as usize, tokens, "{what}");
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_caller_of_a_stream_is_not_left_without_a_sign_of_life() {
    let resilience = json!({"head_patience_ms": 1, "first_byte_timeout_ms": 400});
    let fixture = Fixture::of(TestContext::builder(), resilience).await;
    let fault = |status, body: Option<&str>| Fault::Status { status, body: body.map(str::to_owned), retry_after: None };
    for (path, model, ping, end) in [
        ("/v1/messages", "claude-test", "event: ping\n", "event: message_stop\n"),
        ("/v1/chat/completions", "gpt-test", ": ", "data: [DONE]\n"),
    ] {
        let body = format!(
            r#"{{"model":"{model}","max_tokens":50,"stream":true,"messages":[{{"role":"user","content":"Hello"}}]}}"#
        );
        for (fault, status, expected) in [
            (None, "completed", end),
            (Some(fault(529, None)), "failed", "mock: overloaded"),
            (Some(fault(503, Some("<html>"))), "failed", "503"),
            (Some(Fault::HangBeforeHeaders), "failed", "did not answer within"),
            (Some(Fault::CloseBeforeHeaders), "failed", "closed the connection"),
        ] {
            fixture.mock.behave(Behaviour { fault: fault.clone(), delay_ms: 100, ..Behaviour::default() });
            let (id, answered, answer) = fixture.send(path, &body).await;
            let text = String::from_utf8_lossy(&answer);
            assert_eq!(answered, 200, "{path} {fault:?}: {text}");
            assert!(text.starts_with(ping) && text.contains(expected), "{path} {fault:?}: {text}");
            if path == "/v1/messages" && status == "failed" {
                assert!(text.contains("event: error\n"), "{fault:?}: {text}");
            }
            assert_eq!(fixture.entries(id).await[1]["status"], status, "{path} {fault:?}");
        }
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_provider_that_does_not_know_stream_options_is_asked_without() {
    let fixture = Fixture::new().await;
    let body = r#"{"model":"gpt-test","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let unknown = r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error"}}"#;
    let fault = Some(Fault::Status { status: 400, body: Some(unknown.to_owned()), retry_after: None });
    fixture.mock.behave(Behaviour { fault, fault_times: Some(1), ..Behaviour::default() });
    let sent = || -> Vec<bool> {
        let requests = fixture.mock.requests();
        requests.iter().map(|request| String::from_utf8_lossy(&request.body).contains("stream_options")).collect()
    };
    let (id, status, answer) = fixture.send("/v1/chat/completions", body).await;
    assert_eq!(status, 200, "{}", String::from_utf8_lossy(&answer));
    assert_eq!(fixture.entries(id).await[1]["status"], "completed");
    assert_eq!(sent(), [true, false]);
    // What was refused was judged and sent, so it is a request of its own.
    let ledger = fixture.context.service::<Ledger>().expect("a service");
    ledger.catch_up().await.expect("applies");
    let statuses: Vec<String> = sqlx::query_scalar("SELECT status FROM ai_requests ORDER BY id")
        .fetch_all(fixture.context.db().read())
        .await
        .expect("the requests");
    assert_eq!(statuses, ["failed", "completed"]);
    assert_eq!(fixture.send("/v1/chat/completions", body).await.1, 200);
    assert_eq!(sent(), [true, false, false], "it is remembered");
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_caller_cannot_make_a_provider_look_as_if_it_did_not_know_stream_options() {
    let fixture = Fixture::of(TestContext::builder(), json!({"head_patience_ms": 1})).await;
    let body = r#"{"model":"gpt-test","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let asked =
        || String::from_utf8_lossy(&fixture.mock.requests().last().expect("one").body).contains("include_usage");
    let refuse = |status, times| {
        let body =
            r#"{"error":{"message":"`stream_options` in the prompt","type":"invalid_request_error"}}"#.to_owned();
        let fault = Some(Fault::Status { status, body: Some(body), retry_after: None });
        fixture.mock.behave(Behaviour { fault, fault_times: Some(times), delay_ms: 50, ..Behaviour::default() });
    };
    // Not about a field, or refused without it as well.
    for (status, times, requests) in [(404, 1, 1), (429, 1, 1), (400, 2, 2)] {
        let before = fixture.mock.requests().len();
        refuse(status, times);
        let (_, _, answer) = fixture.send("/v1/chat/completions", body).await;
        assert!(String::from_utf8_lossy(&answer).contains("in the prompt"), "{status}");
        assert_eq!(fixture.mock.requests().len() - before, requests, "{status}");
        fixture.send("/v1/chat/completions", body).await;
        assert!(asked(), "{status}: nothing was learnt");
    }
    // A caller that is told before there is an answer gets the one without it, too.
    refuse(422, 1);
    let (_, _, answer) = fixture.send("/v1/chat/completions", body).await;
    let text = String::from_utf8_lossy(&answer);
    assert!(text.starts_with(": ") && text.ends_with("data: [DONE]\n\n"), "{text}");
    assert!(!asked());
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_call_that_waits_at_the_end_of_the_server_has_failed() {
    for stream in [true, false] {
        let fixture = Fixture::of(TestContext::builder(), json!({"head_patience_ms": 1})).await;
        fixture.mock.behave(Behaviour { fault: Some(Fault::HangBeforeHeaders), ..Behaviour::default() });
        let body = json!({"model": "claude-test", "max_tokens": 5, "stream": stream,
                          "messages": [{"role": "user", "content": "Hello"}]});
        let shut_down = || fixture.context.shutdown().cancel();
        let (id, said) = if stream {
            let reply = fixture.ask(Format::AnthropicMessages, &body.to_string()).await.expect("a stream to wait for");
            shut_down();
            (reply.request, reply.whole().await)
        } else {
            let asked = async {
                while fixture.mock.requests().is_empty() {
                    tokio::task::yield_now().await;
                }
                shut_down();
            };
            let body = body.to_string();
            let ((id, status, answer), ()) = tokio::join!(fixture.send("/v1/messages", &body), asked);
            assert_eq!(status, 503);
            (id, answer)
        };
        let said = String::from_utf8_lossy(&said);
        assert!(said.contains("the gateway is shutting down"), "{said}");
        let end = &fixture.entries(id).await[1];
        assert_eq!(end["status"], "failed", "{end}");
        assert!(end.to_string().contains("the gateway is shutting down"), "{end}");
        fixture.context.stop().await;
    }
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_free() {
    let fixture = Fixture::new().await;
    let size = 33 * 1024 * 1024;
    let chunks = size / 65536;
    fixture.mock.behave(Behaviour { chunks, chunk_text: "x".repeat(65536), ..Behaviour::default() });
    let (id, status, answer) = fixture.send("/v1/messages", HELLO).await;
    assert_eq!(status, 502, "{}", String::from_utf8_lossy(&answer));
    let end = &fixture.entries(id).await[1];
    assert!(tokens(end) > 8_000_000, "{end}");
    fixture.context.stop().await;
}

#[tokio::test]
async fn the_tables_come_out_the_same_when_they_are_filled_anew() {
    let fixture = Fixture::new().await;
    let tool_calls = vec![MockToolCall { name: "look_up".to_owned(), input: json!({"q": "x"}) }];
    let ledger = fixture.context.service::<Ledger>().expect("a service");
    let mut seen = Vec::new();
    for (model, fault) in [
        ("claude-test", None),
        ("nobody-has-it", None),
        ("claude-test", Some(Fault::CloseIdle)),
        ("claude-test", None),
        ("claude-test", Some(Fault::GarbageJson)),
    ] {
        let tool_calls = tool_calls.clone();
        fixture.mock.behave(Behaviour { fault, fault_times: Some(1), tool_calls, ..Behaviour::default() });
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
