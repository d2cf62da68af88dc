//! From bytes to messages, and which of the three kinds of requests they are.

use prost::Message;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::signal::{Encoding, Signal};
use crate::otlp::{ExportLogsServiceRequest, ExportMetricsServiceRequest, ExportTraceServiceRequest};

/// What a client sent.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Request {
    Traces(ExportTraceServiceRequest),
    Logs(ExportLogsServiceRequest),
    Metrics(ExportMetricsServiceRequest),
}

/// Reads a body. Without a signal the content decides, and an empty one is nothing.
pub(super) fn read(signal: Option<Signal>, encoding: Encoding, body: &[u8]) -> Result<Option<Request>, String> {
    match (signal, encoding) {
        (Some(Signal::Traces), _) => decode(encoding, body).map(Request::Traces).map(Some),
        (Some(Signal::Logs), _) => decode(encoding, body).map(Request::Logs).map(Some),
        (Some(Signal::Metrics), _) => decode(encoding, body).map(Request::Metrics).map(Some),
        (None, Encoding::Json) => recognise_json(body),
        (None, Encoding::Protobuf) => recognise_protobuf(body),
    }
}

fn decode<T: Message + Default + DeserializeOwned>(encoding: Encoding, body: &[u8]) -> Result<T, String> {
    match encoding {
        Encoding::Protobuf => T::decode(body).map_err(|error| error.to_string()),
        Encoding::Json => serde_json::from_slice(body).map_err(|error| error.to_string()),
    }
}

/// JSON says in its only key what it is.
fn recognise_json(body: &[u8]) -> Result<Option<Request>, String> {
    #[derive(Deserialize)]
    struct Keys {
        #[serde(rename = "resourceSpans")]
        spans: Option<serde::de::IgnoredAny>,
        #[serde(rename = "resourceLogs")]
        logs: Option<serde::de::IgnoredAny>,
        #[serde(rename = "resourceMetrics")]
        metrics: Option<serde::de::IgnoredAny>,
    }
    let keys: Keys = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let signal = match (keys.spans, keys.logs, keys.metrics) {
        (Some(_), None, None) => Signal::Traces,
        (None, Some(_), None) => Signal::Logs,
        (None, None, Some(_)) => Signal::Metrics,
        (None, None, None) => return Ok(None),
        _ => return Err("one of resourceSpans, resourceLogs and resourceMetrics at a time".to_owned()),
    };
    read(Some(signal), Encoding::Json, body)
}

/// Protobuf does not say what it is, and the envelopes of all three are alike. What is in them is not: the first field of a
/// span is an id, that of a record a number, that of a metric a name.
fn recognise_protobuf(body: &[u8]) -> Result<Option<Request>, String> {
    if body.is_empty() {
        return Ok(None);
    }
    if let Ok(traces) = ExportTraceServiceRequest::decode(body) {
        let mut spans = traces.resource_spans.iter().flat_map(|of| &of.scope_spans).flat_map(|of| &of.spans).peekable();
        if spans.peek().is_some() && spans.all(|span| span.trace_id.len() == 16 && span.span_id.len() == 8) {
            return Ok(Some(Request::Traces(traces)));
        }
    }
    if let Ok(logs) = ExportLogsServiceRequest::decode(body) {
        let mut records = logs.resource_logs.iter().flat_map(|of| &of.scope_logs).flat_map(|of| &of.log_records);
        // A metric has a text where a record has its time, so it does not get here.
        if records.next().is_some() {
            return Ok(Some(Request::Logs(logs)));
        }
    }
    match ExportMetricsServiceRequest::decode(body) {
        Ok(metrics) => {
            let mut metrics_in = metrics.resource_metrics.iter().flat_map(|of| &of.scope_metrics);
            // Envelopes with nothing in them are all the same.
            Ok(metrics_in.any(|of| !of.metrics.is_empty()).then_some(Request::Metrics(metrics)))
        }
        Err(_) => Err("it holds neither spans nor log records nor metrics".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::otlp::{
        AnyValue, Gauge, LogRecord, Metric, NumberDataPoint, ResourceLogs, ResourceMetrics, ResourceSpans, ScopeLogs,
        ScopeMetrics, ScopeSpans, Span, any_value, metric, number_data_point,
    };

    fn traces(span: Span) -> ExportTraceServiceRequest {
        let scope_spans = vec![ScopeSpans { scope: None, spans: vec![span] }];
        ExportTraceServiceRequest { resource_spans: vec![ResourceSpans { resource: None, scope_spans }] }
    }

    fn logs(record: LogRecord) -> ExportLogsServiceRequest {
        let scope_logs = vec![ScopeLogs { scope: None, log_records: vec![record] }];
        ExportLogsServiceRequest { resource_logs: vec![ResourceLogs { resource: None, scope_logs }] }
    }

    fn metrics(metric: Metric) -> ExportMetricsServiceRequest {
        let scope_metrics = vec![ScopeMetrics { scope: None, metrics: vec![metric] }];
        ExportMetricsServiceRequest { resource_metrics: vec![ResourceMetrics { resource: None, scope_metrics }] }
    }

    #[test]
    fn protobuf_is_recognised_by_what_is_in_it() {
        let span = Span { trace_id: vec![1; 16], span_id: vec![2; 8], name: "work".to_owned(), ..Span::default() };
        let timed = LogRecord { time_unix_nano: 5, ..LogRecord::default() };
        let body = Some(AnyValue { value: Some(any_value::Value::String("hello".to_owned())) });
        let untimed = LogRecord { body, event_name: "said".to_owned(), ..LogRecord::default() };
        let point = NumberDataPoint { value: Some(number_data_point::Value::Int(1)), ..NumberDataPoint::default() };
        let gauge = |name: &str, description: &str| Metric {
            name: name.to_owned(),
            description: description.to_owned(),
            data: Some(metric::Data::Gauge(Gauge { data_points: vec![point.clone()] })),
            ..Metric::default()
        };
        let recognise = |body: Vec<u8>| recognise_protobuf(&body).expect("readable").expect("something");
        assert_eq!(recognise(traces(span.clone()).encode_to_vec()), Request::Traces(traces(span)));
        for record in [timed, untimed] {
            assert_eq!(recognise(logs(record.clone()).encode_to_vec()), Request::Logs(logs(record)));
        }
        for metric in [gauge("tokens", ""), gauge("sixteen.letters.", "not eight")] {
            assert_eq!(recognise(metrics(metric.clone()).encode_to_vec()), Request::Metrics(metrics(metric)));
        }
        assert_eq!(recognise_protobuf(&[]), Ok(None));
        assert!(recognise_protobuf(b"{\"resourceSpans\":[]}").is_err());
    }

    #[test]
    fn json_reads_like_protobuf() {
        let body = json!({ "resourceSpans": [{ "scopeSpans": [{ "spans": [{
            "traceId": "5b8efff798038103d269b633813fc60c", "spanId": "EEE19B7EC3C1B174", "name": "work", "kind": 2,
            "startTimeUnixNano": "1544712660000000000", "endTimeUnixNano": 1_544_712_661_000_000_000_u64,
            "attributes": [
                { "key": "n", "value": { "intValue": "-7" } }, { "key": "d", "value": { "doubleValue": "NaN" } },
                { "key": "b", "value": { "bytesValue": "AQI=" } }, { "key": "none", "value": {} },
                { "key": "list", "value": { "arrayValue": { "values": [{ "boolValue": true }] } } },
            ],
            "somethingNew": { "of": "a later version" },
        }] }] }] });
        let body = body.to_string();
        let Ok(Some(Request::Traces(request))) = read(None, Encoding::Json, body.as_bytes()) else {
            panic!("it is a trace");
        };
        let span = &request.resource_spans[0].scope_spans[0].spans[0];
        assert_eq!(hex::encode(&span.span_id), "eee19b7ec3c1b174");
        assert_eq!((span.kind, span.end_time_unix_nano - span.start_time_unix_nano), (2, 1_000_000_000));
        let values: Vec<_> =
            span.attributes.iter().map(|of| of.value.as_ref().and_then(|of| of.value.clone())).collect();
        assert_eq!(values[0], Some(any_value::Value::Int(-7)));
        assert!(matches!(values[1], Some(any_value::Value::Double(number)) if number.is_nan()));
        assert_eq!((&values[2], &values[3]), (&Some(any_value::Value::Bytes(vec![1, 2])), &None));
        let encoded = request.encode_to_vec();
        assert_eq!(ExportTraceServiceRequest::decode(&*encoded).expect("readable").encode_to_vec(), encoded);

        for (body, expected) in [
            (
                json!({ "resourceMetrics": [{ "scopeMetrics": [{ "metrics": [{ "name": "claude_code.token.usage", "unit": "tokens", "sum": {
                "aggregationTemporality": 1, "isMonotonic": true,
                "dataPoints": [{ "asDouble": 12, "timeUnixNano": "5", "attributes": [] }] } }] }] }] }),
                Signal::Metrics,
            ),
            (json!({ "resourceLogs": [] }), Signal::Logs),
        ] {
            let found = match read(None, Encoding::Json, body.to_string().as_bytes()).expect("readable") {
                Some(Request::Metrics(_)) => Signal::Metrics,
                Some(Request::Logs(_)) => Signal::Logs,
                other => panic!("{other:?}"),
            };
            assert_eq!(found, expected);
        }
        assert_eq!(read(None, Encoding::Json, b"{}"), Ok(None));
        for broken in [
            &b"[]"[..],
            b"{",
            br#"{"resourceSpans":[],"resourceLogs":[]}"#,
            br#"{"resourceSpans":[{"scopeSpans":[{"spans":[{"traceId":"xyz"}]}]}]}"#,
        ] {
            assert!(read(None, Encoding::Json, broken).is_err(), "{}", String::from_utf8_lossy(broken));
        }
    }
}
