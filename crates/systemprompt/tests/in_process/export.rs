//! OpenTelemetry out: what a collector gets of what the gateway does, and what it never gets.

use std::io::Read as _;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use prost::Message as _;
use serde_json::{Value, json};
use systemprompt::axum::Router;
use systemprompt::axum::extract::State;
use systemprompt::axum::routing::post;
use systemprompt::testing::{TestClient, TestContext, TestContextBuilder, TestResponse};
use systemprompt_extension::ExtensionContext as _;
use systemprompt_mock_upstream::{Behaviour, Fault, MockUpstream, MockUsage};
use systemprompt_telemetry::otlp::{
    ExportMetricsServiceRequest, ExportTraceServiceRequest, KeyValue, Metric, Resource, Span, any_value, metric,
    number_data_point,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A collector that takes everything after the first so many requests.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Received>>);

#[derive(Default)]
struct Received {
    busy: usize,
    spans: Vec<Span>,
    metrics: Vec<Metric>,
    resources: Vec<Resource>,
    headers: Vec<HeaderMap>,
    bytes: Vec<u8>,
}

impl Collector {
    /// Gives the address it listens at.
    async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new()
            .route("/base/v1/traces", post(traces))
            .route("/base/v1/metrics", post(metrics))
            .with_state(self.clone());
        tokio::spawn(async move { systemprompt::axum::serve(listener, router).await });
        format!("http://{address}/base")
    }

    fn take(&self, headers: HeaderMap, body: &[u8], keep: impl FnOnce(&mut Received, &[u8])) -> StatusCode {
        let mut received = self.0.lock().expect("nobody panicked");
        if received.busy > 0 {
            received.busy -= 1;
            return StatusCode::SERVICE_UNAVAILABLE;
        }
        assert!(headers["content-type"] == "application/x-protobuf" && headers["content-encoding"] == "gzip");
        let mut plain = Vec::new();
        flate2::read::GzDecoder::new(body).read_to_end(&mut plain).expect("gzip");
        received.headers.push(headers);
        keep(&mut received, &plain);
        received.bytes.extend(plain);
        StatusCode::OK
    }

    fn spans(&self) -> Vec<Span> {
        self.0.lock().expect("nobody panicked").spans.clone()
    }

    /// Whether this text is anywhere in what came.
    fn has(&self, text: &str) -> bool {
        let received = self.0.lock().expect("nobody panicked");
        received.bytes.windows(text.len()).any(|window| window == text.as_bytes())
    }
}

async fn traces(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    collector.take(headers, &body, |received, body| {
        for of in ExportTraceServiceRequest::decode(body).expect("a request").resource_spans {
            received.resources.extend(of.resource);
            received.spans.extend(of.scope_spans.into_iter().flat_map(|of| of.spans));
        }
    })
}

async fn metrics(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    collector.take(headers, &body, |received, body| {
        for of in ExportMetricsServiceRequest::decode(body).expect("a request").resource_metrics {
            // Each report says everything there was.
            received.metrics = of.scope_metrics.into_iter().flat_map(|of| of.metrics).collect();
        }
    })
}

/// A server with a provider that is told of traces, one that is not, and a collector.
async fn start(collector: &Collector, export: Value) -> (TestContextBuilder, MockUpstream) {
    let mock = MockUpstream::start().await.expect("a free port");
    let usage = Some(MockUsage { input_tokens: 7, output_tokens: 9, cache_read_tokens: 30, cache_creation_tokens: 2 });
    mock.behave(Behaviour { usage, ..Behaviour::default() });
    let provider = |name: &str, model: &str, trace_context: bool| {
        json!({
            "name": name, "wire": "anthropic", "surface": "anthropic", "endpoint": mock.endpoint(),
            "api_key_secret": "upstream", "trace_context": trace_context,
            "models": [{"id": model, "pricing": {"input_per_million": 3.0, "output_per_million": 15.0}}],
        })
    };
    let mut settings = json!({
        "endpoint": collector.start().await, "secret_headers": {"x-team": "team"}, "service_name": "gate",
        "resource": {"deployment.environment.name": "test"},
    });
    settings.as_object_mut().expect("an object").extend(export.as_object().expect("an object").clone());
    let builder = TestContext::builder()
        .profile("providers", json!([provider("told", "claude-told", true), provider("other", "claude-other", false)]))
        .profile("telemetry", json!({ "export": settings }))
        .secret("upstream", "sk-upstream")
        .secret("team", "t-1");
    (builder, mock)
}

async fn ask(client: &TestClient, model: &str, stream: bool, traceparent: Option<&str>) -> TestResponse {
    let body = json!({ "model": model, "max_tokens": 5, "stream": stream, "temperature": 0.5,
        "messages": [{"role": "user", "content": "the weather in Reykjavik"}] });
    let mut request = Request::post("/v1/messages").header("content-type", "application/json");
    if let Some(traceparent) = traceparent {
        request = request.header("traceparent", traceparent);
    }
    client.request(request.body(body.to_string()).expect("a request")).await
}

fn attribute(attributes: &[KeyValue], key: &str) -> Option<Value> {
    use any_value::Value as Any;
    let value = attributes.iter().find(|attribute| attribute.key == key)?.value.as_ref()?.value.as_ref()?;
    Some(match value {
        Any::String(text) => json!(text),
        Any::Bool(flag) => json!(flag),
        Any::Int(number) => json!(number),
        Any::Double(number) => json!(number),
        Any::Array(list) => list
            .values
            .iter()
            .map(|value| match &value.value {
                Some(Any::String(text)) => json!(text),
                other => panic!("{other:?}"),
            })
            .collect(),
        other => panic!("{other:?}"),
    })
}

fn show(span: &Span, keys: &[&str]) -> Vec<Option<Value>> {
    keys.iter().map(|key| attribute(&span.attributes, key)).collect()
}

fn some<const N: usize>(values: [Value; N]) -> Vec<Option<Value>> {
    values.map(Some).to_vec()
}

#[tokio::test]
async fn a_request_is_a_span_with_one_below_it_for_each_attempt() {
    let collector = Collector::default();
    let (builder, mock) = start(&collector, json!({})).await;
    let server = builder.start().await;
    let ada = server.user("ada", &["admin"]).await;
    let traceparent = format!("00-{TRACE}-{PARENT}-01");
    let answer = ask(&ada, "claude-told", true, Some(&traceparent)).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let id = answer.header("x-systemprompt-request-id").to_owned();
    let told = mock.requests().last().and_then(|request| request.header("traceparent").map(str::to_owned));
    assert_eq!(ask(&ada, "claude-other", false, Some(&traceparent)).await.status, 200);
    assert_eq!(mock.requests().last().expect("it was asked").header("traceparent"), None, "nobody asked for it");
    server.stop().await;

    let spans = collector.spans();
    assert_eq!(spans.len(), 4, "{spans:#?}");
    let of_request = |span: &&Span| attribute(&span.attributes, "systemprompt.request_id") == Some(json!(id));
    let request = spans.iter().find(of_request).expect("the span of the request");
    let attempt = spans.iter().find(|span| span.parent_span_id == request.span_id).expect("the span of the attempt");
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!((hex(&request.trace_id).as_str(), hex(&request.parent_span_id).as_str()), (TRACE, PARENT));
    assert_eq!((request.name.as_str(), request.kind, attempt.kind), ("chat claude-told", 2, 3));
    assert_eq!(
        told,
        Some(format!("00-{TRACE}-{}-01", hex(&attempt.span_id))),
        "the provider's spans go below the attempt"
    );
    let model = attribute(&request.attributes, "gen_ai.response.model");
    assert!(model.is_some(), "{request:#?}");
    assert_eq!(
        show(
            request,
            &[
                "gen_ai.operation.name",
                "gen_ai.provider.name",
                "gen_ai.request.model",
                "gen_ai.request.stream",
                "gen_ai.request.max_tokens",
                "gen_ai.request.temperature",
                "gen_ai.usage.input_tokens",
                "gen_ai.usage.output_tokens",
                "gen_ai.usage.cache_read.input_tokens",
                "gen_ai.response.finish_reasons",
                "systemprompt.status",
                "systemprompt.usage_source",
            ]
        ),
        some([
            json!("chat"),
            json!("told"),
            json!("claude-told"),
            json!(true),
            json!(5),
            json!(0.5),
            json!(39),
            json!(9),
            json!(30),
            json!(["end_turn"]),
            json!("completed"),
            json!("provider"),
        ])
    );
    let number =
        |span: &Span, key: &str| attribute(&span.attributes, key).and_then(|value| value.as_f64()).expect("a number");
    let first = number(request, "gen_ai.response.time_to_first_chunk");
    let (overhead, upstream) =
        (number(request, "systemprompt.overhead_seconds"), number(request, "systemprompt.upstream_seconds"));
    let took = (request.end_time_unix_nano - request.start_time_unix_nano) as f64 / 1e9;
    assert!(first > 0.0 && first <= upstream && overhead > 0.0, "{first} {overhead} {upstream}");
    assert!((overhead + upstream - took).abs() < 0.001, "{overhead} + {upstream} is {took}");
    assert!(number(request, "systemprompt.cost_microdollars") > 0.0);
    assert_eq!(
        show(attempt, &["http.response.status_code", "server.address", "systemprompt.provider"]),
        some([json!(200), json!("127.0.0.1"), json!("told"),])
    );
    assert!(attempt.start_time_unix_nano >= request.start_time_unix_nano);

    let received = collector.0.lock().expect("nobody panicked");
    assert!(received.headers.iter().all(|headers| headers["x-team"] == "t-1"));
    let resource = &received.resources[0].attributes;
    assert_eq!(attribute(resource, "service.name"), Some(json!("gate")));
    assert_eq!(attribute(resource, "deployment.environment.name"), Some(json!("test")));
    let named = |name: &str| received.metrics.iter().find(|metric| metric.name == name);
    let Some(metric::Data::Histogram(tokens)) = &named("gen_ai.client.token.usage").expect("is there").data else {
        panic!("a histogram")
    };
    let input = tokens.data_points.iter().filter(|point| {
        attribute(&point.attributes, "gen_ai.token.type") == Some(json!("input"))
            && attribute(&point.attributes, "gen_ai.request.model") == Some(json!("claude-told"))
    });
    assert_eq!(input.map(|point| (point.count, point.sum)).collect::<Vec<_>>(), [(1, Some(39.0))]);
    for name in [
        "gen_ai.client.operation.duration",
        "gen_ai.server.request.duration",
        "gen_ai.server.time_to_first_token",
        "systemprompt.gateway.overhead",
    ] {
        assert!(named(name).is_some(), "{name}");
    }
    // What is on the metrics page comes under the name it has there.
    let Some(metric::Data::Sum(requests)) = &named("gateway_requests_total").expect("is there").data else {
        panic!("a sum")
    };
    let completed = requests.data_points.iter().filter(|point| {
        attribute(&point.attributes, "model") == Some(json!("claude-told"))
            && attribute(&point.attributes, "status") == Some(json!("completed"))
            && attribute(&point.attributes, "dialect") == Some(json!("anthropic-messages"))
    });
    let values: Vec<_> = completed.map(|point| point.value).collect();
    assert_eq!(values, [Some(number_data_point::Value::Double(1.0))]);
    drop(received);
    for secret in ["Reykjavik", "sk-upstream", "sp-live-"] {
        assert!(!collector.has(secret), "{secret} was exported");
    }
}

#[tokio::test]
async fn failures_refusals_and_second_attempts_are_told() {
    let collector = Collector::default();
    let (builder, mock) = start(&collector, json!({})).await;
    let server = builder.start().await;
    let ada = server.user("ada", &["admin"]).await;
    // The first request leaves an idle connection, which the provider closes instead of answering the second one on it.
    mock.behave(Behaviour { fault: Some(Fault::CloseIdle), fault_times: Some(1), ..Behaviour::default() });
    assert_eq!(ask(&ada, "claude-other", false, None).await.status, 200);
    assert_eq!(ask(&ada, "claude-other", false, None).await.status, 200);
    mock.behave(Behaviour {
        fault: Some(Fault::Status { status: 529, body: None, retry_after: None }),
        ..Behaviour::default()
    });
    assert_ne!(ask(&ada, "claude-other", false, None).await.status, 200);
    assert_eq!(ask(&ada, "nobody-knows", false, None).await.status, 404);
    server.stop().await;
    let spans = collector.spans();
    let requests: Vec<_> = spans.iter().filter(|span| span.kind == 2).collect();
    let shown: Vec<_> = requests.iter().map(|span| show(span, &["systemprompt.status", "error.type"])).collect();
    assert_eq!(
        shown,
        [
            vec![Some(json!("completed")), None],
            vec![Some(json!("completed")), None],
            vec![Some(json!("failed")), Some(json!("5xx"))],
            vec![Some(json!("rejected")), Some(json!("model_not_found"))],
        ]
    );
    assert_eq!(requests[3].status.as_ref().map(|status| status.code), Some(2));
    let attempts: Vec<_> = spans.iter().filter(|span| span.parent_span_id == requests[1].span_id).collect();
    let shown: Vec<_> = attempts.iter().map(|span| show(span, &["error.type", "http.request.resend_count"])).collect();
    assert_eq!(shown, [vec![Some(json!("reset")), None], vec![None, Some(json!(1))]]);
    let traces: std::collections::BTreeSet<_> = requests.iter().map(|span| &span.trace_id).collect();
    assert_eq!(traces.len(), 4, "without a caller's trace each request has one of its own");
}

#[tokio::test]
async fn what_a_collector_does_not_take_is_counted_and_callers_decide_what_is_sampled() {
    let collector = Collector::default();
    let (builder, _mock) = start(&collector, json!({ "metrics": false })).await;
    let server = builder.start().await;
    let ada = server.user("ada", &["admin"]).await;
    assert_eq!(ask(&ada, "claude-other", false, Some(&format!("00-{TRACE}-{PARENT}-00"))).await.status, 200);
    assert_eq!(ask(&ada, "claude-other", false, Some("no trace at all")).await.status, 200);
    // The last attempt is that of the end, and it is not taken either.
    collector.0.lock().expect("nobody panicked").busy = usize::MAX;
    let metrics = server.metrics().clone();
    server.stop().await;
    let page = metrics.encode();
    for line in [
        r#"telemetry_export_items_dropped_total{signal="traces"} 2"#,
        r#"telemetry_export_items_sent_total{signal="traces"} 0"#,
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
}

#[test]
fn an_export_that_cannot_work_is_a_problem_of_the_configuration() {
    let export =
        json!({ "endpoint": "collector:4318", "headers": {"a b": "c"}, "secret_headers": {"x-team": "missing"} });
    let problems = TestContext::builder().profile("telemetry", json!({ "export": export })).problems();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    for (problem, expected) in problems.iter().zip([
        "telemetry.export.endpoint",
        "telemetry.export.headers.a b",
        "telemetry.export.secret_headers.x-team",
    ]) {
        assert!(problem.contains(expected), "{problem}");
    }
}
