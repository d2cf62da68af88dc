//! OpenTelemetry in: what clients send is kept under the name of who sent it.

use std::io::Write as _;

use http::Request;
use prost::Message as _;
use serde_json::{Value, json};
use systemprompt::testing::{TestClient, TestContext, TestResponse};
use systemprompt_extension::ExtensionContext as _;
use systemprompt_telemetry::otlp::{
    ExportLogsServiceRequest, ExportReply, ExportTraceServiceRequest, LogRecord, ResourceLogs, ResourceSpans,
    RpcStatus, ScopeLogs, ScopeSpans, Span,
};
use systemprompt_telemetry::stored::{TelemetryFilter, list_logs, list_metrics, list_spans};

use crate::guard::account;

const TRACE: &str = "5b8efff798038103d269b633813fc60c";

fn everything() -> TelemetryFilter {
    TelemetryFilter { limit: 100, ..TelemetryFilter::default() }
}

async fn protobuf(client: &TestClient, path: &str, body: Vec<u8>, packed: bool) -> TestResponse {
    let request = Request::post(path).header("content-type", "application/x-protobuf");
    let request = if packed { request.header("content-encoding", "gzip") } else { request };
    client.request(request.body(if packed { gzip(&body) } else { body }).expect("a request")).await
}

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    writer.write_all(body).expect("memory");
    writer.finish().expect("memory")
}

fn traces(spans: Vec<Span>) -> Vec<u8> {
    let scope_spans = vec![ScopeSpans { scope: None, spans }];
    ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource: None, scope_spans }] }.encode_to_vec()
}

#[tokio::test]
async fn what_a_coding_assistant_reports_is_kept_under_its_user() {
    let server = TestContext::builder().start().await;
    let (ada, bob) = (server.user("ada", &[]).await, server.user("bob", &[]).await);
    let resource = json!({ "attributes": [
        { "key": "service.name", "value": { "stringValue": "claude-code" } },
        { "key": "service.version", "value": { "stringValue": "2.1.0" } },
    ] });
    // As Claude Code sends it with OTEL_EXPORTER_OTLP_PROTOCOL=http/json.
    let metrics = json!({ "resourceMetrics": [{ "resource": resource, "scopeMetrics": [{
        "scope": { "name": "com.anthropic.claude_code", "version": "2.1.0" },
        "metrics": [{ "name": "claude_code.token.usage", "unit": "tokens", "sum": {
            "aggregationTemporality": 1, "isMonotonic": true, "dataPoints": [{
                "attributes": [
                    { "key": "session.id", "value": { "stringValue": "s-1" } },
                    { "key": "type", "value": { "stringValue": "input" } },
                ],
                "startTimeUnixNano": "1790000000000000000", "timeUnixNano": "1790000005000000000", "asDouble": 250,
            }] } }],
    }] }] });
    let answer = ada.post("/v1/otel/v1/metrics", &metrics).await;
    assert_eq!((answer.status.as_u16(), answer.text()), (200, "{}".to_owned()));
    assert_eq!(answer.header("content-type"), "application/json");

    let key = concat!(
        "sk-ant-",
        "api03-",
        "c8Jq2XvT5nRm9KpLw3Yz7Bd4Fh6Gs1QaEtUiOxNvMbCrZkWjHyPfDlSgVuTeRoIqAsDfGhJkLz",
        "-AA"
    );
    let logs = json!({ "resourceLogs": [{ "resource": resource, "scopeLogs": [{ "logRecords": [{
        "timeUnixNano": "1790000005000000000", "severityNumber": 9, "severityText": "INFO",
        "body": { "stringValue": "claude_code.user_prompt" },
        "attributes": [
            { "key": "event.name", "value": { "stringValue": "user_prompt" } },
            { "key": "session.id", "value": { "stringValue": "s-1" } },
            { "key": "prompt", "value": { "stringValue": format!("use {key} \u{0} please") } },
            { "key": "prompt_length", "value": { "intValue": "120" } },
        ],
        "traceId": TRACE,
    }] }] }] });
    // Without a path it is known by what is in it.
    assert_eq!(bob.post("/v1/otel", &logs).await.status, 200);

    let (ada, bob) = (account(&server, "ada").await.id.as_uuid(), account(&server, "bob").await.id.as_uuid());
    let points = list_metrics(server.db(), &everything()).await.expect("reads");
    let [point] = &points[..] else { panic!("{points:?}") };
    assert_eq!(
        (point.user_id, point.session_id.as_deref(), point.service.as_deref()),
        (ada, Some("s-1"), Some("claude-code"))
    );
    assert_eq!(
        (point.name.as_str(), point.value, point.temporality.as_deref()),
        ("claude_code.token.usage", Some(250.0), Some("delta"))
    );
    assert_eq!(point.attributes["type"], "input");
    let records =
        list_logs(server.db(), &TelemetryFilter { name: Some("user_prompt".to_owned()), ..everything() }).await;
    let records = records.expect("reads");
    let [record] = &records[..] else { panic!("{records:?}") };
    assert_eq!((record.user_id, record.body.as_deref()), (bob, Some("claude_code.user_prompt")));
    assert_eq!(record.trace_id.map(|id| id.simple().to_string()).as_deref(), Some(TRACE));
    assert_eq!(
        (&record.attributes["prompt"], &record.attributes["prompt_length"]),
        (&json!("[redacted]"), &json!(120))
    );
    assert!(!format!("{records:?}").contains(key), "no credential is kept");
}

#[tokio::test]
async fn spans_come_in_protobuf_packed_or_not_and_once() {
    let server = TestContext::builder().start().await;
    let ada = server.user("ada", &[]).await;
    let span = |id: u8, name: &str| Span {
        trace_id: hex(TRACE),
        span_id: vec![id; 8],
        parent_span_id: vec![9; 8],
        name: name.to_owned(),
        kind: 3,
        start_time_unix_nano: 1_790_000_005_000_000_000,
        end_time_unix_nano: 1_790_000_005_002_500_000,
        ..Span::default()
    };
    let nameless = Span { trace_id: vec![0; 16], ..span(3, "broken") };
    let answer = protobuf(&ada, "/v1/otel/v1/traces", traces(vec![span(1, "one"), nameless]), true).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/x-protobuf"));
    let partial = ExportReply::decode(answer.body).expect("an answer").partial_success.expect("one was rejected");
    assert_eq!(partial.rejected, 1);
    assert!(partial.error_message.contains("no trace id of 16 bytes"), "{}", partial.error_message);
    // An exporter that heard nothing sends again.
    let answer = protobuf(&ada, "/v1/otel", traces(vec![span(1, "one"), span(2, "two")]), false).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "everything was taken");
    let trace = TelemetryFilter { trace: Some(TRACE.parse().expect("an id")), ..everything() };
    let spans = list_spans(server.db(), &trace).await.expect("reads");
    let shown: Vec<_> = spans.iter().map(|span| (span.name.as_str(), span.duration_us, span.kind.as_str())).collect();
    assert_eq!(shown, [("two", 2500, "client"), ("one", 2500, "client")]);
    assert_eq!(spans[0].parent_span_id.as_deref(), Some("0909090909090909"));

    let page = server.metrics().encode();
    for line in [
        r#"telemetry_items_stored_total{signal="traces"} 3"#,
        r#"telemetry_items_rejected_total{signal="traces"} 1"#,
        r#"telemetry_items_stored_total{signal="logs"} 0"#,
    ] {
        assert!(page.lines().any(|shown| shown == line), "{line}\n{page}");
    }
}

#[tokio::test]
async fn what_is_not_taken_is_told_as_the_protocol_wants_it() {
    let limit = json!({ "ingest": { "max_body_bytes": 1000 } });
    let server = TestContext::builder().profile("telemetry", limit).start().await;
    let ada = server.user("ada", &[]).await;
    let status = |answer: &TestResponse| RpcStatus::decode(answer.body.clone()).expect("a status");

    let answer = protobuf(&server.anonymous(), "/v1/otel/v1/traces", traces(Vec::new()), false).await;
    assert_eq!((answer.status.as_u16(), status(&answer).code), (401, 16));
    assert!(answer.headers.contains_key("www-authenticate"));
    let answer = protobuf(&ada, "/v1/otel/v1/traces", b"no protobuf".to_vec(), false).await;
    assert_eq!((answer.status.as_u16(), status(&answer).code), (400, 3));
    let answer = protobuf(&ada, "/v1/otel/v1/logs", vec![0; 100_000], true).await;
    assert_eq!(answer.status, 413, "what it unpacks to counts");
    let records = vec![LogRecord { time_unix_nano: 5, ..LogRecord::default() }];
    let scope_logs = vec![ScopeLogs { scope: None, log_records: records }];
    let logs = ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource: None, scope_logs }] };
    let answer = protobuf(&ada, "/v1/otel/v1/profiles", logs.encode_to_vec(), false).await;
    assert_eq!((answer.status.as_u16(), status(&answer).code), (404, 5));

    let answer = ada.post("/v1/otel/v1/logs", &json!({ "resourceLogs": 1 })).await;
    assert_eq!((answer.status.as_u16(), answer.json()["code"].clone()), (400, json!(3)));
    let answer = ada.get("/v1/otel/v1/logs").await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "POST"));
    let text = Request::post("/v1/otel/v1/logs").header("content-type", "text/plain").body("hello").expect("a request");
    let answer = ada.request(text).await;
    assert_eq!(answer.status, 415);
    let message: Value = answer.json();
    assert!(message["message"].as_str().expect("a message").contains("application/x-protobuf"), "{message}");
    assert!(list_logs(server.db(), &everything()).await.expect("reads").is_empty());

    let off = json!({ "ingest": { "enabled": false } });
    let server = TestContext::builder().profile("telemetry", off).start().await;
    let ada = server.user("ada", &[]).await;
    assert_eq!(ada.post("/v1/otel/v1/logs", &json!({})).await.status, 404);
}

fn hex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal")).collect()
}
