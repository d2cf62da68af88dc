//! Models asked from inside the server, in neutral words: the same path, the same rules and the same record as over HTTP.

use std::sync::Mutex;
use std::time::Duration;

use futures_util::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};
use systemprompt::ai::{
    AiContext as _, AiError, AiEvent, AiMessage, AiRequest, AiRequestBuilder, AiResponse, AiService, AspectRatio,
    GoogleSearchParams, ImageRequest, ImageResolution, ReferenceImage, SearchParams, StopReason,
    StructuredOutputParams, ToolCall, ToolDefinition, ToolLimit, ToolOutput, ToolProvider,
};
use systemprompt::models::Attribution;
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder};
use systemprompt_extension::prelude::*;
use systemprompt_identity::Authenticator;
use systemprompt_mock_upstream::{Behaviour, Fault, MockSearch, MockToolCall, MockUpstream, MockUsage};
use systemprompt_model::{ActionId, TraceId};

/// The four wires, each with its model.
const MODELS: [&str; 4] = ["claude-test", "gpt-test", "gpt-5-test", "gemini-test"];

struct Fixture {
    mock: MockUpstream,
    context: TestContext,
    ai: Arc<AiService>,
    by: Attribution,
}

/// A row of `ai_requests`.
#[derive(Debug, PartialEq, sqlx::FromRow)]
struct Recorded {
    status: String,
    input_tokens: Option<i64>,
    output_tokens: Option<i64>,
    cache_read_tokens: Option<i64>,
    cache_creation_tokens: Option<i64>,
    cost_microdollars: Option<i64>,
    trace_id: sqlx::types::Uuid,
}

fn builder(mock: &MockUpstream) -> TestContextBuilder {
    let provider = |name: &str, wire: &str, model: &str, endpoint: String| {
        json!({"name": name, "wire": wire, "surface": "backend", "endpoint": endpoint, "api_key_secret": "upstream",
            "resilience": {"retry_attempts": 0, "breaker_failure_threshold": 0}, "models": [
                {"id": model, "capabilities": {"vision": true, "structured_output": true},
                 "pricing": {"input_per_million": 3.0, "output_per_million": 15.0, "cache_read_per_million": 0.3,
                             "cache_write_per_million": 3.75, "web_search_per_thousand": 10.0}},
                {"id": format!("{model}-old"), "upstream_model": model, "capabilities": {"tools": true},
                 "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}},
                {"id": format!("{model}-image"), "capabilities": {"image_generation": true, "image_resolution_config": true},
                 "pricing": {"input_per_million": 5.0, "output_per_million": 10.0, "image_output_per_million": 40.0,
                             "per_image": 0.01}},
                {"id": format!("{model}-mute"), "upstream_model": model, "capabilities": {"tools": false, "streaming": false},
                 "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}}]})
    };
    let url = mock.url();
    TestContext::builder()
        .profile(
            "providers",
            json!([
                provider("ant", "anthropic", MODELS[0], mock.endpoint()),
                provider("oai", "openai-chat", MODELS[1], mock.endpoint()),
                provider("res", "openai-responses", MODELS[2], mock.endpoint()),
                provider("gem", "gemini", MODELS[3], format!("{url}/v1beta")),
                {"name": "hasty", "wire": "openai-chat", "surface": "backend", "endpoint": mock.endpoint(),
                 "api_key_secret": "upstream", "models": [{"id": "hasty", "capabilities": {"image_generation": true},
                    "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}}],
                 "resilience": {"retry_attempts": 0, "request_timeout_ms": 110, "image_timeout_ms": 120,
                    "stream_idle_timeout_ms": 130}},
            ]),
        )
        .document(
            "access-control/roles.yaml",
            json!({"rules": [{"entity_type": "gateway_route", "entity_match": "*", "roles": ["admin"]}]}),
        )
        .document(
            "ai/config.yaml",
            json!({"ai": {
                "default_provider": "ant",
                "default_max_output_tokens": 77,
                "providers": {"ant": {"default_model": MODELS[0]}, "gem": {"google_search_enabled": true}},
            }}),
        )
        .secret("upstream", "sk-upstream")
}

async fn attribution(context: &TestContext, client: &TestClient) -> Attribution {
    let key = client.credential().expect("users have keys");
    let headers = http::HeaderMap::from_iter([(
        http::HeaderName::from_static("x-api-key"),
        http::HeaderValue::from_str(key.expose()).expect("ASCII"),
    )]);
    let principal = context.service::<Authenticator>().expect("a service").authenticate(&headers).await.expect("known");
    Attribution::user(principal, TraceId::generate(context.ambient()))
}

impl Fixture {
    async fn new() -> Self {
        let mock = MockUpstream::start().await.expect("a free port");
        let context = builder(&mock).start().await;
        let ada = context.user("ada", &["admin"]).await;
        let by = attribution(&context, &ada).await;
        let ai = context.ai().expect("the gateway provides it");
        Self { mock, context, ai, by }
    }

    fn ask(&self, model: &str, text: &str) -> AiRequest {
        AiRequest::new(self.by.clone(), vec![AiMessage::system("Be brief."), AiMessage::user(text)]).with_model(model)
    }

    /// What the provider was sent last.
    fn sent(&self) -> Value {
        let last = self.mock.requests().last().cloned().expect("the provider was asked");
        serde_json::from_slice(&last.body).expect("JSON")
    }

    /// The record of a request, once its end is there.
    async fn recorded(&self, id: ActionId) -> Recorded {
        for _ in 0..500 {
            self.context.catch_up().await;
            let recorded: Recorded = sqlx::query_as(
                "SELECT status, input_tokens, output_tokens, cache_read_tokens, cache_creation_tokens, cost_microdollars,
                    trace_id
                 FROM ai_requests WHERE id = $1",
            )
            .bind(id.as_uuid())
            .fetch_one(self.context.db().read())
            .await
            .expect("it is recorded");
            if recorded.status != "pending" {
                return recorded;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the request {id} never ended");
    }

    /// A response says what the record says.
    async fn is_as_recorded(&self, response: &AiResponse) {
        let count = |tokens: u64| Some(i64::try_from(tokens).expect("a small number"));
        let (usage, cost) = (response.usage, response.cost_microdollars);
        let said = Recorded {
            status: "completed".to_owned(),
            input_tokens: count(usage.input),
            output_tokens: count(usage.output),
            cache_read_tokens: count(usage.cache_read),
            cache_creation_tokens: count(usage.cache_creation),
            cost_microdollars: Some(cost.0),
            trace_id: self.by.trace.as_uuid(),
        };
        assert_eq!(self.recorded(response.request_id).await, said);
        assert!(cost.0 > 0, "it has a price");
    }
}

#[tokio::test]
async fn an_answer_says_what_the_record_says_whoever_gave_it() {
    let fixture = Fixture::new().await;
    let usage = MockUsage { input_tokens: 100, output_tokens: 20, cache_read_tokens: 50, cache_creation_tokens: 7 };
    fixture.mock.behave(Behaviour { text: Some("Hello Ada".to_owned()), usage: Some(usage), ..Behaviour::default() });
    for (model, provider) in MODELS.into_iter().zip(["ant", "oai", "res", "gem"]) {
        let response = fixture.ai.generate(&fixture.ask(model, "Hello")).await.expect("an answer");
        assert_eq!((response.content.as_str(), response.provider.as_str()), ("Hello Ada", provider));
        assert_eq!(response.finish_reason, StopReason::EndTurn, "{model}");
        assert_eq!((response.usage.output, response.usage.cache_read), (20, 50), "{model}");
        assert_eq!(response.usage.total, 100 + 50 + 7 + 20, "{model}");
        fixture.is_as_recorded(&response).await;
        // The request is one of the provider's own kind, with the configured limit.
        let sent = fixture.sent();
        assert!(sent.to_string().contains("77") && sent.to_string().contains("Be brief."), "{sent}");
    }
    // Without a model it is the default one of the configuration.
    let text = fixture.ai.generate_text(&fixture.by, &[AiMessage::user("Hello")], None).await.expect("an answer");
    assert_eq!((text.as_str(), &fixture.sent()["model"]), ("Hello Ada", &json!(MODELS[0])));
}

#[tokio::test]
async fn a_stream_tells_pieces_and_then_what_is_recorded() {
    let fixture = Fixture::new().await;
    fixture.mock.behave(Behaviour {
        text: Some("one two three".to_owned()),
        chunks: 3,
        tool_calls: vec![MockToolCall { name: "look_up".to_owned(), input: json!({"q": "x"}) }],
        ..Behaviour::default()
    });
    for model in MODELS {
        let tools = vec![ToolDefinition::new("look_up", "Looks it up").with_parameter("q", "string", "What")];
        let stream = fixture.ai.stream(&fixture.ask(model, "Hello").with_tools(tools)).await.expect("a stream");
        let events: Vec<AiEvent> = stream.map(|event| event.expect("no error")).collect().await;
        let text: String = events
            .iter()
            .filter_map(|event| if let AiEvent::Text(text) = event { Some(text.as_str()) } else { None })
            .collect();
        assert_eq!(text, "one two three", "{model}");
        let pieces = events.iter().filter(|event| matches!(event, AiEvent::Text(_))).count();
        assert!(pieces > 1, "{model}: {events:?}");
        let Some([AiEvent::ToolCall(call), AiEvent::Usage(usage), AiEvent::Stop(response)]) = events.last_chunk()
        else {
            panic!("{model}: {events:?}")
        };
        assert_eq!((call.name.as_str(), call.input_object().to_value()), ("look_up", json!({"q": "x"})));
        assert_eq!((response.content.as_str(), response.finish_reason.clone()), (text.as_str(), StopReason::ToolUse));
        assert_eq!(*usage, response.usage);
        fixture.is_as_recorded(response).await;
    }
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_an_error() {
    let fixture = Fixture::new().await;
    for fault in [Fault::CloseMidStream { after_chunks: 2 }, Fault::NoTerminalEvent] {
        fixture.mock.behave(Behaviour { fault: Some(fault.clone()), ..Behaviour::default() });
        for model in MODELS {
            let mut stream = fixture.ai.stream(&fixture.ask(model, "Hello")).await.expect("it begins");
            let id = stream.request_id();
            let mut last = None;
            while let Some(event) = stream.next().await {
                last = Some(event);
            }
            let recorded = fixture.recorded(id).await.status;
            match last.expect("something") {
                Err(error) => {
                    assert!(
                        matches!(error, AiError::ProviderFailed { status: 502, .. }),
                        "{model} {fault:?}: {error:?}"
                    );
                    assert_eq!((error.request(), recorded.as_str()), (Some(id), "failed"), "{model} {fault:?}");
                }
                // The model had said why it stopped.
                Ok(last) => {
                    assert!(matches!(last, AiEvent::Stop(_)) && fault == Fault::NoTerminalEvent, "{model}: {last:?}");
                    assert_eq!(recorded, "completed", "{model}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_dropped_is_settled_as_one_whose_client_went_away() {
    let fixture = Fixture::new().await;
    let fault = Some(Fault::HangMidStream { after_chunks: 3 });
    fixture.mock.behave(Behaviour { fault, ..Behaviour::default() });
    let mut stream = fixture.ai.stream(&fixture.ask(MODELS[0], "Hello")).await.expect("it begins");
    let first = stream.next().await.expect("something").expect("a piece");
    assert!(matches!(first, AiEvent::Text(_)), "{first:?}");
    let id = stream.request_id();
    drop(stream);
    let recorded = fixture.recorded(id).await;
    assert_eq!(recorded.status, "failed");
    assert!(recorded.cost_microdollars > Some(0), "what was read until then was used: {recorded:?}");
}

#[tokio::test]
async fn whoever_may_not_is_told_so_and_nothing_is_sent() {
    let fixture = Fixture::new().await;
    let eve = fixture.context.user("eve", &["user"]).await;
    let by = attribution(&fixture.context, &eve).await;
    for model in MODELS {
        let request = AiRequest { by: by.clone(), ..fixture.ask(model, "Hello") };
        for error in [
            fixture.ai.generate(&request).await.expect_err("not allowed"),
            fixture.ai.stream(&request).await.err().expect("not allowed"),
        ] {
            let AiError::Denied { request: Some(id), .. } = error else { panic!("{error:?}") };
            assert_eq!(fixture.recorded(id).await.status, "rejected");
        }
    }
    assert_eq!(fixture.mock.statistics().connections, 0, "nobody was connected to");
}

#[tokio::test]
async fn a_quota_says_when_to_come_back() {
    let mock = MockUpstream::start().await.expect("a free port");
    let window = json!([{"subject": "user", "window_seconds": 3600, "max_requests": 1}]);
    let context = builder(&mock)
        .document("gateway/limits.yaml", json!({"policies": [{"name": "one", "spec": {"quota_windows": window}}]}))
        .start()
        .await;
    let ada = context.user("ada", &["admin"]).await;
    let by = attribution(&context, &ada).await;
    let ai = context.ai().expect("a service");
    let request = AiRequest::new(by, vec![AiMessage::user("Hello")]);
    ai.generate(&request).await.expect("the first");
    let error = ai.generate(&request).await.expect_err("the second");
    assert!(matches!(error, AiError::Quota { retry_after: Some(_), .. }) && error.is_retryable(), "{error:?}");
}

/// Knows the weather, and how often it was asked.
#[derive(Default)]
struct Weather(Mutex<Vec<Value>>);

#[async_trait]
impl ToolProvider for Weather {
    fn tools(&self) -> Vec<ToolDefinition> {
        vec![ToolDefinition::new("weather", "Tells the weather").with_parameter("city", "string", "Where")]
    }

    async fn execute(&self, call: &ToolCall, _: &Attribution) -> ToolOutput {
        self.0.lock().expect("nobody panicked").push(call.input_object().to_value());
        ToolOutput::success("rain")
    }
}

#[tokio::test]
async fn tools_are_called_until_the_model_has_its_answer() {
    let fixture = Fixture::new().await;
    let call = |input| MockToolCall { name: "weather".to_owned(), input };
    fixture.mock.behave(Behaviour {
        text: Some("Take an umbrella".to_owned()),
        thinking: Some("Hm.".to_owned()),
        tool_calls: vec![call(json!({"city": "Oslo"})), call(json!({"city": "Bergen"})), call(json!({"town": 1}))],
        tool_calls_once: true,
        ..Behaviour::default()
    });
    for model in MODELS {
        let weather = Weather::default();
        let request = fixture.ask(model, "What to wear?");
        let run = fixture.ai.generate_with_tools(&request, &weather, ToolLimit::default()).await.expect("an answer");
        assert_eq!((run.rounds, run.response.content.as_str()), (2, "Take an umbrella"), "{model}");
        let asked = weather.0.lock().expect("nobody panicked").clone();
        assert_eq!(
            asked,
            [json!({"city": "Oslo"}), json!({"city": "Bergen"})],
            "{model}: input of another shape stays out"
        );
        let sent = fixture.sent().to_string();
        assert!(sent.contains("rain") && sent.contains("does not match the schema"), "{model}: {sent}");
        assert!(run.cost_microdollars > run.response.cost_microdollars, "both requests count");
        // System and question, the calls, the results, the answer.
        assert_eq!(run.messages.len(), 5);
    }
    fixture.mock.behave(Behaviour { tool_calls: vec![call(json!({"city": "Oslo"}))], ..Behaviour::default() });
    let endless = fixture.ask(MODELS[0], "What to wear?");
    let error = fixture.ai.generate_with_tools(&endless, &Weather::default(), ToolLimit(3)).await.expect_err("no end");
    assert!(matches!(error, AiError::ToolLimit { rounds: 3, .. }), "{error:?}");
}

#[derive(Debug, PartialEq, Deserialize, systemprompt::schemars::JsonSchema)]
#[schemars(crate = "systemprompt::schemars")]
struct City {
    name: String,
    people: u32,
}

/// A whole answer with this text, on the wire of a model.
fn whole(model: &str, text: &str) -> Value {
    match model {
        "claude-test" => {
            json!({"id": "m", "type": "message", "role": "assistant", "model": model, "stop_reason": "end_turn",
            "content": [{"type": "text", "text": text}], "usage": {"input_tokens": 5, "output_tokens": 5}})
        }
        "gpt-test" => json!({"id": "c", "object": "chat.completion", "model": model, "choices": [
            {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 5, "completion_tokens": 5, "total_tokens": 10}}),
        "gpt-5-test" => json!({"id": "r", "object": "response", "status": "completed", "model": model, "output": [
            {"type": "message", "id": "m", "role": "assistant", "status": "completed",
             "content": [{"type": "output_text", "text": text, "annotations": []}]}],
            "usage": {"input_tokens": 5, "output_tokens": 5, "total_tokens": 10}}),
        _ => {
            json!({"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model", "parts": [{"text": text}]}}],
            "modelVersion": model, "usageMetadata": {"promptTokenCount": 5, "candidatesTokenCount": 5, "totalTokenCount": 10}})
        }
    }
}

fn raw(body: &Value) -> Option<Fault> {
    let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
    Some(Fault::Raw { status: 200, headers, body: body.to_string().into_bytes(), cut: false })
}

#[tokio::test]
async fn an_answer_that_does_not_match_its_schema_is_repaired_once() {
    let fixture = Fixture::new().await;
    for model in MODELS {
        fixture.mock.behave(Behaviour {
            text: Some(r#"{"name": "Oslo", "people": 700000}"#.to_owned()),
            fault: raw(&whole(model, r#"{"name": "Oslo"}"#)),
            fault_times: Some(1),
            ..Behaviour::default()
        });
        let params = StructuredOutputParams::of::<City>(fixture.ask(model, "Where?"));
        let city = fixture.ai.generate_structured::<City>(&params).await.expect("an answer");
        assert_eq!(city.value, City { name: "Oslo".to_owned(), people: 700_000 });
        let first = city.repaired.expect("the first one was wrong");
        assert_eq!(fixture.recorded(first).await.status, "completed", "it was an answer, and paid for");
        let sent = fixture.sent().to_string();
        assert!(sent.contains("people") && sent.contains("does not match the schema"), "{model}: {sent}");
        fixture.is_as_recorded(&city.response).await;

        let wrong = fixture.ai.generate_structured::<City>(&params).await.expect("right at once");
        assert_eq!(wrong.repaired, None);

        // A model that takes no schemas has to call a tool.
        let input = json!({"name": "Bergen", "people": 300_000});
        let tool_calls = vec![MockToolCall { name: "answer".to_owned(), input }];
        fixture.mock.behave(Behaviour { tool_calls, ..Behaviour::default() });
        let params = StructuredOutputParams::of::<City>(fixture.ask(&format!("{model}-old"), "Where?"));
        let city = fixture.ai.generate_structured::<City>(&params).await.expect("an answer");
        assert_eq!((city.value.name.as_str(), city.repaired), ("Bergen", None), "{model}");

        fixture.mock.behave(Behaviour { text: Some("no JSON".to_owned()), ..Behaviour::default() });
        let params = StructuredOutputParams::of::<City>(fixture.ask(model, "Where?"));
        let error = fixture.ai.generate_structured::<City>(&params).await.expect_err("twice wrong");
        let AiError::SchemaMismatch { requests: [first, second], .. } = error else { panic!("{error:?}") };
        assert!(first != second && fixture.recorded(second).await.status == "completed");
    }
}

#[tokio::test]
async fn what_a_model_cannot_do_is_said_before_anything_is_sent() {
    let fixture = Fixture::new().await;
    let mute = |request: &str| fixture.ask(&format!("{request}-mute"), "Hello");
    let tools = vec![ToolDefinition::new("t", "A tool")];
    let image =
        AiRequest::new(fixture.by.clone(), vec![AiMessage::user("What is it?").with_image("image/png", b"png")]);
    for error in [
        fixture.ai.generate(&mute(MODELS[0]).with_tools(tools)).await.expect_err("no tools"),
        fixture.ai.stream(&mute(MODELS[1])).await.err().expect("no streams"),
        fixture.ai.generate(&image.with_model("gpt-test-old")).await.expect_err("no images"),
    ] {
        assert!(matches!(error, AiError::Unsupported { .. }) && error.request().is_none(), "{error:?}");
    }
    let nowhere = fixture.ai.generate(&fixture.ask("no-such-model", "Hello")).await.expect_err("no model");
    assert!(matches!(nowhere, AiError::NoModel(_)), "{nowhere:?}");
    let elsewhere =
        AiRequestBuilder::new(vec![AiMessage::user("Hello")], "oai", MODELS[0], 10, fixture.by.clone()).build();
    let elsewhere = fixture.ai.generate(&elsewhere).await.expect_err("that one is not theirs");
    assert!(elsewhere.to_string().contains("leads to the provider `ant`"), "{elsewhere}");
    let unset = AiRequestBuilder::new(vec![AiMessage::user("Hello")], "oai", "", 10, fixture.by.clone()).build();
    let unset = fixture.ai.generate(&unset).await.expect_err("no default");
    assert!(unset.to_string().contains("ai.providers.oai.default_model"), "{unset}");
    assert_eq!(fixture.mock.statistics().requests, 0);
}

#[tokio::test]
async fn a_provider_that_fails_is_a_typed_error() {
    let fixture = Fixture::new().await;
    for model in MODELS {
        let fault = Fault::Status { status: 429, body: None, retry_after: Some("7".to_owned()) };
        fixture.mock.behave(Behaviour { fault: Some(fault), ..Behaviour::default() });
        let error = fixture.ai.generate(&fixture.ask(model, "Hello")).await.expect_err("refused");
        let AiError::ProviderFailed { request: Some(id), status: 429, message, retry_after } = error else {
            panic!("{model}: {error:?}")
        };
        assert_eq!((message.as_str(), retry_after.map(|wait| wait.as_secs())), ("mock: rate limited", Some(7)));
        assert_eq!(fixture.recorded(id).await.status, "failed");
    }
}

#[tokio::test]
async fn answers_that_go_by_the_web_name_their_sources_and_pay_for_the_searches() {
    let fixture = Fixture::new().await;
    fixture.mock.behave(Behaviour {
        text: Some("Oslo is in Norway".to_owned()),
        search: Some(MockSearch {
            queries: vec!["where is oslo".to_owned(), "oslo country".to_owned()],
            sources: vec![("https://example.com/oslo".to_owned(), "Oslo".to_owned())],
        }),
        ..Behaviour::default()
    });
    for model in [MODELS[0], MODELS[2], MODELS[3]] {
        let plain = fixture.ai.generate(&fixture.ask(model, "Where?")).await.expect("an answer");
        let params = SearchParams::new(fixture.ask(model, "Where?"));
        let response = fixture.ai.generate_with_search(&params).await.expect("an answer");
        let tool = ["web_search_20250305", "\"web_search\"", "googleSearch"];
        assert!(tool.iter().any(|tool| fixture.sent()["tools"].to_string().contains(tool)), "{}", fixture.sent());
        let grounding = response.grounding.clone().expect("sources");
        assert_eq!(grounding.queries, ["where is oslo", "oslo country"], "{model}");
        let [source] = &grounding.sources[..] else { panic!("{grounding:?}") };
        assert_eq!((source.uri.as_str(), source.title.as_deref()), ("https://example.com/oslo", Some("Oslo")));
        assert_eq!(source.relevance, (model == MODELS[3]).then_some(0.75));
        assert_eq!(response.usage.web_searches, 2, "{model}");
        assert!(
            response.cost_microdollars.0 >= 20_000,
            "two searches at ten dollars a thousand: {}",
            response.cost_microdollars
        );
        assert_eq!(response.cost_microdollars, plain.cost_microdollars, "the mock searches whether asked or not");
        fixture.is_as_recorded(&response).await;
    }
    // Without a model it is the first provider that may.
    let request = AiRequest::new(fixture.by.clone(), vec![AiMessage::user("Where?")]);
    let response = fixture.ai.generate_with_search(&SearchParams::new(request.clone())).await.expect("an answer");
    assert_eq!(response.provider, "ant");
    let none = fixture.ai.generate_with_google_search(&GoogleSearchParams::new(request)).await.expect_err("no model");
    assert_eq!(none.to_string(), "No provider with Google Search support");
    let mut params = GoogleSearchParams::new(fixture.ask(MODELS[3], "Where?"));
    params.urls.push("https://example.com/oslo".to_owned());
    let response = fixture.ai.generate_with_google_search(&params).await.expect("an answer");
    assert!(fixture.sent()["tools"].to_string().contains("urlContext") && response.grounding.is_some());
    let other =
        fixture.ai.generate_with_google_search(&GoogleSearchParams::new(fixture.ask(MODELS[0], "Where?"))).await;
    assert!(other.expect_err("not theirs").to_string().contains("cannot search"));
    let chat = fixture.ai.generate_with_search(&SearchParams::new(fixture.ask(MODELS[1], "Where?"))).await;
    assert!(matches!(chat.expect_err("it does not search"), AiError::Unsupported { .. }));
}

#[tokio::test]
async fn images_are_made_recorded_and_paid_for() {
    let fixture = Fixture::new().await;
    let model = |model: &str| Some(format!("{model}-image"));
    let wish = ImageRequest {
        resolution: Some(ImageResolution::TwoK),
        aspect_ratio: Some(AspectRatio::Wide),
        reference_images: vec![ReferenceImage { media_type: "image/png".to_owned(), bytes: b"png".to_vec() }],
        ..ImageRequest::new(fixture.by.clone(), "A cat")
    };
    for (name, words) in [
        (MODELS[3], vec![r#""aspectRatio":"16:9""#, r#""imageSize":"2K""#, r#""IMAGE""#, "cG5n"]),
        (MODELS[1], vec![r#""size":"2560x1440""#, "data:image/png;base64,cG5n", "A cat"]),
        (MODELS[2], vec![r#""size":"2560x1440""#]),
    ] {
        let request = ImageRequest { model: model(name), ..wish.clone() };
        let made = fixture.ai.generate_image(&request).await.expect("an image");
        let sent = fixture.sent().to_string();
        assert!(words.iter().all(|word| sent.contains(word)), "{name}: {sent}");
        let [image] = &made.images[..] else { panic!("{name}: {made:?}") };
        assert!(image.media_type == "image/png" && image.bytes.starts_with(b"\x89PNG"));
        assert_eq!(made.usage.images, 1);
        let recorded = fixture.recorded(made.request_id).await;
        assert_eq!(
            (recorded.status.as_str(), recorded.cost_microdollars),
            ("completed", Some(made.cost_microdollars.0))
        );
        assert!(made.cost_microdollars.0 > 10_000, "an image costs a cent, and its tokens: {}", made.cost_microdollars);
    }
    // OpenAI makes several at once; a batch makes them everywhere, each for itself.
    let several = ImageRequest { model: model(MODELS[1]), count: 3, ..ImageRequest::new(fixture.by.clone(), "Cats") };
    assert_eq!(fixture.ai.generate_image(&several).await.expect("images").images.len(), 3);
    let path = fixture.mock.requests().last().expect("it was asked").path.clone();
    assert!(path.ends_with("/images/generations"), "{path}");
    let no = ImageRequest { model: Some(MODELS[3].to_owned()), ..wish.clone() };
    let batch = [
        ImageRequest { model: model(MODELS[3]), ..wish.clone() },
        no,
        ImageRequest { model: model(MODELS[1]), ..wish },
    ];
    let results = fixture.ai.generate_images(&batch, Some(2)).await;
    assert!(results[0].is_ok() && matches!(results[1], Err(AiError::Unsupported { .. })) && results[2].is_ok());

    // What fails is recorded as that.
    fixture.mock.behave(Behaviour {
        fault: Some(Fault::Status { status: 500, body: None, retry_after: None }),
        ..Behaviour::default()
    });
    for name in [MODELS[1], MODELS[3]] {
        let request = ImageRequest { model: model(name), ..ImageRequest::new(fixture.by.clone(), "A cat") };
        let error = fixture.ai.generate_image(&request).await.expect_err("no image");
        let id = error.request().expect("a record");
        assert_eq!(fixture.recorded(id).await.status, "failed", "{error:?}");
    }
}

#[tokio::test]
async fn a_provider_that_is_disabled_is_not_a_fallback_either() {
    let mock = MockUpstream::start().await.expect("a free port");
    let route = json!([{"model_pattern": MODELS[0], "provider": "ant", "fallbacks": [{"provider": "oai", "upstream_model": MODELS[1]},
        {"provider": "gem", "upstream_model": MODELS[3]}]}]);
    let ai = json!({"ai": {"providers": {"oai": {"enabled": false}}}});
    let context =
        builder(&mock).profile("gateway", json!({"routes": route})).document("ai/config.yaml", ai).start().await;
    let by = attribution(&context, &context.user("ada", &["admin"]).await).await;
    let ai = context.ai().expect("a service");
    let request = |model: &str| AiRequest::new(by.clone(), vec![AiMessage::user("Hello")]).with_model(model);
    mock.behave(Behaviour {
        fault: Some(Fault::Status { status: 503, body: None, retry_after: None }),
        fault_times: Some(1),
        ..Behaviour::default()
    });
    let response = ai.generate(&request(MODELS[0])).await.expect("the next one answers");
    assert_eq!(response.provider, "gem", "in another language, and it is understood: {}", response.content);
    let error = ai.generate(&request(MODELS[1])).await.expect_err("it may not be asked");
    assert!(error.to_string().contains("ai.providers.oai.enabled"), "{error}");
}

#[tokio::test]
async fn a_provider_that_is_too_slow_is_told_apart() {
    let fixture = Fixture::new().await;
    fixture.mock.behave(Behaviour { fault: Some(Fault::HangBeforeHeaders), ..Behaviour::default() });
    let request = fixture.ask("hasty", "Hello");
    let image = ImageRequest { model: Some("hasty".to_owned()), ..ImageRequest::new(fixture.by.clone(), "A cat") };
    let mut errors = vec![
        (fixture.ai.generate(&request).await.expect_err("too slow"), "110ms"),
        (fixture.ai.generate_image(&image).await.expect_err("too slow"), "120ms"),
    ];
    let fault = Some(Fault::HangMidStream { after_chunks: 1 });
    fixture.mock.behave(Behaviour { fault, ..Behaviour::default() });
    let stream = fixture.ai.stream(&request).await.expect("it begins");
    let last = stream.collect::<Vec<_>>().await.pop().expect("an end");
    errors.push((last.expect_err("too slow"), "130ms"));
    for (error, limit) in errors {
        assert!(matches!(error, AiError::TimedOut { request: Some(_), .. }) && error.is_retryable(), "{error:?}");
        assert!(error.to_string().contains(limit), "{error}");
        assert_eq!(fixture.recorded(error.request().expect("a record")).await.status, "failed");
    }
}

#[test]
fn faults_of_the_configuration_are_told_with_what_to_do() {
    let problems = |ai: Value| {
        let model = json!([{"id": "m-1", "pricing": {"input_per_million": 1.0, "output_per_million": 1.0}}]);
        TestContext::builder()
            .profile(
                "providers",
                json!([{"name": "ant", "wire": "anthropic", "surface": "anthropic", "models": model,
                "endpoint": "https://example.com/v1", "api_key_secret": "k"}]),
            )
            .secret("k", "s")
            .document("ai/config.yaml", json!({"ai": ai}))
            .problems()
    };
    assert_eq!(problems(json!({"default_provider": "ant", "providers": {"ant": {"default_model": "m-1"}}})), [""; 0]);
    for (ai, words) in [
        (json!({"default_provider": "x"}), "there is no provider `x`"),
        (
            json!({"default_provider": "ant", "providers": {"ant": {"enabled": false}}}),
            "the provider `ant` is disabled",
        ),
        (json!({"providers": {"x": {}}}), "there is no provider `x`"),
        (json!({"providers": {"ant": {"default_model": "m-2"}}}), "no provider offers the model `m-2`"),
        (json!({"providers": {"ant": {"default_image_model": "m-1"}}}), "makes no images"),
        (json!({"providers": {"ant": {"google_search_enabled": true}}}), "cannot search with Google"),
        (json!({"providers": {"ant": {"api_key": "x"}}}), "is not taken"),
        (json!({"sampling": {"enable_smart_routing": true}}), "is not taken"),
        (json!({"default_max_output_tokens": 0}), "default_max_output_tokens"),
    ] {
        let found = problems(ai.clone());
        assert!(found.len() == 1 && found[0].contains(words), "{ai}: {found:?}");
    }
}
