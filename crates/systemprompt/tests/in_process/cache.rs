//! Answers that are given once more: to whom, to what, for how long, and what is recorded of it.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta};
use http::Request;
use serde_json::{Value, json};
use systemprompt::models::{Ambient, ManualClock};
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_extension::policy::{
    DenialKind, Phase, Policy, PolicyDef, PolicyInput, Subject, Verdict, Violation, async_trait,
};
use systemprompt_extension::prelude::*;
use systemprompt_gateway::request::queries::RequestDetail;
use systemprompt_mock_upstream::{Behaviour, Fault, MockStop, MockToolCall, MockUpstream};

use crate::ended::ended;

const CACHE: &str = "x-systemprompt-cache";

struct Fixture {
    mock: MockUpstream,
    clock: Arc<ManualClock>,
    context: TestContext,
}

impl Fixture {
    /// Providers of every wire behind one mock; the routes to their models keep answers.
    async fn of(builder: TestContextBuilder, cache: Value, answer_cache: Value) -> Self {
        let mock = MockUpstream::start().await.expect("a port");
        let clock = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH + TimeDelta::days(20_000)));
        let provider = |name: &str, wire: &str, model: &str| {
            json!({"name": name, "wire": wire, "surface": "backend", "endpoint": mock.endpoint(),
                "models": [{"id": model, "pricing": {"input_per_million": 1000.0, "output_per_million": 1000.0}}]})
        };
        let route = |provider: &str, pattern: &str| json!({"id": format!("to-{provider}"), "model_pattern": pattern, "provider": provider, "cache": cache});
        let mut failing_over = route("resp", "o-test");
        failing_over["fallbacks"] = json!([{"provider": "ant", "upstream_model": "claude-test"}]);
        let context = builder
            .profile(
                "providers",
                json!([
                    provider("ant", "anthropic", "claude-test"),
                    provider("chat", "openai-chat", "gpt-test"),
                    provider("resp", "openai-responses", "o-test"),
                    provider("gem", "gemini", "gemini-test"),
                    provider("plain", "anthropic", "claude-plain"),
                ]),
            )
            .profile(
                "gateway",
                json!({"enabled": true, "answer_cache": answer_cache, "resilience": {"retry_attempts": 0}, "routes": [
                    route("ant", "claude-test"), route("chat", "gpt-test"), failing_over, route("gem", "gemini-test")]}),
            )
            .document(
                "gateway/policies.yaml",
                json!({"policies": [{"name": "some", "spec": {"quota_windows": [
                    {"period": "month", "subject": "user", "match": {"models": ["claude-test"]}, "max_requests": 4,
                        "max_cost_microdollars": 1_000_000_000}]}}]}),
            )
            .ambient(Ambient { clock: clock.clone(), ..Ambient::system() })
            .start()
            .await;
        Self { mock, clock, context }
    }

    async fn ask(&self, client: &TestClient, path: &str, body: &Value) -> TestResponse {
        let response = client.request(Request::post(path).body(body.to_string()).expect("a request")).await;
        ended(&self.context, &response).await;
        response
    }

    /// Waits until so many answers were written, since the start.
    async fn stored(&self, count: u64) {
        let line = format!("gateway_answer_cache_total{{result=\"stored\"}} {count}");
        for _ in 0..500 {
            if self.context.metrics().encode().lines().any(|shown| shown == line) {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        panic!("{line} never came: {}", self.context.metrics().encode());
    }

    async fn rows(&self) -> i64 {
        let count = sqlx::query_scalar("SELECT COUNT(*) FROM gateway_answers");
        count.fetch_one(self.context.db().write()).await.expect("the table")
    }

    fn sent(&self) -> u64 {
        self.mock.statistics().requests
    }
}

/// Objects to answers that say a word, and looks at nothing else.
struct Look;

#[async_trait]
impl Policy for Look {
    fn id(&self) -> &'static str {
        "looks.word"
    }

    fn applies(&self, phase: Phase, subject: Subject<'_>) -> bool {
        phase == Phase::After && subject == Subject::Answer
    }

    async fn judge(&self, input: &PolicyInput<'_>) -> Verdict {
        if input.texts.iter().any(|text| text.contains("forbidden")) {
            return Verdict::Fail(Violation::new(DenialKind::Content, "word", "a word"));
        }
        Verdict::Pass
    }
}

/// Looks at answers, so that those that are held back are kept and given the same way.
struct Looks;

impl Extension for Looks {
    fn metadata(&self) -> ExtensionMetadata {
        ExtensionMetadata { id: "looks", name: "Looks", version: "1.0.0" }
    }

    fn governance_policies(&self) -> Vec<PolicyDef> {
        vec![PolicyDef::new("looks.word", "No such word.", |_| Ok(Arc::new(Look)))]
    }
}

/// The same question in each dialect.
fn asks(model: &str, stream: bool) -> [(String, Value); 4] {
    let messages = json!([{"role": "user", "content": "hello"}]);
    let method = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    [
        ("/v1/messages".to_owned(), json!({"model": model, "max_tokens": 50, "stream": stream, "messages": messages})),
        ("/v1/chat/completions".to_owned(), json!({"model": model, "stream": stream, "messages": messages})),
        ("/v1/responses".to_owned(), json!({"model": model, "stream": stream, "store": false, "input": "hello"})),
        (
            format!("/v1beta/models/{model}:{method}"),
            json!({"contents": [{"role": "user", "parts": [{"text": "hello"}]}]}),
        ),
    ]
}

#[tokio::test]
async fn the_same_answer_comes_once_more_in_every_dialect_from_every_wire() {
    let fixture = Fixture::of(TestContext::builder(), json!({"ttl_seconds": 60}), json!({})).await;
    let ada = fixture.context.user("ada", &["user"]).await;
    let mut stored = 0;
    for model in ["gpt-test", "o-test", "gemini-test"] {
        for stream in [false, true] {
            for (path, body) in asks(model, stream) {
                let asked = fixture.ask(&ada, &path, &body).await;
                assert_eq!((asked.status.as_u16(), asked.header(CACHE)), (200, "miss"), "{path} {}", asked.text());
                stored += 1;
                fixture.stored(stored).await;
                let sent = fixture.sent();
                fixture.clock.advance(TimeDelta::seconds(7));
                let again = fixture.ask(&ada, &path, &body).await;
                assert_eq!((again.status.as_u16(), again.header(CACHE)), (200, "hit"), "{path} {}", again.text());
                assert_eq!(again.header("age"), "7");
                assert_eq!(fixture.sent(), sent, "the provider is not asked");
                assert_eq!(again.header("content-type"), asked.header("content-type"));
                let [first, second] = [ended(&fixture.context, &asked).await, ended(&fixture.context, &again).await];
                // What a translated answer says of itself is new each time.
                let is_relayed = match model {
                    "gpt-test" => path.contains("chat"),
                    "o-test" => path.contains("responses"),
                    _ => path.contains("v1beta"),
                };
                if is_relayed {
                    assert_eq!(again.text(), asked.text(), "{path} to {model}");
                }
                assert_eq!((first.cache_hit, second.cache_hit), (Some(false), Some(true)));
                let counted = |detail: &RequestDetail| (detail.summary.input_tokens, detail.summary.output_tokens);
                assert_eq!(counted(&second), counted(&first), "the provider's tokens are recorded");
                assert!(first.summary.cost.is_some_and(|cost| cost.0 > 0), "{first:?}");
                assert_eq!(second.summary.cost.map(|cost| cost.0), Some(0));
                assert_eq!(second.summary.status, "completed");
                assert_eq!(second.response_sha256, first.response_sha256);
            }
        }
    }
    let plain = fixture.ask(&ada, "/v1/messages", &asks("claude-plain", false)[0].1).await;
    assert_eq!((plain.status.as_u16(), plain.header(CACHE)), (200, ""), "a route without a cache says nothing of one");
}

#[tokio::test]
async fn who_asks_has_passed_the_gate_and_shares_with_nobody() {
    let fixture = Fixture::of(TestContext::builder(), json!({"ttl_seconds": 60}), json!({})).await;
    let [ada, eve] = [fixture.context.user("ada", &["user"]).await, fixture.context.user("eve", &["user"]).await];
    let (path, body) = &asks("claude-test", false)[0];
    assert_eq!(fixture.ask(&ada, path, body).await.header(CACHE), "miss");
    fixture.stored(1).await;
    assert_eq!(fixture.ask(&eve, path, body).await.header(CACHE), "miss", "she never asked");
    fixture.stored(2).await;
    for expected in ["hit", "hit", "hit"] {
        assert_eq!(fixture.ask(&ada, path, body).await.header(CACHE), expected);
    }
    // An answer from the cache costs nothing, and is a request all the same: of four a month this is the fifth.
    let refused = fixture.ask(&ada, path, body).await;
    assert_eq!((refused.status.as_u16(), refused.header(CACHE)), (429, ""));
    assert_eq!(fixture.ask(&eve, path, body).await.header(CACHE), "hit");
    // One that asks for something else, in another way, or says more of itself, asks something else.
    let (path, body) = &asks("gpt-test", false)[1];
    fixture.ask(&ada, path, body).await;
    fixture.stored(3).await;
    for changed in [json!({"seed": 1}), json!({"max_tokens": 7}), json!({"temperature": 0})] {
        let mut other = body.clone();
        other.as_object_mut().expect("an object").extend(changed.as_object().expect("an object").clone());
        assert_eq!(fixture.ask(&ada, path, &other).await.header(CACHE), "miss", "{other}");
    }
    assert_eq!(fixture.ask(&ada, path, body).await.header(CACHE), "hit");
}

#[tokio::test]
async fn accounts_with_the_same_entitlements_may_share() {
    let fixture =
        Fixture::of(TestContext::builder(), json!({"ttl_seconds": 60, "scope": "entitlements"}), json!({})).await;
    let [ada, eve, root] = [
        fixture.context.user("ada", &["user"]).await,
        fixture.context.user("eve", &["user"]).await,
        fixture.context.user("root", &["admin"]).await,
    ];
    let (path, body) = &asks("gpt-test", false)[1];
    assert_eq!(fixture.ask(&ada, path, body).await.header(CACHE), "miss");
    fixture.stored(1).await;
    assert_eq!(fixture.ask(&eve, path, body).await.header(CACHE), "hit");
    assert_eq!(fixture.ask(&root, path, body).await.header(CACHE), "miss", "another role");
}

#[tokio::test]
async fn callers_say_what_they_want_and_answers_grow_old() {
    let fixture = Fixture::of(TestContext::builder(), json!({"ttl_seconds": 60}), json!({})).await;
    let ada = fixture.context.user("ada", &["user"]).await;
    let (path, body) = &asks("gpt-test", false)[1];
    let saying = async |directive: &str| {
        let request = Request::post(path.as_str()).header("cache-control", directive).body(body.to_string());
        let response = ada.request(request.expect("a request")).await;
        ended(&fixture.context, &response).await;
        response.header(CACHE).to_owned()
    };
    assert_eq!(saying("no-store").await, "bypass");
    assert_eq!(fixture.rows().await, 0);
    assert_eq!(saying("no-cache").await, "bypass");
    fixture.stored(1).await;
    assert_eq!(saying("max-age=0").await, "hit");
    assert_eq!(saying("no-cache").await, "bypass");
    fixture.stored(2).await;
    assert_eq!(fixture.rows().await, 1, "the newer one takes the place of the older");
    fixture.clock.advance(TimeDelta::seconds(61));
    assert_eq!(fixture.ask(&ada, path, body).await.header(CACHE), "miss");
    let mut warm = body.clone();
    warm["temperature"] = json!(0.7);
    for _ in 0..2 {
        assert_eq!(fixture.ask(&ada, path, &warm).await.header(CACHE), "bypass", "it asked for variety");
    }
    let metrics = fixture.context.metrics().encode();
    assert!(metrics.contains("gateway_answer_cache_total{result=\"bypass\"} 5"), "{metrics}");
}

#[tokio::test]
async fn only_what_is_whole_and_changes_nothing_is_kept() {
    let fixture = Fixture::of(
        TestContext::builder().extension(Looks),
        json!({"ttl_seconds": 60, "max_entry_bytes": 2000, "sampled": true}),
        json!({"max_total_bytes": 4000}),
    )
    .await;
    let ada = fixture.context.user("ada", &["user"]).await;
    let tool = MockToolCall { name: "look_up".to_owned(), input: json!({"q": 1}) };
    for (what, behaviour) in [
        ("a tool", Behaviour { tool_calls: vec![tool], ..Behaviour::default() }),
        ("a cut answer", Behaviour { stop: Some(MockStop::Length), ..Behaviour::default() }),
        ("what a policy withholds", Behaviour { text: Some("it is forbidden".to_owned()), ..Behaviour::default() }),
        ("a long one", Behaviour { text: Some("long ".repeat(500)), ..Behaviour::default() }),
        (
            "an error",
            Behaviour {
                fault: Some(Fault::Status { status: 400, body: None, retry_after: None }),
                ..Behaviour::default()
            },
        ),
        ("a stream without its end", Behaviour { fault: Some(Fault::NoTerminalEvent), ..Behaviour::default() }),
        // The one provider answers for the other.
        (
            "a failover",
            Behaviour {
                fault: Some(Fault::Status { status: 503, body: None, retry_after: None }),
                fault_times: Some(1),
                ..Behaviour::default()
            },
        ),
    ] {
        fixture.mock.behave(behaviour);
        for stream in [false, true] {
            let (path, body) = &asks(if what == "a failover" { "o-test" } else { "gpt-test" }, stream)[1];
            if what == "a failover" && stream || what == "a stream without its end" && !stream {
                continue;
            }
            let answer = fixture.ask(&ada, path, body).await;
            assert_ne!(answer.header(CACHE), "hit", "{what}");
        }
    }
    // What is written is written in its order, so that nothing was before this.
    fixture.mock.behave(Behaviour::default());
    let (path, body) = &asks("gpt-test", false)[1];
    assert_eq!(fixture.ask(&ada, path, body).await.header(CACHE), "miss");
    fixture.stored(1).await;
    assert_eq!(fixture.rows().await, 1);
    // The oldest go when it is too much.
    for seed in 0..20 {
        let mut other = body.clone();
        other["seed"] = seed.into();
        fixture.clock.advance(TimeDelta::seconds(1));
        fixture.ask(&ada, path, &other).await;
        fixture.stored(seed + 2).await;
    }
    let bytes: i64 = sqlx::query_scalar("SELECT SUM(bytes)::bigint FROM gateway_answers")
        .fetch_one(fixture.context.db().write())
        .await
        .expect("the table");
    assert!((1..6000).contains(&bytes), "{bytes}");
    assert_eq!(fixture.ask(&ada, path, body).await.header(CACHE), "miss", "it was the oldest");
}
