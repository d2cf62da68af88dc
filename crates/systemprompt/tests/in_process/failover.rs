//! Providers that fail: what is sent once more, what goes to a fallback, what is left alone, and that each attempt is
//! recorded and counted once.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode};
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_extension::policy::{DenialKind, Policy, PolicyDef, PolicyInput, Verdict, Violation, async_trait};
use systemprompt_extension::prelude::*;
use systemprompt_gateway::inference::{Ask, Forwarded, Inference, Reply};
use systemprompt_gateway::request::queries::{self, RequestDetail};
use systemprompt_identity::Authenticator;
use systemprompt_llm::{Format, InferenceRequest};
use systemprompt_mock_upstream::{Behaviour, Fault, MockUpstream};
use systemprompt_model::{ActionId, ActorChain, Attribution, TraceId};

/// Two providers; the route leads to the first, and falls back to the second.
struct Fixture {
    first: MockUpstream,
    second: MockUpstream,
    context: TestContext,
    ada: TestClient,
}

/// What is known of a request afterwards.
struct Told {
    response: TestResponse,
    detail: RequestDetail,
    /// The entries of the ledger.
    entries: Vec<Value>,
    /// How often each provider was asked.
    asked: (u64, u64),
}

impl Told {
    /// The entries about attempts after the first.
    fn attempts(&self) -> Vec<&Value> {
        self.entries.iter().filter(|entry| entry["kind"] == "attempted").collect()
    }

    fn end(&self) -> &Value {
        self.entries.last().expect("it has ended")
    }
}

fn hello(stream: bool) -> String {
    json!({"model": "claude-test", "max_tokens": 50, "stream": stream,
        "messages": [{"role": "user", "content": "four".repeat(100)}]})
    .to_string()
}

/// What the prompt of [`hello`] is thought to be, in tokens.
const PROMPT: i64 = 100;

fn status(status: u16, retry_after: Option<&str>) -> Fault {
    Fault::Status { status, body: None, retry_after: retry_after.map(str::to_owned) }
}

fn faulty(fault: Fault) -> Behaviour {
    Behaviour { fault: Some(fault), ..Behaviour::default() }
}

fn once(fault: Fault) -> Behaviour {
    Behaviour { fault_times: Some(1), ..faulty(fault) }
}

impl Fixture {
    /// With these settings on top of waits of no length, and this in the route on top of the fallback.
    async fn of(builder: TestContextBuilder, resilience: Value, route: Value) -> Self {
        let [first, second] =
            [MockUpstream::start().await, MockUpstream::start().await].map(|mock| mock.expect("a port"));
        let provider = |name: &str, endpoint: String, id: &str, price: f64| {
            json!({"name": name, "wire": "anthropic", "surface": "anthropic", "endpoint": endpoint,
                "models": [{"id": id, "pricing": {"input_per_million": price, "output_per_million": price}}]})
        };
        let mut settings = json!({"retry_base_delay_ms": 0});
        let mut rule = json!({"id": "tested", "model_pattern": "claude-test", "provider": "one",
            "fallbacks": [{"provider": "two", "upstream_model": "claude-other"}]});
        for (whole, part) in [(&mut settings, resilience), (&mut rule, route)] {
            let part = part.as_object().expect("an object").clone();
            whole.as_object_mut().expect("an object").extend(part);
        }
        let context = builder
            .profile(
                "providers",
                json!([
                    provider("one", first.endpoint(), "claude-test", 1.0),
                    provider("two", second.endpoint(), "claude-other", 10.0),
                    provider("nobody", "http://127.0.0.1:1".to_owned(), "claude-nowhere", 1.0),
                    {"name": "keys", "wire": "anthropic", "surface": "anthropic", "endpoint": first.endpoint(),
                        "api_key_secrets": ["one-key", "other-key"],
                        "models": [{"id": "claude-keys", "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}]},
                    {"name": "chat", "wire": "openai-chat", "surface": "openai", "endpoint": second.endpoint(),
                        "models": [{"id": "gpt-other", "pricing": {"input_per_million": 2.0, "output_per_million": 2.0}}]},
                ]),
            )
            .profile("gateway", json!({"enabled": true, "resilience": settings, "routes": [rule]}))
            .secret("one-key", "sk-one")
            .secret("other-key", "sk-other")
            .start()
            .await;
        let ada = context.user("ada", &["admin"]).await;
        Self { first, second, context, ada }
    }

    async fn with(resilience: Value) -> Self {
        Self::of(TestContext::builder(), resilience, json!({})).await
    }

    async fn tell(&self, body: &str) -> Told {
        let counts = || (self.first.statistics().requests, self.second.statistics().requests);
        let before = counts();
        let request = Request::post("/v1/messages").body(body.to_owned()).expect("a request");
        let response = self.ada.request(request).await;
        let after = counts();
        let id: ActionId = response.header("x-systemprompt-request-id").parse().expect("an id");
        let (detail, entries) = self.recorded(id).await;
        Told { response, detail, entries, asked: (after.0 - before.0, after.1 - before.1) }
    }

    /// What is recorded of a request, once it has ended.
    async fn recorded(&self, id: ActionId) -> (RequestDetail, Vec<Value>) {
        for _ in 0..500 {
            let bodies: Vec<String> =
                sqlx::query_scalar("SELECT body FROM ledger WHERE action_id = $1 ORDER BY chain_id, seq")
                    .bind(id.as_uuid())
                    .fetch_all(self.context.db().read())
                    .await
                    .expect("the ledger");
            let entries: Vec<Value> = bodies.iter().map(|body| serde_json::from_str(body).expect("JSON")).collect();
            if entries.last().is_some_and(|last| last["kind"] == "ended") {
                self.context.catch_up().await;
                let detail = queries::show_request(self.context.db().read(), id).await.expect("reads").expect("a row");
                return (detail, entries);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the request {id} never ended");
    }

    /// Asks from inside the server, and gives what is answered as it begins.
    async fn begin(&self, body: &str) -> Reply {
        let mut headers = http::HeaderMap::new();
        let key = self.ada.credential().expect("users have keys");
        headers.insert("x-api-key", key.expose().parse().expect("ASCII"));
        let principal =
            self.context.service::<Authenticator>().expect("a service").authenticate(&headers).await.expect("known");
        let by = Attribution {
            actors: ActorChain::user(principal.user_id),
            principal,
            session: None,
            context: None,
            task: None,
            trace: TraceId::generate(self.context.ambient()),
            client: None,
        };
        let request =
            InferenceRequest::parse(Format::AnthropicMessages, Bytes::from(body.to_owned())).expect("a request");
        let ask = Ask { by, request, forwarded: Forwarded::default() };
        self.context.service::<Inference>().expect("a service").ask(ask).await.expect("an answer")
    }

    /// The value of a metric.
    fn metric(&self, name: &str) -> Option<String> {
        let page = self.context.metrics().encode();
        page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned))
    }
}

/// Tokens that were billed.
fn tokens(usage: &Value) -> i64 {
    usage["input_tokens"].as_i64().expect("a count") + usage["output_tokens"].as_i64().expect("a count")
}

#[tokio::test]
async fn a_refusal_that_passes_is_sent_once_more_and_billed_once() {
    let fixture = Fixture::with(json!({})).await;
    for stream in [false, true] {
        for code in [408, 425, 429, 500, 502, 503, 504, 529] {
            fixture.first.behave(once(status(code, Some("0"))));
            let told = fixture.tell(&hello(stream)).await;
            assert_eq!(told.response.status, 200, "{code}: {}", told.response.text());
            assert_eq!(told.asked, (2, 0), "{code}");
            let [again] = told.attempts()[..] else { panic!("{:#?}", told.entries) };
            assert_eq!((&again["number"], &again["target"]), (&json!(2), &json!("one/claude-test")));
            assert!(again["why"].as_str().is_some_and(|why| why.contains(&code.to_string())), "{again}");
            assert_eq!((&again["usage"], &again["content"]), (&Value::Null, &Value::Null), "a refusal is free");
            assert_eq!(
                told.end()["usage"],
                json!({"calls": 1, "input_tokens": 10, "output_tokens": 8, "cost_microdollars": 18})
            );
            assert_eq!((told.detail.attempts, told.detail.served_provider.as_deref()), (2, Some("one")));
            assert_eq!(told.detail.route_match.as_deref(), Some("rule:tested"));
        }
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn when_the_budget_is_spent_the_fallback_answers_for_its_own_price() {
    let fixture = Fixture::with(json!({"breaker_failure_threshold": 0})).await;
    for stream in [false, true] {
        fixture.first.behave(faulty(status(503, None)));
        let told = fixture.tell(&hello(stream)).await;
        assert_eq!(told.response.status, 200, "{}", told.response.text());
        assert_eq!(told.asked, (3, 1), "twice once more, then elsewhere");
        let sent = &fixture.second.requests().last().expect("it was asked").body.clone();
        assert!(String::from_utf8_lossy(sent).contains(r#""model":"claude-other""#));
        let targets: Vec<_> = told.attempts().iter().map(|entry| entry["target"].as_str().expect("text")).collect();
        assert_eq!(targets, ["one/claude-test", "one/claude-test", "two/claude-other"]);
        // The bytes that left are the bytes that were judged.
        let last = told.attempts()[2];
        assert_eq!(last["content"]["sha256"], hex::encode(<sha2::Sha256 as sha2::Digest>::digest(sent)));
        assert!(last["evaluations"].as_array().is_some_and(|said| !said.is_empty()), "{last}");
        assert_eq!(
            told.end()["usage"],
            json!({"calls": 1, "input_tokens": 10, "output_tokens": 8, "cost_microdollars": 180})
        );
        let detail = &told.detail;
        assert_eq!(detail.summary.provider.as_deref(), Some("one"), "the route's own");
        assert_eq!(detail.served_provider.as_deref(), Some("two"));
        assert_eq!(detail.summary.model.as_deref(), Some("claude-other"));
        assert_eq!(detail.route_match.as_deref(), Some("rule:tested,failover:one->two"));
        assert_eq!((detail.attempts, detail.summary.cost.map(|cost| cost.0)), (4, Some(180)));
    }
    let failovers = r#"gateway_upstream_failovers_total{from="one",to="two",reason="status_503"}"#;
    assert_eq!(fixture.metric(failovers).as_deref(), Some("2"));
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_is_left_for_the_fallback() {
    let route = json!({"provider": "nobody", "upstream_model": "claude-nowhere"});
    let fixture = Fixture::of(TestContext::builder(), json!({}), route).await;
    let told = fixture.tell(&hello(false)).await;
    assert_eq!((told.response.status, told.asked), (StatusCode::OK, (0, 1)), "{}", told.response.text());
    assert_eq!(told.detail.route_match.as_deref(), Some("rule:tested,failover:nobody->two"));
    let failovers = r#"gateway_upstream_failovers_total{from="nobody",to="two",reason="transport"}"#;
    assert_eq!(fixture.metric(failovers).as_deref(), Some("1"));
    fixture.context.stop().await;
}

#[tokio::test]
async fn what_the_caller_has_to_mend_goes_back_to_it() {
    let fixture = Fixture::with(json!({})).await;
    for code in [400, 404, 413, 422] {
        fixture.first.behave(faulty(status(code, None)));
        let told = fixture.tell(&hello(false)).await;
        assert_eq!((told.response.status.as_u16(), told.asked), (code, (1, 0)));
        assert!(told.attempts().is_empty());
    }
    // Neither is it waited for what takes too long, and a provider that asks for no further attempt gets none.
    fixture.first.behave(faulty(status(429, Some("3600"))));
    assert_eq!(fixture.tell(&hello(false)).await.asked, (1, 1));
    let headers = vec![("x-should-retry".to_owned(), "false".to_owned())];
    fixture.first.behave(faulty(Fault::Raw { status: 429, headers, body: b"{}".to_vec(), cut: false }));
    assert_eq!(fixture.tell(&hello(false)).await.asked, (1, 1));
    fixture.context.stop().await;
}

#[tokio::test]
async fn if_nothing_helps_the_caller_gets_what_came_last() {
    let fixture = Fixture::with(json!({"retry_attempts": 1})).await;
    fixture.first.behave(faulty(status(503, None)));
    fixture.second.behave(faulty(status(529, Some("3"))));
    let told = fixture.tell(&hello(false)).await;
    assert_eq!(told.asked, (2, 1), "the budget is that of the request");
    assert_eq!((told.response.status.as_u16(), told.response.header("retry-after")), (529, "3"));
    assert_eq!(told.detail.summary.status, "failed");
    assert_eq!(tokens(&told.end()["usage"]), 0, "refusals are free");
    fixture.context.stop().await;
}

#[tokio::test]
async fn what_may_have_been_read_goes_elsewhere_and_is_counted_all_the_same() {
    let fixture = Fixture::with(json!({"first_byte_timeout_ms": 300, "request_timeout_ms": 300})).await;
    for (stream, fault) in
        [(false, Fault::CloseBeforeHeaders), (true, Fault::CloseBeforeHeaders), (true, Fault::HangBeforeHeaders)]
    {
        fixture.first.behave(faulty(fault.clone()));
        let told = fixture.tell(&hello(stream)).await;
        assert_eq!(told.response.status, 200, "{fault:?}: {}", told.response.text());
        assert_eq!(told.asked.1, 1, "{fault:?}");
        let [elsewhere] = told.attempts()[..] else { panic!("{:#?}", told.entries) };
        // The provider may charge for the prompt, which is estimated; the answer is what the other one counts.
        let used = &elsewhere["usage"];
        assert_eq!((tokens(used), &used["cost_microdollars"]), (PROMPT, &json!(PROMPT)), "{fault:?}");
        let whole = &told.end()["usage"];
        assert_eq!(tokens(whole), PROMPT + 18, "{fault:?}");
        assert_eq!(whole["cost_microdollars"], json!(PROMPT + 180), "{fault:?}");
        assert_eq!(told.detail.summary.input_tokens, Some(10), "what the one that answered counted");
    }
    let tokens = r#"gateway_tokens_total{kind="input",provider="one",model="claude-test"}"#;
    assert_eq!(fixture.metric(tokens), Some((3 * PROMPT).to_string()));
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_provider_that_fails_is_left_alone_until_it_was_tried_out() {
    let breaker = r#"gateway_breaker_state{provider="one",model="claude-test"}"#;
    let settings = |cooldown: u64| json!({"retry_attempts": 0, "breaker_failure_threshold": 2, "breaker_open_cooldown_ms": cooldown});
    let fixture = Fixture::with(settings(3_600_000)).await;
    assert_eq!(fixture.metric(breaker).as_deref(), Some("0"));
    fixture.first.behave(faulty(status(500, None)));
    assert_eq!(fixture.tell(&hello(false)).await.asked, (1, 1));
    assert_eq!(fixture.metric(breaker).as_deref(), Some("0"), "once is no habit");
    assert_eq!(fixture.tell(&hello(true)).await.asked, (1, 1));
    assert_eq!(fixture.metric(breaker).as_deref(), Some("2"));
    let told = fixture.tell(&hello(false)).await;
    assert_eq!((told.response.status, told.asked), (StatusCode::OK, (0, 1)));
    assert!(told.attempts().is_empty(), "the fallback was judged and asked first");
    assert_eq!(told.detail.summary.provider.as_deref(), Some("one"));
    assert_eq!(told.detail.served_provider.as_deref(), Some("two"));
    assert_eq!(told.detail.route_match.as_deref(), Some("rule:tested,failover:one->two"));
    let failovers = r#"gateway_upstream_failovers_total{from="one",to="two",reason="circuit_open"}"#;
    assert_eq!(fixture.metric(failovers).as_deref(), Some("1"));
    fixture.second.behave(faulty(status(500, None)));
    for _ in 0..2 {
        assert_eq!(fixture.tell(&hello(false)).await.response.status, 500);
    }
    let refused = fixture.tell(&hello(false)).await;
    assert_eq!((refused.response.status.as_u16(), refused.asked), (503, (0, 0)), "{}", refused.response.text());
    assert_eq!(refused.response.header("retry-after"), "60", "nobody is told to wait for longer");
    assert_eq!(tokens(&refused.end()["usage"]), 0);
    fixture.context.stop().await;

    let fixture = Fixture::with(settings(0)).await;
    fixture.first.behave(Behaviour { fault_times: Some(3), ..faulty(status(500, None)) });
    for _ in 0..2 {
        fixture.tell(&hello(false)).await;
    }
    assert_eq!(fixture.tell(&hello(false)).await.asked, (1, 1), "the time is over, it is tried out and fails");
    assert_eq!(fixture.tell(&hello(false)).await.asked, (1, 0), "now it answers");
    assert_eq!(fixture.metric(breaker).as_deref(), Some("0"));
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_provider_that_is_full_is_left_for_the_fallback_until_an_answer_has_ended() {
    let fixture = Fixture::with(json!({"max_concurrent": 1})).await;
    fixture.first.behave(faulty(Fault::HangMidStream { after_chunks: 2 }));
    let open = fixture.begin(&hello(true)).await;
    fixture.first.behave(Behaviour::default());
    let told = fixture.tell(&hello(false)).await;
    assert_eq!((told.response.status, told.asked), (StatusCode::OK, (0, 1)));
    let failovers = r#"gateway_upstream_failovers_total{from="one",to="two",reason="bulkhead_full"}"#;
    assert_eq!(fixture.metric(failovers).as_deref(), Some("1"));
    fixture.second.behave(faulty(Fault::HangMidStream { after_chunks: 2 }));
    let also_open = fixture.begin(&hello(true)).await;
    let refused = fixture.tell(&hello(false)).await;
    assert_eq!((refused.response.status.as_u16(), refused.asked), (503, (0, 0)), "{}", refused.response.text());
    assert_eq!(refused.response.header("retry-after"), "1");
    let id = open.request;
    drop(open);
    assert_eq!(fixture.recorded(id).await.1.last().expect("an end")["reason"], "client_disconnected");
    assert_eq!(fixture.tell(&hello(false)).await.asked, (1, 0));
    drop(also_open);
    fixture.context.stop().await;
}

#[tokio::test]
async fn another_key_comes_before_another_provider() {
    let route = json!({"provider": "keys", "upstream_model": "claude-keys"});
    let fixture = Fixture::of(TestContext::builder(), json!({"retry_attempts": 0}), route).await;
    for (code, keys) in [(401, ["sk-one", "sk-other"]), (429, ["sk-other", "sk-other"])] {
        fixture.first.behave(once(status(code, Some("60"))));
        let told = fixture.tell(&hello(false)).await;
        let requests = fixture.first.requests();
        let shown: Vec<_> = requests.iter().rev().take(2).rev().filter_map(|sent| sent.header("x-api-key")).collect();
        if code == 401 {
            assert_eq!((told.asked, shown.as_slice()), ((2, 0), keys.as_slice()), "{}", told.response.text());
            assert!(told.attempts()[0]["why"].as_str().is_some_and(|why| why.contains("401")));
        } else {
            // The first key rests, and so does the second now.
            assert_eq!((told.asked, shown.as_slice()), ((1, 1), keys.as_slice()), "{}", told.response.text());
        }
        assert_eq!(told.response.status, 200);
        let usage = &told.end()["usage"];
        assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&json!(10), &json!(8)));
    }
    fixture.context.stop().await;
}

#[tokio::test]
async fn a_fallback_may_speak_another_format() {
    let route = json!({"fallbacks": [{"provider": "chat", "upstream_model": "gpt-other"}]});
    let fixture = Fixture::of(TestContext::builder(), json!({"retry_attempts": 0}), route).await;
    fixture.first.behave(faulty(status(503, None)));
    for stream in [false, true] {
        let told = fixture.tell(&hello(stream)).await;
        let answer = told.response.text();
        assert_eq!((told.response.status, told.asked), (StatusCode::OK, (1, 1)), "{answer}");
        assert_eq!(fixture.second.requests().last().expect("asked").path, "/v1/chat/completions");
        assert!(answer.contains(if stream { "event: message_stop" } else { r#""type":"message""# }), "{answer}");
        assert!(told.attempts()[0]["content"]["sha256"].is_string(), "other bytes, which were judged");
        assert_eq!(
            told.end()["usage"],
            json!({"calls": 1, "input_tokens": 10, "output_tokens": 8, "cost_microdollars": 36})
        );
        assert_eq!(told.detail.served_provider.as_deref(), Some("chat"));
    }
    fixture.context.stop().await;
}

/// A stream of nothing but these events.
fn events(text: &str) -> Fault {
    let headers = vec![("content-type".to_owned(), "text/event-stream".to_owned())];
    Fault::Raw { status: 200, headers, body: text.as_bytes().to_vec(), cut: false }
}

const OVERLOADED: &str =
    "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Overloaded\"}}\n\n";

#[tokio::test]
async fn an_error_that_comes_before_anything_else_is_as_good_as_a_status() {
    let fixture = Fixture::with(json!({"retry_attempts": 1})).await;
    fixture.first.behave(faulty(events(OVERLOADED)));
    let told = fixture.tell(&hello(true)).await;
    assert_eq!(told.asked, (2, 1));
    assert!(told.response.text().contains("message_stop") && !told.response.text().contains("Overloaded"));
    assert!(told.attempts()[0]["why"].as_str().is_some_and(|why| why.contains("529")));
    assert_eq!(tokens(&told.end()["usage"]), 18);
    fixture.second.behave(faulty(events(OVERLOADED)));
    let told = fixture.tell(&hello(true)).await;
    assert_eq!((told.response.status.as_u16(), told.response.text().as_str()), (200, OVERLOADED), "if nothing helps");
    assert_eq!(told.detail.summary.status, "failed");
    fixture.context.stop().await;
}

/// The texts of a stream of Anthropic's, and how often each event stands in it.
fn read(stream: &str) -> (String, impl Fn(&str) -> usize) {
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let said = data.map(|data| serde_json::from_str::<Value>(data).expect("JSON"));
    let said = said.filter_map(|data| Some(data["delta"]["text"].as_str()?.to_owned())).collect();
    (said, move |event: &str| stream.lines().filter(|line| *line == format!("event: {event}")).count())
}

#[tokio::test]
async fn a_stream_that_breaks_off_goes_on_where_the_route_has_it_so() {
    let resilience = json!({"stream_idle_timeout_ms": 300});
    let route = json!({"stream_recovery": "continue"});
    let fixture = Fixture::of(TestContext::builder(), resilience.clone(), route).await;
    let overloaded = |begun: &str| events(&format!("{begun}{OVERLOADED}"));
    let begun = concat!(
        "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"m\",\"usage\":{\"input_tokens\":10}}}\n\n",
        "event: content_block_start\ndata: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n",
        "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"token token \"}}\n\n",
    );
    for fault in
        [Fault::CloseMidStream { after_chunks: 2 }, Fault::HangMidStream { after_chunks: 2 }, overloaded(begun)]
    {
        fixture.first.behave(faulty(fault.clone()));
        let told = fixture.tell(&hello(true)).await;
        let stream = told.response.text();
        let (said, count) = read(&stream);
        assert_eq!(said, "token ".repeat(10), "{fault:?}: {stream}");
        let events = ["message_start", "content_block_start", "content_block_stop", "message_stop", "error"].map(count);
        assert_eq!(events, [1, 1, 1, 1, 0], "{fault:?}: {stream}");
        let sent: Value = serde_json::from_slice(&fixture.second.requests().last().expect("asked").body).expect("JSON");
        assert_eq!(sent["messages"][1], json!({"role": "assistant", "content": "token token"}));
        // Each part counts as its provider would have it: 10 tokens of the prompt and 12 letters, then 10 and 8 tokens.
        let [elsewhere] = told.attempts()[..] else { panic!("{:#?}", told.entries) };
        let used = json!({"calls": 1, "input_tokens": 10, "output_tokens": 3, "cost_microdollars": 13});
        assert_eq!(elsewhere["usage"], used, "{fault:?}");
        let used = json!({"calls": 1, "input_tokens": 20, "output_tokens": 11, "cost_microdollars": 193});
        assert_eq!(told.end()["usage"], used, "{fault:?}");
        assert_eq!(told.detail.summary.status, "completed");
        assert_eq!(told.detail.route_match.as_deref(), Some("rule:tested,failover:one->two"));
    }
    // What cannot be gone on with, and where nobody goes on: the caller is told.
    let thinking = Some("hm".to_owned());
    fixture.first.behave(Behaviour { thinking, ..faulty(Fault::CloseMidStream { after_chunks: 2 }) });
    let told = fixture.tell(&hello(true)).await;
    assert_eq!((told.asked.1, read(&told.response.text()).1("error")), (0, 1), "{}", told.response.text());
    fixture.first.behave(faulty(overloaded(begun)));
    fixture.second.behave(faulty(status(503, None)));
    let told = fixture.tell(&hello(true)).await;
    assert!(told.response.text().ends_with(OVERLOADED), "in the provider's own words: {}", told.response.text());
    assert_eq!((told.detail.summary.status.as_str(), told.asked.1), ("failed", 3));
    fixture.context.stop().await;

    let fixture = Fixture::with(resilience).await;
    fixture.first.behave(faulty(Fault::CloseMidStream { after_chunks: 2 }));
    let told = fixture.tell(&hello(true)).await;
    assert_eq!((told.asked, read(&told.response.text()).1("error")), ((1, 0), 1), "not unless the route has it so");
    fixture.context.stop().await;
}

/// Nothing may go to a model of this name.
struct Picky;

impl Extension for Picky {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "picky", name: "Picky", version: "1.0.0" }
    }

    fn governance_policies(&self) -> Vec<PolicyDef> {
        vec![PolicyDef::new("picky.bytes", "Some bytes may not leave", |_| Ok(Arc::new(Self)))]
    }
}

#[async_trait]
impl Policy for Picky {
    fn id(&self) -> &'static str {
        "picky.bytes"
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        if input.texts.iter().any(|text| text.contains("claude-other")) {
            return Verdict::Fail(Violation::new(DenialKind::Content, "picky", "not to this one"));
        }
        Verdict::Pass
    }
}

#[tokio::test]
async fn a_policy_sees_the_bytes_of_a_fallback_before_they_leave() {
    let fixture = Fixture::of(TestContext::builder().extension(Picky), json!({}), json!({})).await;
    fixture.first.behave(faulty(status(503, Some("60"))));
    let told = fixture.tell(&hello(false)).await;
    assert_eq!((told.response.status.as_u16(), told.asked), (503, (1, 0)), "the provider's own error is told");
    assert_eq!(told.response.header("retry-after"), "60");
    assert!(told.attempts().is_empty(), "nothing was attempted");
    let said = told.end()["inspections"].as_array().expect("what was said");
    assert!(said.iter().any(|said| said["policy_id"] == "picky.bytes" && said["result"] == "fail"), "{said:?}");
    fixture.context.stop().await;
}
